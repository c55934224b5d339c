#include "actors/model_store.hpp"

#include <catch2/catch.hpp>

#include "base/file.hpp"
#include "tests/support/catch_result.hpp"
#include "tests/support/temp_folder.hpp"
#include "tests/support/tiny_model.hpp"

using namespace dlls;
using namespace dlls::actors;
namespace fs = std::filesystem;

namespace {

std::vector<std::string> names(const model_store& store) {
  std::vector<std::string> all;
  for (const auto& one : store.list()) all.push_back(one.name);
  return all;
}
using texts = std::vector<std::string>;

}  // namespace

TEST_CASE("a model store serves the files that are there, and sees those that come and go") {
  test::temp_folder folder;
  const auto home = folder / "models";
  auto store = model_store::open(home).value();
  CHECK(store->list().empty());
  CHECK(store->find("tiny").error().code == base::errc::not_found);
  CHECK_THAT(store->find("tiny").error().hint, Catch::Contains(home.string()));

  REQUIRE(test::write_tiny_model(home / "tiny.gguf"));
  REQUIRE(base::write_file_durably(home / "junk.gguf", "no model"));
  REQUIRE(base::write_file_durably(home / "readme.txt", "text"));
  store->refresh();
  REQUIRE(names(*store) == texts{"tiny"});
  const auto tiny = store->find("tiny").value();
  CHECK(tiny.context == 128);
  CHECK(tiny.bytes == fs::file_size(home / "tiny.gguf"));
  CHECK(tiny.created > 1'600'000'000);
  CHECK(tiny.job.empty());
  CHECK_THAT(store->find("big").error().hint, Catch::Contains("tiny"));

  REQUIRE(test::write_tiny_model(home / "another.gguf", {.seed = 2}));
  store->refresh();
  CHECK(names(*store) == texts{"another", "tiny"});
  fs::remove(home / "tiny.gguf");
  store->refresh();
  CHECK(names(*store) == texts{"another"});
}

TEST_CASE("a job's model keeps its name over restarts, and the same job again replaces it") {
  test::temp_folder folder;
  const auto home = folder / "models";
  const std::string name = "ft:tiny:dlls:a/../b:12345678";  // never part of a path
  {
    auto store = model_store::open(home).value();
    REQUIRE(test::write_tiny_model(folder / "made.gguf"));
    const auto added = store->add(name, "job-1", folder / "made.gguf");
    REQUIRE(added);
    CHECK(added->name == name);
    CHECK(added->job == "job-1");
    CHECK(added->path.parent_path() == home);
    CHECK_FALSE(fs::exists(folder / "made.gguf"));

    REQUIRE(test::write_tiny_model(folder / "made.gguf", {.layers = 1}));
    const auto smaller = store->add(name, "job-1", folder / "made.gguf");
    REQUIRE(smaller);
    CHECK(smaller->bytes < added->bytes);
    CHECK(names(*store) == texts{name});

    CHECK_FALSE(store->add("lost", "job-2", folder / "missing.gguf"));
    REQUIRE(base::write_file_durably(folder / "junk.gguf", "no model"));
    CHECK(store->add("junk", "job-3", folder / "junk.gguf").error().code == base::errc::corrupt);
    CHECK(names(*store) == texts{name});
  }
  auto store = model_store::open(home).value();
  CHECK(names(*store) == texts{name});
  CHECK(store->find(name).value().job == "job-1");
}

TEST_CASE("a model can be taken back, by the job that made it and nobody else") {
  test::temp_folder folder;
  const auto home = folder / "models";
  auto store = model_store::open(home).value();
  REQUIRE(test::write_tiny_model(home / "tiny.gguf"));
  REQUIRE(test::write_tiny_model(folder / "made.gguf"));
  store->refresh();
  REQUIRE(store->add("ft:tiny", "job-1", folder / "made.gguf"));
  CHECK(store->remove("ft:tiny", "job-2"));
  CHECK(store->remove("tiny", "job-1"));
  CHECK(names(*store) == texts{"ft:tiny", "tiny"});
  CHECK(store->remove("ft:tiny", "job-1"));
  CHECK(store->remove("ft:tiny", "job-1"));  // again: nothing to do
  CHECK(names(*store) == texts{"tiny"});
  CHECK(std::distance(fs::directory_iterator{home}, fs::directory_iterator{}) == 1);
}
