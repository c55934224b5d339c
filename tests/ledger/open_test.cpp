// Opening, closing, a full disk, a failing disk.
#include <sys/stat.h>

#include <sqlite3.h>
#include <atomic>
#include <catch2/catch.hpp>
#include <fstream>

#include "fault_vfs.hpp"
#include "ledger_fixture.hpp"

using namespace dlls::ledger;
using dlls::base::disk_space;
using dlls::base::errc;
using dlls::base::result;

namespace {

result<std::unique_ptr<ledger>> open_at(const std::filesystem::path& path) {
  static dlls::base::manual_clock clock;
  return sqlite_ledger::open(path, test_options(), clock);
}

void run_sql(const std::filesystem::path& path, const char* sql) {
  sqlite3* db = nullptr;
  REQUIRE(sqlite3_open(path.c_str(), &db) == SQLITE_OK);
  REQUIRE(sqlite3_exec(db, sql, nullptr, nullptr, nullptr) == SQLITE_OK);
  sqlite3_close(db);
}

}  // namespace

TEST_CASE("a second coordinator is turned away while the first has the ledger open") {
  ledger_fixture f;
  const auto path = f.folder.path() / "ledger.db";
  const auto second = open_at(path);
  REQUIRE_FALSE(second);
  CHECK(second.error().code == errc::failed_precondition);
  CHECK(
      second.error().message.find("another coordinator has this ledger open") != std::string::npos);
  CHECK(f.submit(a_job()));  // the first is not disturbed
  f.l.reset();
  CHECK(open_at(path));
}

TEST_CASE("a ledger of a newer program, a strange database and no database are told apart") {
  scratch_folder folder;
  const auto path = folder.path() / "ledger.db";
  REQUIRE(open_at(path));
  run_sql(path, "PRAGMA user_version = 999");
  CHECK(open_at(path).error().code == errc::version_mismatch);

  const auto strange = folder.path() / "strange.db";
  run_sql(strange, "CREATE TABLE t (x)");
  CHECK(open_at(strange).error().code == errc::corrupt);

  const auto text = folder.path() / "text.db";
  std::ofstream{text} << std::string(5000, 'x');
  CHECK(open_at(text).error().code == errc::corrupt);

  CHECK(open_at(folder.path() / "nowhere" / "ledger.db").error().code == errc::not_found);
}

TEST_CASE("a damaged page is noticed at the start") {
  scratch_folder folder;
  const auto path = folder.path() / "ledger.db";
  REQUIRE(open_at(path));
  {
    std::fstream file{path, std::ios::in | std::ios::out | std::ios::binary};
    for (int page = 1; page < 20; ++page) {
      file.seekp(page * 4096);
      file << std::string(64, '\x5a');
    }
  }
  const auto opened = open_at(path);
  REQUIRE_FALSE(opened);
  CHECK(opened.error().code == errc::corrupt);
}

TEST_CASE("the ledger's file is readable by its owner alone") {
  ledger_fixture f;
  struct stat info {};
  REQUIRE(::stat((f.folder.path() / "ledger.db").c_str(), &info) == 0);
  CHECK((info.st_mode & 0777) == 0600);
  REQUIRE(::stat((f.folder.path() / "ledger.db-wal").c_str(), &info) == 0);
  CHECK((info.st_mode & 0777) == 0600);
  CHECK(::stat((f.folder.path() / "ledger.db-shm").c_str(), &info) != 0);
}

TEST_CASE("close answers what was accepted and refuses what comes later") {
  ledger_fixture f;
  std::atomic<int> answered = 0;
  for (int i = 0; i < 1000; ++i) f.l->submit(a_job(), [&](auto r) { answered += r.has_value(); });
  f.l->close();
  CHECK(answered == 1000);
  CHECK(f.submit(a_job()).error().code == errc::unavailable);
  f.l->close();
  f.reopen();
  CHECK(f.list({})->has_more);
}

TEST_CASE("a full queue says so at once") {
  auto options = test_options();
  options.queue_operations_max = 2;
  ledger_fixture f{options};
  std::promise<void> open_gate, at_gate;
  f.l->find_job(any_owner, "none", [&](auto) {
    at_gate.set_value();
    open_gate.get_future().wait();
  });
  at_gate.get_future().wait();
  std::vector<errc> outcomes;
  for (int i = 0; i < 3; ++i)
    f.l->find_job(any_owner, "none", [&](auto r) { outcomes.push_back(r.error().code); });
  CHECK(outcomes == std::vector{errc::resource_exhausted});
  open_gate.set_value();
  f.l->close();
  CHECK(outcomes.size() == 3);
}

