// From a generation as the protocol describes it to one that the model understands.
#pragma once
#include "actors/messages.hpp"
#include "actors/model_cache.hpp"
#include "base/error.hpp"
#include "model/sequence.hpp"

namespace dlls::actors {

// Renders the turns by the model's own template and encodes. invalid_argument as
// chat_template::parts; that or unsupported as json_schema_grammar. A seed of 0 draws one.
base::result<model::generation_request> request_of(
    const loaded_model& on, const generation_spec& spec);

// The token's pieces and log-probabilities as they travel.
token_info describe(const model::tokenizer& vocabulary, const model::generated_delta& delta);

}  // namespace dlls::actors
