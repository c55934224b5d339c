#include "actors/spool.hpp"

#include <algorithm>
#include <catch2/catch.hpp>

#include "base/file.hpp"
#include "tests/support/catch_result.hpp"
#include "tests/support/temp_folder.hpp"

using namespace dlls;
using namespace dlls::actors;
namespace fs = std::filesystem;

namespace {

spool_entry entry_of(const std::string& id, held_state state = held_state::accepted) {
  spool_entry entry;
  entry.place = 7;
  entry.order.job = {id, 2, 18'446'744'073'709'551'615u};
  entry.order.kind = "checksum";
  entry.order.spec_json = R"({"extra": {"rounds": 3}, "odd": "\u0000 \"ä\""})";
  entry.order.inputs = {{"a b.txt", std::string(64, 'a'), 5}, {"", std::string(64, 'b'), 0}};
  entry.state = state;
  if (state == held_state::sealed)
    entry.result = {{{"r.json", std::string(64, 'c'), 9}}, "ft:tiny", R"({"loss": 0.5})"};
  if (state == held_state::failed) entry.why = {base::errc::corrupt, "line 3: \"broken\""};
  return entry;
}

void same(const spool_entry& a, const spool_entry& b) {
  CHECK(a.order.job == b.order.job);
  CHECK(a.order.kind == b.order.kind);
  CHECK(a.order.spec_json == b.order.spec_json);
  CHECK(a.order.inputs == b.order.inputs);
  CHECK(a.place == b.place);
  CHECK(a.state == b.state);
  CHECK(a.result == b.result);
  if (a.state == held_state::failed) {
    CHECK(a.why.code == b.why.code);
    CHECK(a.why.message == b.why.message);
  }
}

}  // namespace

TEST_CASE("what the spool stored is what the next process loads, in every state") {
  test::temp_folder folder;
  auto jobs = spool::open(folder / "spool").value();
  CHECK(jobs.load().value().empty());
  const auto accepted = entry_of("job-1"), sealed = entry_of("job-2", held_state::sealed),
             failed = entry_of("job-3", held_state::failed);
  for (const auto& one : {accepted, sealed, failed}) REQUIRE(jobs.store(one));
  REQUIRE(jobs.store(sealed));  // again: replaced

  auto later = spool::open(folder / "spool").value();
  auto loaded = later.load().value();
  REQUIRE(loaded.size() == 3);
  std::ranges::sort(loaded, {}, [](const auto& one) { return one.order.job.id; });
  same(loaded[0], accepted);
  same(loaded[1], sealed);
  same(loaded[2], failed);

  REQUIRE(later.remove("job-2"));
  CHECK(later.remove("job-2"));  // removing what is not there is success
  CHECK(jobs.load().value().size() == 2);
}

TEST_CASE("a broken entry is moved aside and the others are loaded, however often it happens") {
  test::temp_folder folder;
  auto jobs = spool::open(folder.path()).value();
  REQUIRE(jobs.store(entry_of("good")));
  const auto whole = [&] {
    REQUIRE(jobs.store(entry_of("model")));
    auto text = base::read_file(folder / "model/job.json").value();
    REQUIRE(jobs.remove("model"));
    return text;
  }();
  std::vector<std::string> broken{"",   "no json", "[]", "{}", whole.substr(0, whole.size() / 2),
                                  whole /* another job's id */};
  for (const auto* member : {"\"fence\"", "\"state\"", "\"inputs\"", "\"kind\"", "\"accepted\""}) {
    auto text = whole;
    text.replace(text.find(member) + 1, 1, "X");
    text.replace(text.find("\"model\""), 7, "\"bad\"");
    broken.push_back(text);
  }
  std::size_t aside = 0;
  for (const auto& text : broken) {
    CAPTURE(text);
    fs::create_directories(folder / "bad");
    REQUIRE(base::write_file_durably(folder / "bad/job.json", text));
    const auto loaded = jobs.load();
    REQUIRE(loaded);
    REQUIRE(loaded->size() == 1);
    CHECK(loaded->front().order.job.id == "good");
    CHECK_FALSE(fs::exists(folder / "bad"));
    ++aside;
    CHECK(
        std::distance(fs::directory_iterator{folder.path()}, fs::directory_iterator{}) ==
        static_cast<std::ptrdiff_t>(aside + 1));
  }
}

TEST_CASE("a folder without its entry, of a process that died, goes with its checkpoints") {
  test::temp_folder folder;
  auto jobs = spool::open(folder.path()).value();
  REQUIRE(jobs.store(entry_of("good")));
  fs::create_directories(folder / "early/work-1");  // before the first store
  REQUIRE(jobs.store(entry_of("gone")));            // within remove()
  REQUIRE(base::write_file_durably(
      jobs.work_folder({"gone", 1, 1}).value() / "checkpoint", "gigabytes"));
  fs::remove(folder / "gone/job.json");
  fs::create_directories(folder / "aside.broken");
  CHECK(jobs.load().value().size() == 1);
  CHECK_FALSE(fs::exists(folder / "early"));
  CHECK_FALSE(fs::exists(folder / "gone"));
  CHECK(fs::exists(folder / "good/job.json"));
  CHECK(fs::exists(folder / "aside.broken"));
}

TEST_CASE("each grant has a work folder of its own, and ids that are no file names are refused") {
  test::temp_folder folder;
  auto jobs = spool::open(folder.path()).value();
  const auto first = jobs.work_folder({"job-1", 1, 1}).value();
  const auto second = jobs.work_folder({"job-1", 2, 2}).value();
  CHECK(first != second);
  CHECK(fs::is_directory(first));
  REQUIRE(base::write_file_durably(first / "checkpoint", "x"));
  CHECK(jobs.work_folder({"job-1", 1, 1}).value() == first);
  CHECK(fs::exists(first / "checkpoint"));
  REQUIRE(jobs.store(entry_of("job-1")));
  REQUIRE(jobs.remove("job-1"));
  CHECK_FALSE(fs::exists(first));

  for (const auto& id : std::vector<std::string>{
           "", ".", "..", "a/b", "/etc", "a b", "a.b", std::string("a\0b", 3), "ä",
           std::string(65, 'a')}) {
    CAPTURE(id);
    CHECK_FALSE(is_safe_id(id));
    CHECK(jobs.store(entry_of(id)).error().code == base::errc::invalid_argument);
    CHECK(jobs.remove(id).error().code == base::errc::invalid_argument);
    CHECK(jobs.work_folder({id, 1, 1}).error().code == base::errc::invalid_argument);
  }
  CHECK(is_safe_id("job-A_9"));
  CHECK(is_safe_id(std::string(64, 'a')));
}
