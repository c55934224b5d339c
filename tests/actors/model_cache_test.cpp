// Which models stay in memory, and which are refused.
#include "actors/model_cache.hpp"

#include <catch2/catch.hpp>
#include <filesystem>

#include "tests/support/catch_result.hpp"
#include "tests/support/temp_folder.hpp"
#include "tests/support/tiny_model.hpp"

using namespace dlls;
using namespace dlls::actors;
using base::errc;
namespace fs = std::filesystem;
using Catch::Matchers::Contains;

namespace {

using held = std::shared_ptr<const loaded_model>;

// Models "a", "b", "c", all alike, and a cache for `room` and a half of them.
struct shelf {
  test::temp_folder folder;
  std::unique_ptr<model_store> models;
  std::unique_ptr<model_cache> cache;

  explicit shelf(std::uint64_t halves) {
    for (const auto* name : {"a", "b", "c"})
      REQUIRE(test::write_tiny_model(folder / (std::string{name} + ".gguf")));
    models = model_store::open(folder.path()).value();
    cache = std::make_unique<model_cache>(*models, halves * fs::file_size(folder / "a.gguf") / 2);
  }
  held get(const char* name) { return cache->get(name).value(); }
};

}  // namespace

TEST_CASE("the model least recently used makes room for another") {
  shelf s(5);
  const std::weak_ptr<const loaded_model> a = s.get("a"), b = s.get("b");
  s.get("a");
  const std::weak_ptr<const loaded_model> c = s.get("c");
  CHECK_FALSE(a.expired());
  CHECK(b.expired());
  CHECK_FALSE(c.expired());
}

TEST_CASE("a model in use is neither dropped nor forgotten") {
  shelf s(3);
  const auto a = s.get("a");
  const auto refused = s.cache->get("b");
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == errc::resource_exhausted);
  CHECK_THAT(refused.error().message, Contains("'b' takes 1 MiB") && Contains("1 MiB are in use"));
  CHECK(s.get("a") == a);  // no second copy
}

TEST_CASE("a model gives way once nobody uses it any more") {
  shelf s(3);
  auto a = s.get("a");
  CHECK_FALSE(s.cache->get("b"));
  a = nullptr;
  CHECK(s.cache->get("b"));
}

TEST_CASE("a model that can never fit is refused with both numbers") {
  shelf s(1);
  const auto refused = s.cache->get("a");
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == errc::failed_precondition);
  CHECK_THAT(refused.error().message, Contains("'a' takes") && Contains("are set aside"));
  CHECK_THAT(refused.error().hint, Contains("models_mib"));
}

TEST_CASE("a file put in another's place is loaded anew; the old one counts while it is used") {
  shelf s(3);
  const auto old = s.get("a");
  const auto path = s.folder / "a.gguf";
  fs::copy_file(path, s.folder / "new");
  fs::last_write_time(s.folder / "new", fs::last_write_time(path) + std::chrono::seconds{5});
  fs::rename(s.folder / "new", path);
  s.models->refresh();
  const auto refused = s.cache->get("a");
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == errc::resource_exhausted);

  shelf roomy(5);
  const auto before = roomy.get("a");
  const auto place = roomy.folder / "a.gguf";
  fs::last_write_time(place, fs::last_write_time(place) + std::chrono::seconds{5});
  roomy.models->refresh();
  CHECK(roomy.get("a") != before);
}

TEST_CASE("a file of the same size and age in another's place is another model, at once") {
  shelf s(5);
  const auto path = s.folder / "a.gguf";
  const auto old = s.get("a");
  REQUIRE(test::write_tiny_model(s.folder / "new", {.seed = 2}));
  fs::last_write_time(s.folder / "new", fs::last_write_time(path));
  REQUIRE(fs::file_size(s.folder / "new") == fs::file_size(path));
  fs::rename(s.folder / "new", path);
  CHECK(s.get("a") != old);  // without a refresh
  CHECK(s.get("a") == s.get("a"));
}

TEST_CASE("a file cut or deleted while its model is loaded is refused, and a good one heals") {
  shelf s(9);
  const auto path = s.folder / "a.gguf";
  const auto old = s.get("a"), other = s.get("b");
  fs::copy_file(path, s.folder / "good");
  fs::resize_file(path, 5000);
  for (int twice = 0; twice < 2; ++twice) CHECK(s.cache->get("a").error().code == errc::corrupt);
  fs::rename(s.folder / "good", path);
  CHECK(s.cache->get("a"));
  fs::rename(path, s.folder / "away");
  CHECK(s.cache->get("a").error().code == errc::not_found);
  fs::rename(s.folder / "away", path);
  CHECK(s.cache->get("a"));
  CHECK(s.get("b") == other);
}
