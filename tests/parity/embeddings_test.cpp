// What our engine pools against what llama.cpp pools (make_embeddings.py).
#include <fmt/core.h>

#include <boost/json.hpp>
#include <catch2/catch.hpp>
#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "base/file.hpp"
#include "kernels/parallel.hpp"
#include "model/engine.hpp"
#include "model/gguf.hpp"
#include "tests/support/reference.hpp"

namespace dlls {
namespace {

namespace json = boost::json;
using model::activations;
using model::pooling;

using vectors = std::map<std::string, std::vector<float>>;  // by text and pooling, "code, mean"

template <class Fn>
void each_vector(Fn fn) {
  const auto text = base::read_file(test::tree_reference_folder() / "embeddings/embeddings.json");
  REQUIRE(text);
  const auto all = json::parse(*text);
  for (const auto& entry : all.at("texts").as_array())
    for (const auto how : {pooling::mean, pooling::last}) {
      const std::string which = how == pooling::mean ? "mean" : "last";
      fn(std::string(entry.at("name").as_string()) + ", " + which, which, entry, how);
    }
}

vectors reference(const char* kind) {
  vectors made;
  each_vector([&](const auto& name, const auto& which, const auto& entry, pooling) {
    made[name] = json::value_to<std::vector<float>>(entry.at(kind).at(which));
  });
  return made;
}

// All of them at once, as the service has them.
vectors ours(const std::filesystem::path& path, activations how) {
  const auto file = model::gguf_file::open(path).value();
  const std::shared_ptr<const model::llama> weights = model::llama::load(file, how).value();
  const std::shared_ptr<const model::tokenizer> vocabulary = model::tokenizer::from(*file).value();
  const auto engine = model::engine::make(weights, vocabulary, {}).value();
  std::map<model::engine::sequence_id, std::string> names;
  each_vector([&](const auto& name, const auto&, const auto& entry, pooling wanted) {
    const auto ids = json::value_to<std::vector<model::token_id>>(entry.at("ids"));
    CHECK(vocabulary->encode_prompt(std::string(entry.at("text").as_string()), false) == ids);
    names[engine->add(engine->begin({ids, wanted}).value(), "test").value()] = name;
  });
  kernels::thread_pool pool;
  vectors made;
  while (!engine->idle())
    for (const auto& one : engine->step(pool)) made[names.at(one.who)] = one.embedding;
  return made;
}

double cosine(const std::vector<float>& a, const std::vector<float>& b) {
  REQUIRE(a.size() == b.size());
  const auto dot = [](const auto& x, const auto& y) {
    double sum = 0;
    for (std::size_t i = 0; i < x.size(); ++i) sum += double{x[i]} * double{y[i]};
    return sum;
  };
  return dot(a, b) / std::sqrt(dot(a, a) * dot(b, b));
}

TEST_CASE("with exact activations an embedding is the exact reference's") {
  const auto path = test::test_model();
  if (!path) return;
  const auto made = ours(*path, activations::f32);
  for (const auto& [name, expected] : reference("f32")) {
    INFO(name);
    CHECK(1 - cosine(made.at(name), expected) < 1e-8);
    for (std::size_t i = 0; i < expected.size(); ++i)
      CHECK(made.at(name)[i] == Approx(expected[i]).margin(2e-3));  // of a row of length 60
  }
}

TEST_CASE("with quantised activations an embedding is as near as the reference's own") {
  const auto path = test::test_model();
  if (!path) return;
  const auto made = ours(*path, activations::q8);
  const auto exact = reference("f32");
  for (const auto& [name, theirs] : reference("q4_1")) {
    const auto& truth = exact.at(name);
    const auto apart = 1 - cosine(made.at(name), theirs);
    const auto off = 1 - cosine(made.at(name), truth), theirs_off = 1 - cosine(theirs, truth);
    INFO(fmt::format(
        "{}: 1 - cosine with llama.cpp {:.1e}, with the exact vector {:.1e}, of llama.cpp's {:.1e}",
        name, apart, off, theirs_off));
    CHECK(apart < 1e-3);
    CHECK(off < 2 * theirs_off);
  }
}

}  // namespace
}  // namespace dlls
