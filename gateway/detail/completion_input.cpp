#include "gateway/detail/completion_input.hpp"

#include <algorithm>
#include <array>
#include <boost/json/serialize.hpp>
#include <limits>
#include <set>

#include "base/limits.hpp"

namespace dlls::gateway::detail {
namespace json = boost::json;
namespace {

constexpr std::size_t messages_max = 2048;
constexpr std::size_t content_parts_max = 256;
constexpr std::size_t model_bytes_max = 256;
constexpr std::size_t stop_max = 4;
constexpr std::size_t stop_bytes_max = 256;
constexpr std::size_t logit_bias_max = 1024;
constexpr std::size_t schema_name_bytes_max = 64;
constexpr std::size_t tools_max = 128;
constexpr std::size_t tool_calls_max = 128;
constexpr std::size_t tool_call_id_bytes_max = 256;
// Choices and prompts of one request together: each is a sequence of its own on the node.
constexpr std::size_t choices_max = 16;
constexpr std::int64_t tokens_max = 1 << 24;
// OpenAI's default for /v1/completions.
constexpr std::uint32_t completion_tokens_default = 16;
constexpr std::array<std::string_view, 5> roles{"system", "developer", "user", "assistant", "tool"};

void refuse_unsupported(const object_reader& in, std::string_view name, std::string why) {
  in.fail(name, std::move(why), "unsupported_parameter");
}

bool is_name_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         c == '-';
}

// A list that asks for something we do not do; an empty one asks for nothing.
void refuse_non_empty(const object_reader& in, std::string_view name) {
  const auto* v = in.find(name);
  if (v && !(v->is_array() && v->get_array().empty()))
    refuse_unsupported(in, name, "'" + in.path(name) + "' is not supported by this server");
}

std::string read_parts(const object_reader& in, const json::array& parts, const std::string& name) {
  std::string content;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const auto at = name + "[" + std::to_string(i) + "]";
    if (!parts[i].is_object()) {
      in.fail(at, "'" + in.path(at) + "' must be an object with a type", "invalid_type");
      break;
    }
    problem inner;
    const object_reader part{parts[i].get_object(), in.path(at), inner};
    const auto type = part.required_text("type", 64);
    const auto* member = type == "refusal" ? "refusal" : "text";
    if (!inner && type != member)
      refuse_unsupported(part, "type", "content parts of type '" + type + "' are not supported");
    if (!part.find(member))
      part.fail(member, "'" + part.path(member) + "' is required", "missing_required_parameter");
    content += part.text(member, base::limits::request_bytes_max).value_or("");
    if (inner) {
      in.fail(at, inner->message, inner->code);
      break;
    }
  }
  return content;
}

std::vector<tool_call> read_calls(const object_reader& in, problem& first) {
  std::vector<tool_call> calls;
  const auto* list = in.array("tool_calls", tool_calls_max);
  for (std::size_t i = 0; list && i < list->size() && !first; ++i) {
    const auto at = "tool_calls[" + std::to_string(i) + "]";
    if (!(*list)[i].is_object()) {
      in.fail(at, "'" + in.path(at) + "' must be an object", "invalid_type");
      break;
    }
    const object_reader one{(*list)[i].get_object(), in.path(at), first};
    tool_call call;
    call.id = one.required_text("id", tool_call_id_bytes_max);
    if (one.required_text("type", 64) != "function" && !first)
      refuse_unsupported(one, "type", "the only tools of this server are functions");
    if (const auto function = one.object("function")) {
      call.name = function->required_text("name", schema_name_bytes_max);
      if (!function->find("arguments"))
        function->fail(
            "arguments", "'" + function->path("arguments") + "' is required",
            "missing_required_parameter");
      call.arguments = function->text("arguments", base::limits::request_bytes_max).value_or("");
      if (call.arguments.empty()) call.arguments = "{}";  // some models write nothing for nothing
    } else {
      one.fail(
          "function", "'" + one.path("function") + "' is required", "missing_required_parameter");
    }
    calls.push_back(std::move(call));
  }
  return calls;
}

