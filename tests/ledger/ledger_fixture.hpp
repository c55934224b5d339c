// A ledger in a folder of its own, and its callbacks turned into return values.
#pragma once
#include <filesystem>
#include <future>
#include <memory>
#include <string>
#include <utility>

#include "base/clock.hpp"
#include "base/random.hpp"
#include "ledger/sqlite_ledger.hpp"

namespace dlls::ledger {

// Deleted with its content.
class scratch_folder {
 public:
  // In memory where the system has such a file system: then an fsync costs nothing.
  explicit scratch_folder(bool in_memory = true) {
    const std::filesystem::path shm = "/dev/shm";
    const auto root = in_memory && std::filesystem::is_directory(shm)
                          ? shm
                          : std::filesystem::temp_directory_path();
    path_ = root / base::random_id("dlls-test-");
    std::filesystem::create_directories(path_);
  }
  ~scratch_folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  scratch_folder(const scratch_folder&) = delete;
  scratch_folder& operator=(const scratch_folder&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

// wait([&](auto done) { l.find_job(any_owner, id, done); }) gives the result.
template <class T, class Call>
base::result<T> wait_for(Call call) {
  auto promise = std::make_shared<std::promise<base::result<T>>>();
  auto answer = promise->get_future();
  call(reply<T>{[promise](base::result<T> r) { promise->set_value(std::move(r)); }});
  return answer.get();
}

inline constexpr std::uint64_t test_disk_bytes = 100ull << 30;

// Options for tests: the disk is what the test says, and there is no ballast.
inline sqlite_options test_options() {
  sqlite_options o;
  o.ballast_bytes = 0;
  o.space = [](const std::filesystem::path&) -> base::result<base::disk_space> {
    return base::disk_space{test_disk_bytes, test_disk_bytes};
  };
  return o;
}

// The synchronous face of a ledger.
class ledger_fixture {
 public:
  explicit ledger_fixture(sqlite_options options = test_options())
      : options_(std::move(options)), l(open()) {}

  std::unique_ptr<ledger> open() {
    return sqlite_ledger::open(folder.path() / "ledger.db", options_, clock).value();
  }
  void reopen() {
    l.reset();
    l = open();
  }

  base::result<submission> submit(new_job j) {
    return wait_for<submission>([&](auto done) { l->submit(j, done); });
  }
  base::result<job> find(const std::string& id, owner_scope owner = any_owner) {
    return wait_for<job>([&](auto done) { l->find_job(owner, id, done); });
  }
  base::result<job> advance(edge e) {
    return wait_for<job>([&](auto done) { l->advance(e, done); });
  }
  base::result<job> advance(const std::string& id, job_state from, job_state to) {
    return advance(edge{id, from, to});
  }
  base::result<job> grant(const std::string& id, const std::string& node = "home") {
    return wait_for<job>([&](auto done) { l->grant(id, node, std::nullopt, done); });
  }
  base::result<std::vector<job>> pause(const std::string& node = "home") {
    return wait_for<std::vector<job>>([&](auto done) { l->pause(node, "link down", done); });
  }
  base::result<job> resume(const std::string& id, std::uint64_t fence) {
    return wait_for<job>([&](auto done) { l->resume(id, "home", fence, done); });
  }
  base::result<page<job>> list(job_filter f) {
    return wait_for<page<job>>([&](auto done) { l->list_jobs(f, done); });
  }
  base::result<page<event>> events(const std::string& id, std::uint32_t limit = 100) {
    return wait_for<page<event>>(
        [&](auto done) { l->events(any_owner, id, 0, limit, order::oldest_first, done); });
  }
  base::result<std::vector<outbox_row>> claim(std::int64_t hold_ms = 60'000) {
    const auto now = clock.wall().count();
    return wait_for<std::vector<outbox_row>>(
        [&](auto done) { l->claim_due(now, hold_ms, 100, done); });
  }
  // A new job walked to the state along legal edges.
  job job_in(job_state state);

  scratch_folder folder;
  base::manual_clock clock;

 private:
  sqlite_options options_;

 public:
  std::unique_ptr<ledger> l;  // after the folder and the options that it uses
};

inline new_job a_job(std::string spec = R"({"n":1})") {
  new_job j;
  j.owner = "org";
  j.kind = "checksum";
  j.spec_json = std::move(spec);
  return j;
}

inline job ledger_fixture::job_in(job_state state) {
  using enum job_state;
  auto j = submit(a_job()).value().job;
  const auto go = [&](job_state from, job_state to) { j = advance(j.id, from, to).value(); };
  if (state == submitted) return j;
  go(submitted, queued);
  if (state == queued) return j;
  if (final_states.contains(state) && state != released) return go(queued, state), j;
  j = grant(j.id).value();
  if (state == offered) return j;
  go(offered, running);
  if (state == running) return j;
  if (state == lost_contact) return pause().value().back();
  go(running, ready);
  if (state == ready) return j;
  go(ready, fetched);
  if (state == fetched) return j;
  go(fetched, released);
  return j;
}

}  // namespace dlls::ledger
