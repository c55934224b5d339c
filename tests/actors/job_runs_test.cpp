// The kinds of job, run without an actor.
#include <boost/json.hpp>
#include <catch2/catch.hpp>

#include "actors/job_kinds.hpp"
#include "actors/job_run.hpp"
#include "base/file.hpp"
#include "base/sha256.hpp"
#include "tests/support/catch_result.hpp"
#include "tests/support/temp_folder.hpp"
#include "tests/support/tiny_model.hpp"

using namespace dlls;
using namespace dlls::actors;
using base::errc;
namespace json = boost::json;

namespace {

const std::string conversation =
    R"({"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}]})";

struct bench {
  test::temp_folder folder;
  std::unique_ptr<model_store> models;
  std::unique_ptr<model_cache> cache;
  kernels::thread_pool pool{1};

  bench() {
    std::filesystem::create_directories(folder / "models");
    REQUIRE(test::write_tiny_model(folder / "models/tiny.gguf"));
    models = model_store::open(folder / "models").value();
    cache = std::make_unique<model_cache>(*models, 1u << 30);
  }
  run_tools tools() { return {*models, *cache, pool}; }

  work_order order(std::string kind, std::string spec, std::vector<std::string> contents = {}) {
    work_order made;
    made.job = {"job-12345678", 1, 1};
    made.kind = std::move(kind);
    made.spec_json = std::move(spec);
    made.folder = folder / "work";
    std::filesystem::create_directories(made.folder);
    for (std::size_t i = 0; i < contents.size(); ++i) {
      const auto path = folder / ("input-" + std::to_string(i));
      REQUIRE(base::write_file_durably(path, contents[i]));
      made.inputs.push_back({"file " + std::to_string(i), path});
    }
    return made;
  }
};

base::result<run_result> finish(std::unique_ptr<job_run> run) {
  auto last = run->progress().step;
  for (int steps = 0; !run->done(); ++steps) {
    if (auto one = run->step(); !one) return one.error();
    const auto now = run->progress();
    CHECK(now.step >= last);
    CHECK((now.steps_total == 0 || now.step <= now.steps_total));
    last = now.step;
    if (steps > 10'000) return base::error{errc::internal, "it never ends"};
  }
  return run->finish();
}

base::result<run_result> run_whole(bench& at, work_order order) {
  auto run = start_run(std::move(order), at.tools());
  if (!run) return run.error();
  return finish(std::move(*run));
}

json::object content(const run_result& made, const std::string& name) {
  for (const auto& file : made.files)
    if (file.name == name) return json::parse(file.content).as_object();
  FAIL("no file " << name);
  return {};
}

}  // namespace

TEST_CASE(
    "a checksum job gives SHA-256 of each input and of all, whatever their sizes and rounds") {
  bench at;
  const std::vector<std::string> inputs{
      "abc", "", std::string(1u << 20, 'x'), std::string((1u << 20) + 1, 'y')};
  for (const int rounds : {1, 3}) {
    const auto spec = R"({"extra": {"rounds": )" + std::to_string(rounds) + "}}";
    const auto made = run_whole(at, at.order("checksum", spec, inputs));
    REQUIRE(made);
    const auto told = content(*made, "checksum.json");
    std::string all;
    REQUIRE(told.at("inputs").as_array().size() == inputs.size());
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      const auto& one = told.at("inputs").as_array()[i].as_object();
      CHECK(one.at("sha256").as_string() == base::sha256_hex(inputs[i]).c_str());
      CHECK(one.at("name").as_string() == ("file " + std::to_string(i)).c_str());
      all += inputs[i];
    }
    CHECK(told.at("sha256").as_string() == base::sha256_hex(all).c_str());
    CHECK(json::parse(made->metrics_json).at("sha256") == told.at("sha256"));
    CHECK(made->model_name.empty());
  }
  const auto none = run_whole(at, at.order("checksum", "{}"));
  REQUIRE(none);
  CHECK(content(*none, "checksum.json").at("sha256").as_string() == base::sha256_hex("").c_str());
}

TEST_CASE(
    "a fine-tune of the tiny model leaves a model, its metrics and its curve, twice the same") {
  bench at;
  const auto spec = R"({"model": "tiny", "suffix": "mine", "seed": 7,
      "hyperparameters": {"n_epochs": 3, "batch_size": 1, "learning_rate_multiplier": 5}})";
  const auto data = conversation + "\n" + conversation + "\n";
  std::string losses[2];
  for (auto& loss : losses) {
    const auto made = run_whole(at, at.order("fine_tune", spec, {data}));
    REQUIRE(made);
    CHECK(made->model_name == "ft:tiny:dlls:mine:12345678");
    CHECK(std::filesystem::exists(made->model_file));
    const auto metrics = content(*made, "metrics.json");
    CHECK(metrics.at("steps").to_number<int>() == 6);
    CHECK(metrics.at("curve").as_array().size() == 6);
    CHECK(metrics.at("trained_tokens").to_number<int>() > 0);
    const auto& curve = metrics.at("curve").as_array();
    CHECK(
        curve.back().at("loss").to_number<double>() < curve.front().at("loss").to_number<double>());
    loss = json::serialize(curve);
    // The model made is one like any other: it can be served and trained again.
    const auto added = at.models->add(made->model_name, "job-12345678", made->model_file);
    REQUIRE(added);
    CHECK(at.cache->get(made->model_name));
    std::filesystem::remove_all(at.folder / "work");
  }
  CHECK(losses[0] == losses[1]);
  const auto second = run_whole(
      at, at.order(
              "fine_tune",
              R"({"model": "ft:tiny:dlls:mine:12345678", "hyperparameters": {"n_epochs": 1}})",
              {data}));
  REQUIRE(second);
  CHECK(second->model_name == "ft:tiny:dlls::12345678");
}