namespace {

// A disk whose free space the test turns.
struct small_disk {
  std::shared_ptr<std::atomic<std::uint64_t>> free =
      std::make_shared<std::atomic<std::uint64_t>>(100u << 20);
  sqlite_options options() const {
    auto o = test_options();
    o.ballast_bytes = 1u << 20;
    o.space = [free = free](const std::filesystem::path&) -> result<disk_space> {
      return disk_space{*free, 100u << 20};
    };
    return o;
  }
};

}  // namespace

TEST_CASE("as the disk fills, uploads end first, then new jobs, and running jobs never") {
  const small_disk disk;
  ledger_fixture f{disk.options()};
  const auto running = f.job_in(job_state::running);
  auto keyed = a_job();
  keyed.idempotency_key = "k";
  REQUIRE(f.submit(keyed));
  CHECK(f.l->room_for_upload(1u << 20));
  CHECK(f.l->room_for_upload(90u << 20).error().code == errc::storage_full);
  CHECK(f.l->stats().ballast_held);
  const auto ballast = f.folder.path() / "ledger.db-ballast";
  CHECK(std::filesystem::file_size(ballast) == 1u << 20);

  *disk.free = 19u << 20;
  CHECK(f.l->room_for_upload(0).error().code == errc::storage_full);
  CHECK(f.submit(a_job()));

  *disk.free = 9u << 20;
  CHECK(f.submit(a_job()).error().code == errc::storage_full);
  CHECK(f.submit(keyed)->existed);  // nothing new is written for a known key
  CHECK(f.l->stats().ballast_held);

  *disk.free = 2u << 20;
  CHECK(f.advance(running.id, job_state::running, job_state::ready));
  CHECK(f.find(running.id));  // the ballast is looked after behind each batch
  CHECK(f.find(running.id));
  CHECK_FALSE(f.l->stats().ballast_held);
  CHECK_FALSE(std::filesystem::exists(ballast));

  *disk.free = 50u << 20;
  CHECK(f.submit(a_job()));
  CHECK(f.find(running.id));
  CHECK(f.l->stats().ballast_held);
}

TEST_CASE("when nobody knows how full the disk is, nothing new is accepted") {
  auto options = test_options();
  options.space = [](const std::filesystem::path&) -> result<disk_space> {
    return dlls::base::error{errc::io, "statvfs failed"};
  };
  ledger_fixture f{options};
  CHECK(f.submit(a_job()).error().code == errc::io);
  CHECK(f.l->room_for_upload(1).error().code == errc::io);
}

TEST_CASE(
    "a commit that meets a full disk is unknown, not fatal, and its key brings it through later") {
  scratch_folder folder;
  fault_vfs vfs;
  dlls::base::manual_clock clock;
  auto options = test_options();
  options.vfs = vfs.name();
  std::atomic<bool> fatal = false;
  options.on_fatal = [&](const auto&) { fatal = true; };
  auto l = sqlite_ledger::open(folder.path() / "ledger.db", options, clock).value();
  const auto submit = [&](const std::string& key) {
    auto j = a_job();
    j.idempotency_key = key;
    return wait_for<submission>([&](auto done) { l->submit(j, done); });
  };
  vfs.fail_at(1, disk_fault::no_space, true);
  const auto refused = submit("k");
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == errc::unavailable);  // unknown, as every failed COMMIT
  CHECK_FALSE(fatal);
  vfs.heal();
  CHECK(submit("k"));
}

TEST_CASE("a failed sync ends all acknowledgements and calls for the exit, once") {
  scratch_folder folder;
  fault_vfs vfs;
  dlls::base::manual_clock clock;
  auto options = test_options();
  options.vfs = vfs.name();
  options.batch_operations_max = 1;
  std::atomic<int> calls = 0;
  std::atomic<errc> reason = errc::ok;
  options.on_fatal = [&](const dlls::base::error& why) {
    ++calls;
    reason = why.code;
  };
  auto l = sqlite_ledger::open(folder.path() / "ledger.db", options, clock).value();
  std::promise<void> open_gate, at_gate;
  l->find_job(any_owner, "none", [&](auto) {
    at_gate.set_value();
    open_gate.get_future().wait();
  });
  at_gate.get_future().wait();
  vfs.fail_at(1, disk_fault::io_error, false);  // once: the disk would work again
  std::vector<errc> outcomes;
  const auto note = [&](const auto& r) { outcomes.push_back(r ? errc::ok : r.error().code); };
  for (int i = 0; i < 3; ++i) l->submit(a_job(), note);
  open_gate.set_value();
  const auto late = wait_for<submission>([&](auto done) { l->submit(a_job(), done); });
  CHECK(late.error().code == errc::unavailable);
  l->close();
  CHECK(outcomes == std::vector(3, errc::unavailable));
  CHECK(calls == 1);
  CHECK(reason == errc::io);
}