message read_message(const object_reader& in, problem& first) {
  message out;
  out.role = in.required_text("role", 32);
  if (!out.role.empty() && std::find(roles.begin(), roles.end(), out.role) == roles.end())
    in.fail(
        "role", "'" + out.role + "' is not a role; use system, developer, user, assistant or tool");
  refuse_non_empty(in, "function_call");
  out.tool_calls = read_calls(in, first);
  if (!out.tool_calls.empty() && out.role != "assistant")
    in.fail("tool_calls", "'" + in.path("tool_calls") + "' are the assistant's");
  if (out.role == "tool")
    out.tool_call_id = in.required_text("tool_call_id", tool_call_id_bytes_max);
  const auto* content = in.find("content");
  if (!content && !out.tool_calls.empty()) return out;
  if (!content)
    in.fail("content", "'" + in.path("content") + "' is required", "missing_required_parameter");
  else if (content->is_string())
    out.content = in.text("content", base::limits::request_bytes_max).value_or("");
  else if (!content->is_array())
    in.fail(
        "content", "'" + in.path("content") + "' must be a string or an array of parts",
        "invalid_type");
  else if (const auto* parts = in.array("content", content_parts_max))
    out.content = read_parts(in, *parts, "content");
  return out;
}

// What a tool answers must have been asked before it.
void check_call_ids(const object_reader& in, const std::vector<message>& messages) {
  std::set<std::string_view> known;
  for (std::size_t i = 0; i < messages.size(); ++i) {
    for (const auto& call : messages[i].tool_calls) known.insert(call.id);
    if (messages[i].role == "tool" && !known.contains(messages[i].tool_call_id))
      return in.fail(
          "messages[" + std::to_string(i) + "].tool_call_id",
          "no message before has a call with the id '" + messages[i].tool_call_id + "'");
  }
}

void read_messages(const object_reader& in, generate_request& out, problem& first) {
  const auto* list = in.array("messages", messages_max);
  if (!list || list->empty()) {
    in.fail(
        "messages", "'messages' must be an array of at least one message",
        "missing_required_parameter");
    return;
  }
  for (std::size_t i = 0; i < list->size() && !first; ++i) {
    const auto at = "messages[" + std::to_string(i) + "]";
    if (const auto& item = (*list)[i]; item.is_object())
      out.messages.push_back(read_message({item.get_object(), at, first}, first));
    else
      in.fail(at, "'" + at + "' must be an object", "invalid_type");
  }
  if (!first) check_call_ids(in, out.messages);
}

void read_stop(const object_reader& in, generate_request& out) {
  const auto* v = in.find("stop");
  if (!v) return;
  if (v->is_string()) {
    out.stop = {in.text("stop", stop_bytes_max).value_or("")};
  } else if (const auto* list = in.array("stop", stop_max)) {
    for (const auto& item : *list) {
      if (!item.is_string() || item.get_string().size() > stop_bytes_max)
        return in.fail("stop", "'stop' must be a string or up to 4 strings", "invalid_type");
      out.stop.emplace_back(item.get_string().data(), item.get_string().size());
    }
  }
  // An empty stop would end every answer at once; clients send it to mean none.
  std::erase(out.stop, "");
}

void read_logit_bias(const object_reader& in, generate_request& out, problem& first) {
  const auto map = in.object("logit_bias");
  if (!map) return;
  if (map->raw().size() > logit_bias_max)
    return in.fail("logit_bias", "'logit_bias' has more than 1024 entries");
  for (const auto& [key, _] : map->raw()) {
    const std::string_view name{key.data(), key.size()};
    const auto token = parse_unsigned(name);
    if (!token || *token > std::numeric_limits<std::uint32_t>::max())
      return map->fail(name, "a key of 'logit_bias' must be a token id");
    const auto bias = map->number(name, -100, 100);
    if (first) return;
    if (bias) out.logit_bias.emplace_back(static_cast<std::uint32_t>(*token), *bias);
  }
}

