// What a text generation asks for and gives: the values that cross between HTTP and the backend.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/error.hpp"

namespace dlls::gateway {

// Who is asking, once the key has been accepted. `owner` is what every lookup is confined to;
// `key_name` is for logs. Neither is secret.
struct caller {
  std::string owner;
  std::string key_name;
};

// A function that the model calls; `arguments` is a JSON object, as text, when it is the model's.
struct tool_call {
  std::string id, name, arguments;
};

struct message {
  std::string role;                   // "system", "developer", "user", "assistant", "tool"
  std::string content;                // UTF-8; the text parts of a content array, joined
  std::vector<tool_call> tool_calls;  // the assistant's
  std::string tool_call_id;           // a tool's: the id of an earlier call
};

// The names and ranges are OpenAI's; top_k, min_p and repetition_penalty are the usual extensions
// of local servers. The gateway has checked types and ranges; what depends on the model (its
// context length, token ids) is the backend's to check: invalid_argument; and what it makes of
// schema and tools: unsupported too, about the member that is meant.
struct generate_request {
  caller who;
  std::string model;
  bool chat = true;                         // messages + chat template, else prompt as it is
  std::vector<message> messages;            // chat only, at least one
  std::string prompt;                       // not chat
  std::optional<std::uint32_t> max_tokens;  // none: chat until the context is full
  double temperature = 1.0;                 // 0..2; 0 is greedy
  double top_p = 1.0;                       // (0, 1]
  std::uint32_t top_k = 0;                  // 0: off
  double min_p = 0.0;                       // 0..1
  double repetition_penalty = 1.0;          // (0, 10]
  double frequency_penalty = 0.0;           // -2..2
  double presence_penalty = 0.0;            // -2..2
  std::optional<std::int64_t> seed;         // any 64-bit value; same seed, same text
  std::vector<std::string> stop;            // at most 4, none empty; not part of the output
  bool logprobs = false;
  std::uint32_t top_logprobs = 0;                            // 0..20
  std::vector<std::pair<std::uint32_t, double>> logit_bias;  // token id, -100..100
  std::string schema;          // a JSON schema that the answer keeps to, as text; empty: none
  std::string tools;           // the functions that it may call, as text; empty: none
  bool call_required = false;  // the answer is a call,
  std::string call_name;       // of this function; empty: of any
  bool parallel_calls = true;  // else at most one
  bool stream = false;         // someone reads along: send deltas early rather than in large pieces
};

struct token_alternative {
  std::string bytes;   // the token's own bytes, possibly a fragment of a UTF-8 character
  double logprob = 0;  // natural logarithm, finite
};

struct token_logprob {
  std::string bytes;
  double logprob = 0;
  std::vector<token_alternative> top;  // best first, at most top_logprobs
};

// A piece of output: whole UTF-8 characters, whole calls, and the tokens that ended in it when
// logprobs were asked for.
struct token_delta {
  std::string text;
  std::vector<tool_call> calls;
  std::vector<token_logprob> logprobs;
};

struct token_usage {
  std::uint64_t prompt_tokens = 0;
  std::uint64_t completion_tokens = 0;
  std::uint64_t cached_tokens = 0;  // of the prompt, served from the prefix cache
};

struct generate_done {
  std::string finish_reason;  // "stop", "length" or "tool_calls"
  token_usage usage;
};

// Where the backend puts the output: any number of deltas, then exactly one of done and failed.
// May be called on any thread, but never by two threads at once; never blocks. Owned by both sides;
// calls after the client has gone are harmless.
class generation_sink {
 public:
  virtual ~generation_sink() = default;
  virtual void delta(token_delta piece) = 0;
  virtual void done(generate_done end) = 0;
  virtual void failed(base::error why) = 0;
};

// How the gateway stops a generation or a watch when its client goes away.
class cancel_handle {
 public:
  virtual ~cancel_handle() = default;
  // At most once, on an HTTP thread; never blocks. The sink may still receive calls for a moment.
  virtual void cancel() = 0;
};
using generation_handle = cancel_handle;

// Texts as vectors. The gateway has checked that there are some, none empty.
struct embed_request {
  caller who;
  std::string model;
  std::vector<std::string> texts;
  std::uint32_t dimensions = 0;  // the first of each vector; 0: as many as the model has
};

// Of unit length, in the order of the texts.
struct embedding_list {
  std::vector<std::vector<float>> vectors;
  std::uint64_t tokens = 0;  // of all texts
};

}  // namespace dlls::gateway
