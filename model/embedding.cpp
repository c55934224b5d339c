#include "model/embedding.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/check.hpp"

namespace dlls::model {
using base::errc;
using base::error;

base::result<embedding> embedding::begin(const llama_config& config, embedding_request request) {
  if (request.tokens.empty()) return error{errc::invalid_argument, "the input is empty"};
  if (auto checked = check_ids(config, request.tokens); !checked) return checked.error();
  if (request.tokens.size() > config.context)
    return error{
        errc::too_long,
        fmt::format(
            "the input has {} tokens, the model's context {}", request.tokens.size(),
            config.context),
        "shorten the input or use a model with a longer context"};
  const auto how = request.how ? request.how : config.pooled;
  if (!how)
    return error{
        errc::unsupported, "the model file says a pooling_type that is not supported",
        "ask for mean or last"};
  return embedding{std::move(request.tokens), *how, config.dim};
}

embedding::embedding(std::vector<token_id> tokens, pooling how, std::uint32_t dim)
    : tokens_(std::move(tokens)), how_(how), sum_(dim) {}

void embedding::accept(std::span<const float> hidden) {
  base::check(hidden.size() % sum_.size() == 0, "whole rows of hidden states");
  for (; !hidden.empty(); hidden = hidden.subspan(sum_.size())) {
    base::check(!finished(), "no more hidden states than are pooled");
    for (std::size_t i = 0; i < sum_.size(); ++i) sum_[i] += double{hidden[i]};
    ++accepted_;
  }
}

void embedding::restart() noexcept {
  std::ranges::fill(sum_, 0.0);
  accepted_ = 0;
}

std::vector<float> embedding::vector() const {
  base::check(finished(), "an embedding that is complete");
  std::vector<float> made;
  made.reserve(sum_.size());
  for (const double sum : sum_)
    made.push_back(static_cast<float>(sum / static_cast<double>(accepted_)));
  return made;
}

std::vector<float> unit_vector(std::span<const float> v) {
  double squares = 0;
  for (const double x : v) squares += x * x;
  std::vector<float> made{v.begin(), v.end()};
  if (!(squares > 0) || std::isinf(squares)) return made;
  const auto length = std::sqrt(squares);
  for (auto& x : made) x = static_cast<float>(double{x} / length);
  return made;
}

base::result<std::vector<float>> shortened(std::span<const float> v, std::size_t dimensions) {
  if (dimensions == 0 || dimensions > v.size())
    return error{
        errc::invalid_argument,
        fmt::format("{} dimensions; the model's embeddings have {}", dimensions, v.size()),
        fmt::format("ask for 1 to {}", v.size())};
  return unit_vector(v.first(dimensions));
}

}  // namespace dlls::model
