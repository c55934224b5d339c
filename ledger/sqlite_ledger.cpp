#include "ledger/sqlite_ledger.hpp"

#include <fcntl.h>
#include <fmt/format.h>

#include <utility>

#include "base/log.hpp"
#include "ledger/detail/access_rows.hpp"
#include "ledger/detail/file_rows.hpp"
#include "ledger/detail/job_rows.hpp"
#include "ledger/detail/outbox_rows.hpp"
#include "ledger/detail/schema.hpp"
#include "ledger/detail/validate.hpp"
#include "ledger/detail/writer.hpp"

namespace dlls::ledger {

using base::errc;
using base::error;
using base::result;

namespace {

using detail::transaction;

constexpr std::size_t small = 256;  // an operation without large texts, as the queue counts it

// An operation whose work is a function of the transaction.
template <class T, class Work>
class call final : public detail::operation {
 public:
  call(std::size_t bytes, bool writes, Work work, reply<T> done)
      : operation(bytes, writes), work_(std::move(work)), done_(std::move(done)) {}
  void execute(transaction& t) override { outcome_ = work_(t); }
  bool succeeded() const override { return outcome_.has_value(); }
  void fail(const error& why) override { outcome_ = why; }
  void answer() noexcept override {
    if (done_) done_(std::move(outcome_));
  }

 private:
  Work work_;
  reply<T> done_;
  result<T> outcome_ = error{errc::internal, "an operation was answered before it ran"};
};

std::size_t bytes_of(const new_job& j) {
  return small + j.spec_json.size() + j.canonical_body.size() + 64 * j.inputs.size();
}
std::size_t bytes_of(const new_event& e) { return small + e.message.size() + e.data_json.size(); }
std::size_t bytes_of(const edge& e) {
  auto bytes = 2 * small + e.manifest_json.value_or("").size();
  if (e.event) bytes += bytes_of(*e.event);
  if (e.outbox) bytes += e.outbox->payload_json.size();
  return bytes;
}

class sqlite_backend final : public ledger {
 public:
  sqlite_backend(
      std::unique_ptr<detail::connection> db, const std::filesystem::path& path,
      const sqlite_options& options, const base::clock& clock)
      : writer_(std::move(db), path, options, clock) {}

  void submit(new_job job, reply<submission> done) override {
    if (auto ok = detail::validate(job); !ok) return done(ok.error());
    const auto bytes = bytes_of(job);
    write<submission>(
        bytes, [job = std::move(job)](transaction& t) { return detail::submit(t, job); },
        std::move(done));
  }
  void find_submitted(new_job like, reply<job> done) override {
    if (auto ok = detail::validate_name("idempotency_key", like.idempotency_key); !ok)
      return done(ok.error());
    read<job>(
        [like = std::move(like)](transaction& t) { return detail::find_submitted(t, like); },
        std::move(done));
  }
  void find_job(owner_scope owner, std::string id, reply<job> done) override {
    read<job>(
        [owner = std::move(owner), id = std::move(id)](transaction& t) {
          return detail::find_job(t, owner, id);
        },
        std::move(done));
  }
  void list_jobs(job_filter filter, reply<page<job>> done) override {
    if (auto ok = detail::validate(filter); !ok) return done(ok.error());
    read<page<job>>(
        [filter = std::move(filter)](transaction& t) { return detail::list_jobs(t, filter); },
        std::move(done));
  }
  void count_jobs(reply<job_counts> done) override {
    read<job_counts>([](transaction& t) { return detail::count_jobs(t); }, std::move(done));
  }
  void advance(edge step, reply<job> done) override {
    if (auto ok = detail::validate(step); !ok) return done(ok.error());
    const auto bytes = bytes_of(step);
    write<job>(
        bytes, [step = std::move(step)](transaction& t) { return detail::advance(t, step); },
        std::move(done));
  }
  void grant(std::string id, std::string node, std::optional<std::uint64_t> fence, reply<job> done)
      override {
    if (auto ok = detail::validate_name("node", node); !ok) return done(ok.error());
    write<job>(
        small,
        [id = std::move(id), node = std::move(node), fence](transaction& t) {
          return detail::grant(t, id, node, fence);
        },
        std::move(done));
  }
  void pause(std::string node, std::string reason, reply<std::vector<job>> done) override {
    if (auto ok = valid_reason(node, reason); !ok) return done(ok.error());
    write<std::vector<job>>(
        small,
        [node = std::move(node), reason = std::move(reason)](transaction& t) {
          return detail::pause(t, node, reason);
        },
        std::move(done));
  }
  void pause_job(
      std::string id, std::uint64_t fence, std::string reason, reply<job> done) override {
    if (auto ok = valid_reason(id, reason); !ok) return done(ok.error());
    write<job>(
        small,
        [id = std::move(id), fence, reason = std::move(reason)](transaction& t) {
          return detail::pause_job(t, id, fence, reason);
        },
        std::move(done));
  }
  void resume(std::string id, std::string node, std::uint64_t fence, reply<job> done) override {
    write<job>(
        small,
        [id = std::move(id), node = std::move(node), fence](transaction& t) {
          return detail::resume(t, id, node, fence);
        },
        std::move(done));
  }
  void add_event(
      std::string id, std::optional<std::uint64_t> fence, new_event line,
      reply<event> done) override {
    if (auto ok = detail::validate(line); !ok) return done(ok.error());
    const auto bytes = bytes_of(line);
    write<event>(
        bytes,
        [id = std::move(id), fence, line = std::move(line)](transaction& t) {
          return detail::add_event(t, id, fence, line);
        },
        std::move(done));
  }
  void events(
      owner_scope owner, std::string job, std::int64_t after, std::uint32_t limit, order by,
      reply<page<event>> done) override {
    if (auto ok = detail::validate_limit(limit); !ok) return done(ok.error());
    read<page<event>>(
        [owner = std::move(owner), job = std::move(job), after, limit, by](transaction& t) {
          return detail::list_events(t, owner, job, after, limit, by);
        },
        std::move(done));
  }
  void forget(std::int64_t before_ms, std::uint32_t limit, reply<std::uint64_t> done) override {
    if (auto ok = detail::validate_limit(limit); !ok) return done(ok.error());
    write<std::uint64_t>(
        small, [before_ms, limit](transaction& t) { return detail::forget(t, before_ms, limit); },
        std::move(done));
  }

