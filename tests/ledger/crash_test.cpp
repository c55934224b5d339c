// Power cuts, disk errors, kill -9. DLLS_TORTURE=1 runs every point instead of a sample.
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdlib>

#include "fault_vfs.hpp"
#include "workload.hpp"

using namespace dlls::ledger;
using dlls::base::errc;
using dlls::base::random_source;

namespace {

bool torture() {
  const char* set = std::getenv("DLLS_TORTURE");
  return set && std::string_view{set} == "1";
}

std::uint64_t seed() {
  const char* set = std::getenv("DLLS_SEED");
  return set ? std::strtoull(set, nullptr, 10) : dlls::base::secure_random_u64();
}

sqlite_options crash_options() {
  auto o = test_options();
  o.checkpoint_pages = 40;  // several within a small workload
  o.on_fatal = [](const dlls::base::error&) {};
  return o;
}

// The record of a workload with a clean restart in its middle.
std::vector<disk_event> record_workload(const std::string& synchronous) {
  scratch_folder folder;
  fault_vfs vfs;
  dlls::base::manual_clock clock;
  auto options = crash_options();
  options.vfs = vfs.name();
  options.synchronous = synchronous;
  for (const char* prefix : {"first", "second"}) {
    auto l = sqlite_ledger::open(folder.path() / "ledger.db", options, clock).value();
    run_workload(*l, prefix, torture() ? 60 : 20, 6, [&](const std::string& id, job_state s) {
      vfs.promise(promise_line(id, s));
    });
  }
  return vfs.record();
}

struct verdict {
  int images = 0;
  int damaged = 0;
  std::string first_damage;
};

std::string inspect_image(
    const power_cut_model& disk, cut how, const promises& promised, random_source& random) {
  scratch_folder folder;
  dlls::base::manual_clock clock;
  disk.write_image(folder.path(), how, random);
  auto l = sqlite_ledger::open(folder.path() / "ledger.db", crash_options(), clock);
  return l ? find_damage(**l, promised) : l.error().text();
}

// Cuts the power at every `stride`th place of the record, in each of the ways.
verdict cut_power(const std::vector<disk_event>& record, std::size_t stride, bool lying) {
  verdict v;
  const auto chosen = seed();
  random_source random{chosen};
  power_cut_model disk{lying};
  promises promised;
  const auto first = random.below(stride);
  for (std::size_t at = 0; at < record.size(); ++at) {
    disk.follow(record[at]);
    if (record[at].what == disk_event::kind::promise) take_promise(promised, record[at].file);
    if (at % stride != first) continue;
    for (const auto how : all_cuts) {
      ++v.images;
      auto damage = inspect_image(disk, how, promised, random);
      if (damage.empty()) continue;
      ++v.damaged;
      if (v.first_damage.empty())
        v.first_damage = "at " + std::to_string(at) + ", cut " +
                         std::to_string(static_cast<int>(how)) +
                         ", DLLS_SEED=" + std::to_string(chosen) + ": " + damage;
    }
  }
  return v;
}

std::size_t stride_for(const std::vector<disk_event>& record, std::size_t points) {
  return torture() ? 1 : std::max<std::size_t>(1, record.size() / points);
}

}  // namespace

TEST_CASE("a power cut at any moment loses nothing that was acknowledged") {
  const auto record = record_workload("FULL");
  const auto v = cut_power(record, stride_for(record, 80), false);
  INFO(v.first_damage);
  CHECK(v.damaged == 0);
  CHECK(v.images >= 400);
  WARN("power cuts: " << v.images << " images of " << record.size() << " disk events");
}

TEST_CASE("the power-cut checker notices when commits are not synced") {
  const auto record = record_workload("NORMAL");
  CHECK(cut_power(record, stride_for(record, 40), false).damaged > 0);
}

TEST_CASE("the power-cut checker notices a disk that lies about its syncs") {
  const auto record = record_workload("FULL");
  CHECK(cut_power(record, stride_for(record, 20), true).damaged > 0);
}

