#include "actors/seal.hpp"

#include <catch2/catch.hpp>

#include "base/file.hpp"
#include "tests/support/catch_result.hpp"
#include "tests/support/temp_folder.hpp"
#include "tests/support/tiny_model.hpp"

using namespace dlls;
using namespace dlls::actors;

TEST_CASE("a sealed result stands in the stores, and sealing it again changes nothing") {
  test::temp_folder folder;
  auto models = model_store::open(folder / "models").value();
  const auto store = ledger::artifact_store::open(folder / "artifacts").value();
  const job_ref job{"job-1", 1, 1};
  auto make = [&] {
    run_result made;
    made.files = {{"metrics.json", R"({"loss": 1})"}, {"empty", ""}, {"twin", R"({"loss": 1})"}};
    made.metrics_json = R"({"trained_tokens": 5})";
    made.model_name = "ft:tiny";
    made.model_file = folder / "model.gguf";
    REQUIRE(test::write_tiny_model(made.model_file));
    return made;
  };
  const auto first = seal_result(make(), job, *models, store);
  REQUIRE(first);
  REQUIRE(first->artifacts.size() == 4);
  CHECK(first->metrics_json == R"({"trained_tokens": 5})");
  CHECK(first->model == "ft:tiny");
  for (const auto& one : first->artifacts) {
    CAPTURE(one.name);
    if (one.name == model_artifact) {
      const auto stored = models->find("ft:tiny").value();
      CHECK(base::sha256_file(stored.path).value() == one.sha256);
      CHECK(stored.bytes == one.bytes);
      CHECK(stored.job == "job-1");
    } else {
      CHECK(store.verify(one.sha256));
      CHECK(store.open_blob(one.sha256).value().size() == one.bytes);
    }
  }
  const auto again = seal_result(make(), job, *models, store);
  REQUIRE(again);
  CHECK(*again == *first);
  CHECK(store.list().value().size() == 2);  // the twins are one blob
  CHECK(models->list().size() == 1);

  run_result lost;
  lost.model_name = "gone";
  lost.model_file = folder / "gone.gguf";
  CHECK_FALSE(seal_result(lost, job, *models, store));
  CHECK(models->list().size() == 1);
}

TEST_CASE("a result that is abandoned before its model is added leaves no model") {
  test::temp_folder folder;
  auto models = model_store::open(folder / "models").value();
  const auto store = ledger::artifact_store::open(folder / "artifacts").value();
  run_result made;
  made.model_name = "ft:tiny";
  made.model_file = folder / "model.gguf";
  REQUIRE(test::write_tiny_model(made.model_file));
  std::stop_source abandoned;
  abandoned.request_stop();
  const auto sealed = seal_result(made, {"job-1", 1, 1}, *models, store, abandoned.get_token());
  REQUIRE_FALSE(sealed);
  CHECK(sealed.error().code == base::errc::cancelled);
  CHECK(models->list().empty());
}