  result<> room_for_upload(std::uint64_t bytes) const override {
    return writer_.disk().admit_upload(bytes);
  }
  void add_file(file entry, reply<file> done) override {
    if (auto ok = detail::validate(entry); !ok) return done(ok.error());
    write<file>(
        small + entry.filename.size(),
        [entry](transaction& t) { return detail::add_file(t, entry); }, std::move(done));
  }
  void find_file(owner_scope owner, std::string id, reply<file> done) override {
    read<file>(
        [owner = std::move(owner), id = std::move(id)](transaction& t) {
          return detail::find_file(t, owner, id);
        },
        std::move(done));
  }
  void list_files(file_filter filter, reply<page<file>> done) override {
    if (auto ok = detail::validate(filter); !ok) return done(ok.error());
    read<page<file>>(
        [filter = std::move(filter)](transaction& t) { return detail::list_files(t, filter); },
        std::move(done));
  }
  void delete_file(owner_scope owner, std::string id, reply<file> done) override {
    write<file>(
        small,
        [owner = std::move(owner), id = std::move(id)](transaction& t) {
          return detail::delete_file(t, owner, id);
        },
        std::move(done));
  }
  void unused_blobs(
      std::vector<std::string> sha256, reply<std::vector<std::string>> done) override {
    read<std::vector<std::string>>(
        [sha256 = std::move(sha256)](transaction& t) { return detail::unused_blobs(t, sha256); },
        std::move(done));
  }

  void add_api_key(api_key key, reply<api_key> done) override {
    if (auto ok = detail::validate(key); !ok) return done(ok.error());
    write<api_key>(
        small, [key = std::move(key)](transaction& t) { return detail::add_api_key(t, key); },
        std::move(done));
  }
  void find_api_key(std::string hash, reply<api_key> done) override {
    read<api_key>(
        [hash = std::move(hash)](transaction& t) { return detail::find_api_key(t, hash); },
        std::move(done));
  }
  void list_api_keys(reply<std::vector<api_key>> done) override {
    read<std::vector<api_key>>(
        [](transaction& t) { return detail::list_api_keys(t); }, std::move(done));
  }
  void revoke_api_key(std::string id, reply<api_key> done) override {
    write<api_key>(
        small, [id = std::move(id)](transaction& t) { return detail::revoke_api_key(t, id); },
        std::move(done));
  }

  void add_node(std::string name, std::string fingerprint, reply<node> done) override {
    if (auto ok = detail::validate_name("node", name); !ok) return done(ok.error());
    if (auto ok = detail::validate_hash("fingerprint", fingerprint); !ok) return done(ok.error());
    write<node>(
        small,
        [name = std::move(name), fingerprint = std::move(fingerprint)](transaction& t) {
          return detail::add_node(t, name, fingerprint);
        },
        std::move(done));
  }
  void list_nodes(reply<std::vector<node>> done) override {
    read<std::vector<node>>([](transaction& t) { return detail::list_nodes(t); }, std::move(done));
  }
  void revoke_node(std::string name, reply<node> done) override {
    write<node>(
        small, [name = std::move(name)](transaction& t) { return detail::revoke_node(t, name); },
        std::move(done));
  }
  void add_token(
      std::string hash, std::int64_t expires_ms, std::string node, reply<bool> done) override {
    if (auto ok = detail::validate_hash("token hash", hash); !ok) return done(ok.error());
    write<bool>(
        small,
        [hash = std::move(hash), expires_ms, node = std::move(node)](transaction& t) {
          return detail::add_token(t, hash, expires_ms, node);
        },
        std::move(done));
  }
  void redeem_token(redemption what, reply<node> done) override {
    if (auto ok = detail::validate(what); !ok) return done(ok.error());
    write<node>(
        small, [what = std::move(what)](transaction& t) { return detail::redeem_token(t, what); },
        std::move(done));
  }