void read_sampling(const object_reader& in, generate_request& out, problem& first) {
  out.model = in.required_text("model", model_bytes_max);
  out.temperature = in.number("temperature", 0, 2).value_or(out.temperature);
  out.top_p = in.number("top_p", 0, 1).value_or(out.top_p);
  out.top_k = static_cast<std::uint32_t>(in.integer("top_k", 0, 1 << 20).value_or(0));
  out.min_p = in.number("min_p", 0, 1).value_or(out.min_p);
  out.repetition_penalty = in.number("repetition_penalty", 0.01, 10).value_or(1);
  out.frequency_penalty = in.number("frequency_penalty", -2, 2).value_or(0);
  out.presence_penalty = in.number("presence_penalty", -2, 2).value_or(0);
  constexpr auto any = std::numeric_limits<std::int64_t>{};
  out.seed = in.integer("seed", any.min(), any.max());
  out.stream = in.boolean("stream").value_or(false);
  read_stop(in, out);
  read_logit_bias(in, out, first);
}

// The form is checked here; what a schema may hold is for the backend to say.
std::string read_schema(const object_reader& in) {
  const auto given = in.object("json_schema");
  if (!given) {
    in.fail(
        "json_schema", "'" + in.path("json_schema") + "' is required",
        "missing_required_parameter");
    return {};
  }
  const auto name = given->required_text("name", schema_name_bytes_max);
  if (!std::ranges::all_of(name, [](char c) { return is_name_character(c); }))
    given->fail("name", "'" + given->path("name") + "' may have letters, digits, _ and - only");
  given->text("description", base::limits::request_bytes_max);
  given->boolean("strict");  // the answer keeps to the schema, said or not
  const auto schema = given->object("schema");
  if (!schema)
    given->fail(
        "schema", "'" + given->path("schema") + "' is required", "missing_required_parameter");
  return schema ? json::serialize(schema->raw()) : std::string{};
}

void read_format(const object_reader& in, generate_request& out) {
  const auto format = in.object("response_format");
  if (!format) return;
  const auto type = format->required_text("type", 64);
  if (type == "json_schema")
    out.schema = read_schema(*format);
  else if (type == "json_object")
    out.schema = R"({"type":"object"})";
  else if (type != "text" && !type.empty())
    refuse_unsupported(
        *format, "type",
        "response_format '" + type + "' is not supported: text, json_object or json_schema");
}

// What the functions are like is for the backend to say.
void read_tools(const object_reader& in, generate_request& out) {
  const auto* tools = in.array("tools", tools_max);
  if (tools && !tools->empty()) out.tools = json::serialize(*tools);
  out.parallel_calls = in.boolean("parallel_tool_calls").value_or(true);
  const auto* choice = in.find("tool_choice");
  if (!choice || *choice == "auto") return;
  if (*choice == "none") {
    out.tools.clear();
    return;
  }
  if (out.tools.empty())
    return in.fail("tool_choice", "'tool_choice' is only allowed with 'tools'");
  out.call_required = true;
  if (*choice == "required") return;
  if (choice->is_string())
    return in.fail("tool_choice", "'tool_choice' must be none, auto, required or a function");
  const auto named = in.object("tool_choice");
  if (!named) return;
  if (named->required_text("type", 64) != "function")
    return refuse_unsupported(
        *named, "type", "a tool_choice of this server is none, auto, required or a function");
  if (const auto function = named->object("function"))
    out.call_name = function->required_text("name", schema_name_bytes_max);
  else
    named->fail("function", "'tool_choice.function' is required", "missing_required_parameter");
}

void refuse_what_is_missing(const object_reader& in) {
  for (const auto name : {"functions", "function_call"}) refuse_non_empty(in, name);
  if (const auto* modalities = in.array("modalities", 8))
    for (const auto& m : *modalities)
      if (!m.is_string() || m.get_string() != "text")
        refuse_unsupported(in, "modalities", "the only modality of this server is text");
}

// `base` once for each choice, seeds apart, as n independent requests would draw.
void add_choices(completion_input& out, const generate_request& base, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) {
    auto choice = base;
    const auto seed = choice.seed.value_or(0);
    if (choice.seed)
      choice.seed = static_cast<std::int64_t>(
          static_cast<std::uint64_t>(seed) + static_cast<std::uint64_t>(i));
    out.choices.push_back(std::move(choice));
  }
}

