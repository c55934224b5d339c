// From a generation as the protocol describes it to one that the model understands.
#pragma once
#include "actors/messages.hpp"
#include "actors/model_cache.hpp"
#include "base/error.hpp"
#include "model/sequence.hpp"
#include "model/tool_call_reader.hpp"

namespace dlls::actors {

// An answer's request, and what will read the calls out of it.
struct asked_generation {
  model::generation_request request;
  model::tool_call_reader reader;
};

// Renders turns and tools by the model's own template and encodes. invalid_argument or unsupported
// as chat_template::parts, parse_chat_tools, json_schema_grammar and required_tool_call;
// unsupported too: a schema for an answer that may be a call. A seed of 0 draws one.
base::result<asked_generation> request_of(const loaded_model& on, const generation_spec& spec);

// Under an id of ours: a model's own may come twice in one conversation.
tool_call to_wire(model::tool_call call);

// The token's pieces and log-probabilities as they travel.
token_info describe(const model::tokenizer& vocabulary, const model::generated_delta& delta);

}  // namespace dlls::actors