  void claim_due(
      std::int64_t now_ms, std::int64_t hold_ms, std::uint32_t limit,
      reply<std::vector<outbox_row>> done) override {
    if (auto ok = detail::validate_limit(limit); !ok) return done(ok.error());
    write<std::vector<outbox_row>>(
        small,
        [now_ms, hold_ms, limit](transaction& t) {
          return detail::claim_due(t, now_ms, hold_ms, limit);
        },
        std::move(done));
  }
  void mark_sent(std::string id, reply<bool> done) override {
    write<bool>(
        small, [id = std::move(id)](transaction& t) { return detail::mark_sent(t, id); },
        std::move(done));
  }
  void mark_failed(
      std::string id, std::optional<std::int64_t> next_attempt_ms, std::string why,
      reply<bool> done) override {
    why.resize(std::min(why.size(), limits::text_bytes_max));
    write<bool>(
        small,
        [id = std::move(id), next_attempt_ms, why = std::move(why)](transaction& t) {
          return detail::mark_failed(t, id, next_attempt_ms, why);
        },
        std::move(done));
  }
  void next_due(reply<std::optional<std::int64_t>> done) override {
    read<std::optional<std::int64_t>>(
        [](transaction& t) { return detail::next_due(t); }, std::move(done));
  }

  void get_setting(std::string key, reply<std::optional<std::string>> done) override {
    read<std::optional<std::string>>(
        [key = std::move(key)](transaction& t) { return detail::get_setting(t, key); },
        std::move(done));
  }
  void set_setting(std::string key, std::string value, reply<bool> done) override {
    if (auto ok = detail::validate_name("setting", key); !ok) return done(ok.error());
    if (auto ok = detail::validate_json("value", value); !ok) return done(ok.error());
    write<bool>(
        small + value.size(),
        [key = std::move(key), value](transaction& t) {
          return detail::set_setting(t, key, value);
        },
        std::move(done));
  }

  ledger_stats stats() const override { return writer_.stats(); }
  void close() override { writer_.close(); }

 private:
  template <class T, class Work>
  void write(std::size_t bytes, Work work, reply<T> done) {
    writer_.post(std::make_unique<call<T, Work>>(bytes, true, std::move(work), std::move(done)));
  }
  template <class T, class Work>
  void read(Work work, reply<T> done) {
    writer_.post(std::make_unique<call<T, Work>>(small, false, std::move(work), std::move(done)));
  }
  static result<> valid_reason(const std::string& name, const std::string& reason) {
    if (auto ok = detail::validate_name("name", name); !ok) return ok;
    return detail::validate(new_event{reason});
  }

  detail::writer writer_;
};

// SQLite would create it readable by everyone.
result<> create_private(const std::filesystem::path& path) {
  base::unique_fd fd{::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)};
  if (!fd) return base::errno_error("open the ledger " + path.string());
  return {};
}

error open_error(const detail::sqlite_failure& f, const std::filesystem::path& path) {
  if (f.is_busy())
    return {
        errc::failed_precondition,
        fmt::format("another coordinator has this ledger open ({})", path.string()),
        "stop it first, or choose another data folder"};
  auto code = errc::io;
  if (f.is_full()) code = errc::storage_full;
  if (f.is_damage()) code = errc::corrupt;
  return {code, fmt::format("open the ledger {}: {}", path.string(), f.what())};
}

}  // namespace

result<std::unique_ptr<ledger>> sqlite_ledger::open(
    const std::filesystem::path& path, sqlite_options options, const base::clock& clock) {
  if (options.synchronous != "FULL" && options.synchronous != "NORMAL")
    return error{errc::invalid_argument, "synchronous is FULL (or NORMAL in tests)"};
  if (auto made = create_private(path); !made) return made.error();
  try {
    auto db = std::make_unique<detail::connection>(path.string(), options.vfs);
    if (auto ready = detail::prepare_database(*db, options); !ready) return ready.error();
    const auto folder = path.has_parent_path() ? path.parent_path() : ".";
    if (auto done = base::sync_folder(folder); !done) return done.error();
    return std::unique_ptr<ledger>{
        std::make_unique<sqlite_backend>(std::move(db), path, options, clock)};
  } catch (const detail::sqlite_failure& f) {
    return open_error(f, path);
  }
}

}  // namespace dlls::ledger