void read_streaming(const object_reader& in, completion_input& out) {
  out.stream = in.boolean("stream").value_or(false);
  const auto options = in.object("stream_options");
  if (!options) return;
  if (!out.stream) in.fail("stream_options", "'stream_options' is only allowed with 'stream'");
  out.include_usage = options->boolean("include_usage").value_or(false);
}

std::vector<std::string> read_prompts(const object_reader& in) {
  const auto* v = in.find("prompt");
  if (!v) {
    in.fail("prompt", "'prompt' is required", "missing_required_parameter");
    return {};
  }
  if (v->is_string()) return {in.text("prompt", base::limits::request_bytes_max).value_or("")};
  std::vector<std::string> prompts;
  if (const auto* list = in.array("prompt", choices_max))
    for (const auto& item : *list) {
      if (!item.is_string()) {
        refuse_unsupported(in, "prompt", "prompts as token ids are not supported: send text");
        return {};
      }
      prompts.emplace_back(item.get_string().data(), item.get_string().size());
    }
  if (prompts.empty()) in.fail("prompt", "'prompt' must be a string or an array of strings");
  return prompts;
}

}  // namespace

completion_input read_chat(std::string_view text, const caller& who, problem& first) {
  json_body body{text};
  completion_input out;
  if (!body.first) {
    const auto in = body.reader();
    generate_request base;
    base.who = who;
    read_sampling(in, base, body.first);
    read_messages(in, base, body.first);
    read_format(in, base);
    read_tools(in, base);
    refuse_what_is_missing(in);
    auto tokens = in.integer("max_completion_tokens", 1, tokens_max);
    if (!tokens) tokens = in.integer("max_tokens", 1, tokens_max);
    if (tokens) base.max_tokens = static_cast<std::uint32_t>(*tokens);
    base.logprobs = in.boolean("logprobs").value_or(false);
    const auto top = in.integer("top_logprobs", 0, 20).value_or(0);
    if (top && !base.logprobs)
      in.fail("top_logprobs", "'top_logprobs' is only allowed with 'logprobs': true");
    base.top_logprobs = static_cast<std::uint32_t>(top);
    read_streaming(in, out);
    const auto n = in.integer("n", 1, choices_max).value_or(1);
    if (!body.first) add_choices(out, base, n);
  }
  first = std::move(body.first);
  return out;
}

completion_input read_completion(std::string_view text, const caller& who, problem& first) {
  json_body body{text};
  completion_input out;
  if (!body.first) {
    const auto in = body.reader();
    generate_request base;
    base.who = who;
    base.chat = false;
    read_sampling(in, base, body.first);
    base.max_tokens = static_cast<std::uint32_t>(
        in.integer("max_tokens", 1, tokens_max).value_or(completion_tokens_default));
    if (const auto top = in.integer("logprobs", 0, 20)) {
      base.logprobs = true;
      base.top_logprobs = static_cast<std::uint32_t>(*top);
    }
    if (in.boolean("echo").value_or(false))
      refuse_unsupported(in, "echo", "'echo' is not supported by this server");
    if (!in.text("suffix", base::limits::request_bytes_max).value_or("").empty())
      refuse_unsupported(in, "suffix", "'suffix' is not supported by this server");
    read_streaming(in, out);
    const auto n = in.integer("n", 1, choices_max).value_or(1);
    if (in.integer("best_of", 1, choices_max).value_or(n) != n)
      refuse_unsupported(in, "best_of", "'best_of' other than 'n' is not supported");
    const auto prompts = read_prompts(in);
    if (prompts.size() * static_cast<std::size_t>(n) > choices_max)
      in.fail("n", "prompts times 'n' must be at most 16");
    if (!body.first)
      for (const auto& prompt : prompts) {
        base.prompt = prompt;
        add_choices(out, base, n);
      }
  }
  first = std::move(body.first);
  return out;
}

}  // namespace dlls::gateway::detail