namespace {

struct fault_outcome {
  promises promised;
  bool opened = false;
  bool fatal = false;
  bool acknowledged_after_fatal = false;
};

fault_outcome run_with_fault(
    const std::filesystem::path& path, fault_vfs& vfs, std::uint64_t number, disk_fault fault,
    bool sticky) {
  fault_outcome out;
  dlls::base::manual_clock clock;
  auto options = crash_options();
  options.vfs = vfs.name();
  options.on_fatal = [&](const dlls::base::error&) { out.fatal = true; };
  vfs.fail_at(number, fault, sticky);
  auto l = sqlite_ledger::open(path, options, clock);
  out.opened = l.has_value();
  if (!l) return out;
  run_workload(**l, "job", 20, 4, [&](const std::string& id, job_state s) {
    out.acknowledged_after_fatal |= out.fatal;
    take_promise(out.promised, promise_line(id, s));
  });
  (*l)->close();
  return out;
}

void check_fault(std::uint64_t number, disk_fault fault, bool sticky) {
  INFO(
      "operation " << number << (fault == disk_fault::no_space ? ", no space" : ", I/O error")
                   << (sticky ? ", sticky" : ", once"));
  scratch_folder folder;
  const auto path = folder.path() / "ledger.db";
  fault_vfs vfs;
  const auto out = run_with_fault(path, vfs, number, fault, sticky);
  CHECK_FALSE(out.acknowledged_after_fatal);
  const bool failed = vfs.has_failed();
  if (fault == disk_fault::no_space) CHECK_FALSE(out.fatal);
  vfs.heal();

  dlls::base::manual_clock clock;
  auto l = sqlite_ledger::open(path, crash_options(), clock);
  REQUIRE(l);
  const auto damage = find_damage(**l, out.promised);
  INFO("failed: " << failed);
  CHECK(damage == "");
  // And it works again.
  promises again;
  run_workload(**l, "after", 2, 1, [&](const std::string& id, job_state s) {
    take_promise(again, promise_line(id, s));
  });
  CHECK(again.size() == 2);
}

}  // namespace

TEST_CASE("a disk that fails at any operation never makes a false acknowledgement") {
  std::uint64_t operations = 0;
  {
    scratch_folder folder;
    fault_vfs vfs;
    run_with_fault(folder.path() / "ledger.db", vfs, 0, disk_fault::io_error, false);
    operations = vfs.operations();
  }
  REQUIRE(operations > 100);
  const auto chosen = seed();
  random_source random{chosen};
  INFO("DLLS_SEED=" << chosen);
  const auto stride = torture() ? 1 : operations / 40;
  int runs = 0;
  for (std::uint64_t n = 1 + random.below(stride); n <= operations; n += stride)
    for (const auto fault : {disk_fault::no_space, disk_fault::io_error})
      for (const bool sticky : {false, true}) {
        check_fault(n, fault, sticky);
        ++runs;
      }
  WARN("disk faults: " << runs << " runs over " << operations << " operations");
}

namespace {

// The child: works until it is killed, and says each acknowledgement into the pipe.
[[noreturn]] void work_until_killed(const std::filesystem::path& path, int pipe, int round) {
  auto options = crash_options();
  auto l = sqlite_ledger::open(path, options, dlls::base::system_clock());
  if (!l) ::_exit(3);
  run_workload(
      **l, "round" + std::to_string(round), 1'000'000, 8, [&](const std::string& id, job_state s) {
        const auto line = promise_line(id, s) + "\n";
        if (::write(pipe, line.data(), line.size()) < 0) ::_exit(4);
      });
  ::_exit(5);
}

}  // namespace

TEST_CASE("kill -9 in the middle of the load loses nothing that was acknowledged") {
  scratch_folder folder;
  const auto path = folder.path() / "ledger.db";
  const auto chosen = seed();
  INFO("DLLS_SEED=" << chosen);
  random_source random{chosen};
  promises promised;
  std::size_t acknowledged = 0;
  const int rounds = torture() ? 100 : 8;
  for (int round = 0; round < rounds; ++round) {
    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
    const auto child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) work_until_killed(path, ends[1], round);
    ::close(ends[1]);
    // The kill comes after a number of acknowledgements, not after a time.
    const auto last = 1 + random.below(400);
    std::string text;
    std::size_t lines = 0;
    char buffer[512];
    for (bool killed = false;;) {
      const auto got = ::read(ends[0], buffer, sizeof buffer);
      if (got <= 0) break;
      text.append(buffer, static_cast<std::size_t>(got));
      lines = static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n'));
      if (!killed && lines >= last) killed = ::kill(child, SIGKILL) == 0;
    }
    ::close(ends[0]);
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    REQUIRE(WIFSIGNALED(status));
    for (std::size_t from = 0, to; (to = text.find('\n', from)) != text.npos; from = to + 1)
      take_promise(promised, text.substr(from, to - from));
    acknowledged += lines;

    dlls::base::manual_clock clock;
    auto l = sqlite_ledger::open(path, crash_options(), clock);
    REQUIRE(l);
    CHECK(find_damage(**l, promised) == "");
  }
  WARN("kills: " << rounds << " with " << acknowledged << " acknowledgements");
}
