// From a generation as the protocol describes it to one that the model can step through.
#pragma once
#include "actors/messages.hpp"
#include "actors/model_cache.hpp"
#include "base/error.hpp"
#include "model/generate.hpp"

namespace dlls::actors {

// Renders the turns by the model's own template, encodes, and starts. invalid_argument as
// model::generation::start and chat_template::parts. A seed of 0 draws one.
base::result<model::generation> begin_generation(
    const loaded_model& on, const generation_spec& spec);

// The token's pieces and log-probabilities as they travel.
token_info describe(const model::tokenizer& vocabulary, const model::generated_delta& delta);

}  // namespace dlls::actors
