// The whole protocol between coordinator and node, on one page. docs/formats.md describes the wire
// form; both change together, and base::limits::protocol_version with them.
//
// The coordinator never trusts a reference: whoever changes a job names attempt and fence, and the
// ledger compares them. Actor handles never travel inside a message: each side answers
// `current_sender()`.
#pragma once
#include <caf/meta/type_name.hpp>
#include <caf/typed_actor.hpp>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/part.hpp"

namespace dlls::actors {

// ---- what messages are made of ------------------------------------------------------------------

// One grant of one job. The fence rises with every grant; an older one is refused where it would be
// written.
struct job_ref {
  std::string id;
  std::uint32_t attempt = 0;
  std::uint64_t fence = 0;
  job_ref() = default;
  job_ref(std::string i, std::uint32_t a, std::uint64_t f)
      : id(std::move(i)), attempt(a), fence(f) {}
  friend bool operator==(const job_ref&, const job_ref&) = default;
};

// A sealed piece of data, named by its content. `name` is for people ("metrics.json",
// "model.gguf").
struct artifact_ref {
  std::string name;
  std::string sha256;  // 64 hexadecimal digits
  std::uint64_t bytes = 0;
  artifact_ref() = default;
  artifact_ref(std::string n, std::string s, std::uint64_t b)
      : name(std::move(n)), sha256(std::move(s)), bytes(b) {}
  friend bool operator==(const artifact_ref&, const artifact_ref&) = default;
};

// The name under which a model's GGUF stands in a manifest.
inline constexpr std::string_view model_artifact = "model.gguf";

// What a finished job left on the node's disk.
struct manifest {
  std::vector<artifact_ref> artifacts;
  std::string model;         // name in the node's model store; empty: the job makes no model
  std::string metrics_json;  // small: final loss, tokens, seconds
  manifest() = default;
  manifest(std::vector<artifact_ref> a, std::string m, std::string j)
      : artifacts(std::move(a)), model(std::move(m)), metrics_json(std::move(j)) {}
  friend bool operator==(const manifest&, const manifest&) = default;
};

// Bytes of TLS and TCP segments on one link, both directions, as counted by the speaker.
struct link_account {
  std::uint64_t bytes = 0;
  std::uint64_t packets = 0;
  link_account() = default;
  link_account(std::uint64_t b, std::uint64_t p) : bytes(b), packets(p) {}
};

enum class held_state : std::uint8_t { accepted = 0, sealed = 1, failed = 2 };

// A job that the node's spool holds.
struct held_job {
  job_ref job;
  std::uint8_t state = 0;  // held_state
  held_job() = default;
  held_job(job_ref j, held_state s) : job(std::move(j)), state(static_cast<std::uint8_t>(s)) {}
};

struct served_model {
  std::string name;
  std::uint64_t bytes = 0;
  std::uint32_t context = 0;  // tokens
  std::int64_t created = 0;   // Unix seconds
  served_model() = default;
  served_model(std::string n, std::uint64_t b, std::uint32_t c, std::int64_t at)
      : name(std::move(n)), bytes(b), context(c), created(at) {}
};

// A function that the model calls; `arguments` is a JSON object, as text.
struct tool_call {
  std::string id, name, arguments;
  tool_call() = default;
  tool_call(std::string i, std::string n, std::string a)
      : id(std::move(i)), name(std::move(n)), arguments(std::move(a)) {}
};

struct chat_turn {
  std::string role, content;
  std::vector<tool_call> calls;  // the assistant's
  std::string answers;           // a tool's: the id of the call
  chat_turn() = default;
  chat_turn(std::string r, std::string c) : role(std::move(r)), content(std::move(c)) {}
};

struct bias {
  std::int32_t token = 0;
  float value = 0;
  bias() = default;
  bias(std::int32_t t, float v) : token(t), value(v) {}
};

// The functions that an answer may call.
struct tool_offer {
  std::string tools;      // OpenAI's `tools`, as text; empty: none
  bool required = false;  // the answer is a call,
  std::string name;       // of this one; empty: of any
  bool parallel = true;   // else of several calls only the first counts
  tool_offer() = default;
};

// What to generate; used by the synchronous `generate` and, as JSON, by the durable job of that
// kind.
struct generation_spec {
  std::string model;
  std::vector<chat_turn> turns;  // chat, when not empty; else `prompt` as it stands
  std::string prompt;
  std::uint32_t tokens_max = 0;  // 0: as many as the context holds
  float temperature = 1, top_p = 1, min_p = 0;
  float repetition_penalty = 1, frequency_penalty = 0, presence_penalty = 0;
  std::uint32_t top_k = 0;
  std::uint64_t seed = 0;
  std::vector<std::string> stop;
  std::vector<bias> logit_bias;
  std::int32_t logprobs = -1;  // -1: none, else that many alternatives
  std::string schema;          // JSON schema that the answer keeps to; empty: none
  tool_offer offer;
  generation_spec() = default;
};

struct alternative {
  std::string text;
  float logprob = 0;
  alternative() = default;
  alternative(std::string t, float l) : text(std::move(t)), logprob(l) {}
};

struct token_info {
  std::string text;
  float logprob = 0;
  std::vector<alternative> top;
  token_info() = default;
};

// ---- node -> cloud ------------------------------------------------------------------------------

// First message on a fresh link: who speaks, what it can do and what it holds.
struct hello {
  std::uint32_t protocol = 0;
  std::string software;            // "dlls 0.1.0"
  std::vector<std::string> kinds;  // job kinds it takes
  std::vector<served_model> models;
  std::vector<held_job> held;
  hello() = default;
};
struct welcome {
  std::uint64_t epoch = 0;    // of this session
  std::vector<job_ref> drop;  // held jobs that the ledger has ended or granted anew
  welcome() = default;
};
struct models_changed {
  std::vector<served_model> models;
  models_changed() = default;
};
// Asks for the rest of an input, chunk after chunk.
struct fetch_input {
  job_ref job;
  std::string sha256;
  std::uint64_t offset = 0;
  fetch_input() = default;
  fetch_input(job_ref j, std::string s, std::uint64_t o)
      : job(std::move(j)), sha256(std::move(s)), offset(o) {}
};
// A piece of an artifact, in either direction; `sha256` is this piece's own (raw bytes).
struct chunk {
  std::uint64_t offset = 0;
  std::string bytes;
  std::string sha256;
  chunk() = default;
};
// Repeated until noted: the result is sealed. `silence` is what the link carried since `received`,
// where the node could measure it: not for a job that ended at once or that outlived its link.
struct ready {
  job_ref job;
  manifest result;
  bool silence_measured = false;
  link_account silence;
  ready() = default;
};
// Repeated until noted: the job cannot be done. Code as base::errc.
struct failed {
  job_ref job;
  std::uint8_t code = 0;
  std::string message;
  failed() = default;
};
struct noted {
  bool drop = false;  // the ledger has no use for it: delete the spool entry
  noted() = default;
  explicit noted(bool d) : drop(d) {}
};
struct progress {
  job_ref job;
  std::uint64_t step = 0, steps_total = 0;
  double loss = 0;
  double seconds_left = -1;  // -1: unknown
  progress() = default;
};
// ---- cloud -> node ------------------------------------------------------------------------------

struct offer {
  job_ref job;
  std::string kind;
  std::string spec_json;
  std::vector<artifact_ref> inputs;
  offer() = default;
};
// The acknowledgement: job and verified inputs are on the node's disk.
struct received {
  job_ref job;
  received() = default;
};
// Asks for the rest of an artifact of a result, chunk after chunk.
struct pull {
  job_ref job;
  std::string sha256;
  std::uint64_t offset = 0;
  pull() = default;
  pull(job_ref j, std::string s, std::uint64_t o)
      : job(std::move(j)), sha256(std::move(s)), offset(o) {}
};
struct release {
  job_ref job;
  release() = default;
  explicit release(job_ref j) : job(std::move(j)) {}
};
struct released {
  job_ref job;
  released() = default;
};
struct cancel {
  job_ref job;
  cancel() = default;
  explicit cancel(job_ref j) : job(std::move(j)) {}
};
struct cancelled {
  job_ref job;
  cancelled() = default;
};
struct status {
  job_ref job;
  status() = default;
  explicit status(job_ref j) : job(std::move(j)) {}
};
struct job_status {
  held_job held;
  double seconds_left = -1;  // the node's estimate; -1: unknown
  job_status() = default;
};
struct watch {
  job_ref job;
  bool on = false;
  watch() = default;
  watch(job_ref j, bool o) : job(std::move(j)), on(o) {}
};
// Answered by pieces, until the last: whoever unsubscribes stops the generation.
struct generate {
  generation_spec spec;
  bool stream = false;  // else as few pieces as fit frames
  std::string owner;    // whom it is for: owners take turns
  generate() = default;
};
// Some tokens of a running generation, coalesced. The text is without the calls.
struct piece {
  std::string text;
  std::vector<tool_call> calls;  // each whole
  std::vector<token_info> logprobs;
  std::string finish_reason;                               // of the last: stop, length, tool_calls
  std::uint32_t prompt_tokens = 0, completion_tokens = 0;  // of the last
  piece() = default;
};
// Answered by as many `embedded` as there are texts, in whatever order; whoever unsubscribes stops
// the rest.
struct embed {
  std::string model;
  std::vector<std::string> texts;
  std::uint32_t dimensions = 0;  // the first of each vector; 0: as many as the model has
  std::string owner;             // as of generate
  embed() = default;
};
// A text as a vector of unit length.
struct embedded {
  std::uint32_t index = 0;  // of the text
  std::vector<float> vector;
  std::uint32_t tokens = 0;  // of the text
  embedded() = default;
};

// ---- the two doors ------------------------------------------------------------------------------

// What a node may say to its door actor in the cloud.
using cloud_door = caf::typed_actor<
    caf::replies_to<hello>::with<welcome>, caf::replies_to<fetch_input>::with<runtime::part<chunk>>,
    caf::replies_to<ready>::with<noted>, caf::replies_to<failed>::with<noted>,
    caf::reacts_to<models_changed>, caf::reacts_to<progress>>;

// What the cloud may say to a node.
using node_door = caf::typed_actor<
    caf::replies_to<offer>::with<received>, caf::replies_to<pull>::with<runtime::part<chunk>>,
    caf::replies_to<release>::with<released>, caf::replies_to<cancel>::with<cancelled>,
    caf::replies_to<status>::with<job_status>, caf::reacts_to<watch>,
    caf::replies_to<generate>::with<runtime::part<piece>>,
    caf::replies_to<embed>::with<runtime::part<embedded>>>;

// ---- wire form ----------------------------------------------------------------------------------

#define DLLS_WIRE(type, ...)                                       \
  template <class Inspector>                                       \
  typename Inspector::result_type inspect(Inspector& f, type& x) { \
    return f(caf::meta::type_name(#type), __VA_ARGS__);            \
  }
DLLS_WIRE(job_ref, x.id, x.attempt, x.fence)
DLLS_WIRE(artifact_ref, x.name, x.sha256, x.bytes)
DLLS_WIRE(manifest, x.artifacts, x.model, x.metrics_json)
DLLS_WIRE(link_account, x.bytes, x.packets)
DLLS_WIRE(held_job, x.job, x.state)
DLLS_WIRE(served_model, x.name, x.bytes, x.context, x.created)
DLLS_WIRE(tool_call, x.id, x.name, x.arguments)
DLLS_WIRE(chat_turn, x.role, x.content, x.calls, x.answers)
DLLS_WIRE(tool_offer, x.tools, x.required, x.name, x.parallel)
DLLS_WIRE(bias, x.token, x.value)
DLLS_WIRE(
    generation_spec, x.model, x.turns, x.prompt, x.tokens_max, x.temperature, x.top_p, x.min_p,
    x.repetition_penalty, x.frequency_penalty, x.presence_penalty, x.top_k, x.seed, x.stop,
    x.logit_bias, x.logprobs, x.schema, x.offer)
DLLS_WIRE(alternative, x.text, x.logprob)
DLLS_WIRE(token_info, x.text, x.logprob, x.top)
DLLS_WIRE(hello, x.protocol, x.software, x.kinds, x.models, x.held)
DLLS_WIRE(welcome, x.epoch, x.drop)
DLLS_WIRE(models_changed, x.models)
DLLS_WIRE(fetch_input, x.job, x.sha256, x.offset)
DLLS_WIRE(chunk, x.offset, x.bytes, x.sha256)
DLLS_WIRE(ready, x.job, x.result, x.silence_measured, x.silence)
DLLS_WIRE(failed, x.job, x.code, x.message)
DLLS_WIRE(noted, x.drop)
DLLS_WIRE(progress, x.job, x.step, x.steps_total, x.loss, x.seconds_left)
DLLS_WIRE(offer, x.job, x.kind, x.spec_json, x.inputs)
DLLS_WIRE(received, x.job)
DLLS_WIRE(pull, x.job, x.sha256, x.offset)
DLLS_WIRE(release, x.job)
DLLS_WIRE(released, x.job)
DLLS_WIRE(cancel, x.job)
DLLS_WIRE(cancelled, x.job)
DLLS_WIRE(status, x.job)
DLLS_WIRE(job_status, x.held, x.seconds_left)
DLLS_WIRE(watch, x.job, x.on)
DLLS_WIRE(generate, x.spec, x.stream, x.owner)
DLLS_WIRE(piece, x.text, x.calls, x.logprobs, x.finish_reason, x.prompt_tokens, x.completion_tokens)
DLLS_WIRE(embed, x.model, x.texts, x.dimensions, x.owner)
DLLS_WIRE(embedded, x.index, x.vector, x.tokens)
#undef DLLS_WIRE

}  // namespace dlls::actors