TEST_CASE("a pretrain runs on plain text, and a generation writes its completion") {
  bench at;
  std::string text;
  for (int i = 0; i < 60; ++i)
    text += "the hello and the user are in the list " + std::to_string(i);
  const auto trained = run_whole(
      at, at.order("pretrain", R"({"model": "tiny", "hyperparameters": {"n_epochs": 1}})", {text}));
  REQUIRE(trained);
  CHECK_FALSE(trained->model_name.empty());

  const auto spec =
      R"({"model": "tiny", "extra": {"prompt": "hello", "max_tokens": 6, "seed": 3}})";
  std::string texts[2];
  for (auto& one : texts) {
    const auto made = run_whole(at, at.order("generate", spec));
    REQUIRE(made);
    const auto told = content(*made, "completion.json");
    one = std::string{told.at("text").as_string().c_str()};
    const auto tokens = told.at("usage").at("completion_tokens").to_number<int>();
    CHECK(tokens > 0);
    CHECK(tokens <= 6);
    CHECK(json::parse(made->metrics_json).at("completion_tokens").to_number<int>() == tokens);
  }
  CHECK(texts[0] == texts[1]);
}

TEST_CASE("an unknown kind and a lying specification are refused, and nothing is left running") {
  bench at;
  const auto unknown = start_run(at.order("bake", "{}"), at.tools());
  REQUIRE_FALSE(unknown);
  CHECK(unknown.error().code == errc::unsupported);
  for (const auto& kind : known_kinds()) CHECK_THAT(unknown.error().hint, Catch::Contains(kind));

  struct lie {
    std::string kind, spec;
    std::vector<std::string> inputs;
    errc code;
  };
  const auto data = conversation;
  const std::vector<lie> lies{
      {"checksum", "", {}, errc::corrupt},
      {"checksum", "[]", {}, errc::invalid_argument},
      {"checksum", R"({"extra": {"rounds": 0}})", {}, errc::invalid_argument},
      {"checksum", R"({"extra": {"rounds": 1e12}})", {}, errc::invalid_argument},
      {"checksum", R"({"extra": {"rounds": "two"}})", {}, errc::invalid_argument},
      {"fine_tune", "{", {data}, errc::corrupt},
      {"fine_tune", "7", {data}, errc::invalid_argument},
      {"fine_tune", R"({"model": "tiny"})", {}, errc::invalid_argument},
      {"fine_tune", R"({})", {data}, errc::invalid_argument},
      {"fine_tune", R"({"model": "huge"})", {data}, errc::not_found},
      {"fine_tune", R"({"model": "tiny"})", {"no json"}, errc::invalid_argument},
      {"fine_tune",
       R"({"model": "tiny", "hyperparameters": {"n_epochs": "many"}})",
       {data},
       errc::invalid_argument},
      {"fine_tune",
       R"({"model": "tiny", "hyperparameters": {"batch_size": -1}})",
       {data},
       errc::invalid_argument},
      {"fine_tune",
       R"({"model": "tiny", "extra": {"learning_rate": "fast"}})",
       {data},
       errc::invalid_argument},
      {"pretrain", R"({"model": "tiny"})", {}, errc::invalid_argument},
      {"generate", R"({"model": "tiny"})", {}, errc::invalid_argument},
      {"generate", R"({"extra": {"prompt": "x"}})", {}, errc::invalid_argument},
      {"generate", R"({"model": "huge", "extra": {"prompt": "x"}})", {}, errc::not_found},
      {"generate",
       R"({"model": "tiny", "extra": {"prompt": "x", "temperature": "hot"}})",
       {},
       errc::invalid_argument}};
  for (const auto& one : lies) {
    CAPTURE(one.kind, one.spec);
    const auto started = start_run(at.order(one.kind, one.spec, one.inputs), at.tools());
    CHECK_FALSE(started);
    if (!started) {
      CHECK(base::name(started.error().code) == base::name(one.code));
      CHECK_FALSE(started.error().message.empty());
    }
  }
  // An input that is gone is seen when it is read.
  auto order = at.order("checksum", "{}", {"x"});
  std::filesystem::remove(order.inputs[0].path);
  CHECK(run_whole(at, order).error().code == errc::not_found);
}
