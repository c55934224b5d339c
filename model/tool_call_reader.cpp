#include "model/tool_call_reader.hpp"

#include <algorithm>
#include <array>
#include <boost/json.hpp>
#include <iterator>
#include <optional>
#include <utility>

#include "model/chat_text.hpp"

namespace dlls::model {
namespace {
namespace json = boost::json;
using calls = std::vector<tool_call>;

constexpr std::size_t depth_max = 64;
constexpr std::string_view blank_characters = " \t\r\n";
constexpr std::string_view block_open = "<tool_call>", block_close = "</tool_call>";
constexpr std::string_view mistral_marker = "[TOOL_CALLS]", llama3_tag = "<|python_tag|>",
                           fence = "```";

// {"name": ..., "arguments" or "parameters": an object, or one written out in a string}.
std::optional<tool_call> read_call(const json::value& from) {
  const auto* whole = from.if_object();
  const auto* name = whole == nullptr ? nullptr : whole->if_contains("name");
  if (name == nullptr || !name->is_string() || !is_tool_name(name->get_string()))
    return std::nullopt;
  tool_call made{"", std::string{name->get_string()}, "{}"};
  if (const auto* id = whole->if_contains("id");
      id != nullptr && id->is_string() && is_tool_name(id->get_string()))
    made.id = id->get_string();
  const auto* arguments = whole->if_contains("arguments");
  if (arguments == nullptr) arguments = whole->if_contains("parameters");
  if (arguments == nullptr) return made;
  if (const auto* text = arguments->if_string()) {
    json::error_code ec;
    const auto inner = json::parse(*text, ec);
    if (ec || !inner.is_object()) return std::nullopt;
    made.arguments = json::serialize(inner);
    return made;
  }
  if (!arguments->is_object()) return std::nullopt;
  made.arguments = json::serialize(*arguments);
  return made;
}

// One call or a list of them; nothing unless all of it is calls.
std::optional<calls> read_calls(const json::value& from) {
  calls found;
  const auto add = [&](const json::value& one) {
    auto call = read_call(one);
    if (call) found.push_back(*std::move(call));
    return call.has_value();
  };
  const auto* list = from.if_array();
  const bool all = list == nullptr ? add(from) : std::ranges::all_of(*list, add);
  return all ? std::optional{std::move(found)} : std::nullopt;
}

// The front of a text as a JSON value.
struct json_front {
  enum { whole, cut_short, none } state = none;
  json::value value;
  std::string_view rest;  // behind it
};

json_front read_front(std::string_view text) {
  json::parse_options options;
  options.max_depth = depth_max;
  json::stream_parser parser({}, options);
  json::error_code ec;
  const auto used = parser.write_some(text.data(), text.size(), ec);
  if (ec) return {};
  if (!parser.done()) return {json_front::cut_short, {}, {}};
  return {json_front::whole, parser.release(), text.substr(used)};
}

// Calls one after the other, apart by blanks, commas or semicolons, and nothing else.
std::optional<calls> read_bare(std::string_view text) {
  calls found;
  for (text = trimmed(text); !text.empty();) {
    if (text.front() != '{' && text.front() != '[') return std::nullopt;
    const auto front = read_front(text);
    auto some = front.state == json_front::whole ? read_calls(front.value) : std::nullopt;
    if (!some) return std::nullopt;
    std::ranges::move(*some, std::back_inserter(found));
    text = front.rest;
    text.remove_prefix(std::min(text.find_first_not_of(" \t\r\n;,"), text.size()));
  }
  return found;
}

// ```json ... ``` around the whole text.
std::string_view unfenced(std::string_view text) {
  text = trimmed(text);
  if (text.size() < 2 * fence.size() || !text.starts_with(fence) || !text.ends_with(fence))
    return text;
  const auto line = text.find('\n');
  if (line == text.npos) return text;
  return text.substr(line + 1, text.size() - fence.size() - (line + 1));
}

// Where the marker stands, or the end of the text begins that may become one; the text's size.
std::size_t find_marker(std::string_view text, std::string_view marker) {
  if (const auto at = text.find(marker); at != text.npos) return at;
  for (auto kept = std::min(text.size(), marker.size() - 1); kept > 0; --kept)
    if (text.ends_with(marker.substr(0, kept))) return text.size() - kept;
  return text.size();
}

}  // namespace

tool_call_reader::tool_call_reader(tool_form form, std::span<const chat_tool> offered)
    : form_(offered.empty() ? tool_form::none : form) {
  for (const auto& tool : offered) offered_.push_back(tool.name);
}

tool_answer tool_call_reader::add(std::string_view text) {
  if (form_ == tool_form::none) return {std::string{text}, {}};
  held_ += text;
  tool_answer out;
  if (form_ == tool_form::hermes || form_ == tool_form::smollm)
    take_blocks(out, false);
  else
    take_free(out);
  return out;
}

tool_answer tool_call_reader::finish() {
  tool_answer out;
  if (form_ == tool_form::hermes || form_ == tool_form::smollm)
    take_blocks(out, true);
  else
    take_whole(out);
  if (!called_) out.content += std::exchange(blanks_, {});
  return out;
}

bool tool_call_reader::names(const calls& some) const {
  return std::ranges::all_of(some, [&](const tool_call& one) {
    return std::ranges::find(offered_, one.name) != offered_.end();
  });
}

void tool_call_reader::take_blocks(tool_answer& out, bool last) {
  for (;;) {
    const auto at = find_marker(held_, block_open);
    const bool found = std::string_view{held_}.substr(at).starts_with(block_open);
    const auto free = found || !last ? at : held_.size();
    say(std::string_view{held_}.substr(0, free), out);
    held_.erase(0, free);
    if (!found || !take_block(out, last)) return;
  }
}

// The block that is held from its marker on; false: it is not settled yet. One that is no call is
// content, and its inside is looked through for another.
bool tool_call_reader::take_block(tool_answer& out, bool last) {
  const auto inside = std::string_view{held_}.substr(block_open.size());
  if (!last && inside.find(block_close) == inside.npos) return false;  // reading it anew is dear
  const auto front = read_front(inside);
  if (front.state == json_front::cut_short && !last) return false;
  const auto behind = trimmed(front.rest);
  const bool closed = behind.starts_with(block_close);
  if (front.state == json_front::whole && !closed && !last && block_close.starts_with(behind))
    return false;
  // The answer may have been cut, or ended, within the marker.
  auto some = front.state == json_front::whole && (closed || block_close.starts_with(behind))
                  ? read_calls(front.value)
                  : std::nullopt;
  if (some && !some->empty()) {
    const auto left = closed ? behind.substr(block_close.size()) : std::string_view{};
    call(*std::move(some), out);
    held_ = std::string{left};
  } else {
    say(block_open, out);
    held_.erase(0, block_open.size());
  }
  return true;
}

// Whether the answer, of which nothing has been said, may turn out to be calls and nothing else.
bool tool_call_reader::begins_like_a_call() const {
  if (form_ == tool_form::none) return false;
  const auto text = std::string_view{held_}.substr(
      std::min(held_.find_first_not_of(blank_characters), held_.size()));
  if (text.empty() || text.starts_with('{') || text.starts_with('[')) return true;
  const auto begins = [&](std::string_view marker) {
    return text.starts_with(marker) || marker.starts_with(text);
  };
  return (form_ == tool_form::llama3 && begins(llama3_tag)) ||
         (form_ == tool_form::gemma && begins(fence));
}

void tool_call_reader::take_free(tool_answer& out) {
  if (!said_ && begins_like_a_call()) return;
  const auto free = form_ == tool_form::mistral ? find_marker(held_, mistral_marker) : held_.size();
  say(std::string_view{held_}.substr(0, free), out);
  held_.erase(0, free);
}

void tool_call_reader::take_whole(tool_answer& out) {
  const auto text = trimmed(held_);
  std::optional<calls> found;
  if (form_ == tool_form::mistral && text.starts_with(mistral_marker)) {
    const auto front = read_front(trimmed(text.substr(mistral_marker.size())));
    if (front.state == json_front::whole && trimmed(front.rest).empty())
      found = read_calls(front.value);
  } else if (form_ != tool_form::none && !said_) {
    const bool tagged = form_ == tool_form::llama3 && text.starts_with(llama3_tag);
    found = read_bare(
        tagged                      ? text.substr(llama3_tag.size())
        : form_ == tool_form::gemma ? unfenced(text)
                                    : text);
    if (found && !names(*found)) found.reset();
  }
  if (found && !found->empty())
    call(*std::move(found), out);
  else
    say(held_, out);
  held_.clear();
}

void tool_call_reader::say(std::string_view text, tool_answer& out) {
  blanks_ += text;
  const auto end = blanks_.find_last_not_of(blank_characters);
  if (end == blanks_.npos) return;
  const auto begin = called_ && !said_ ? blanks_.find_first_not_of(blank_characters) : 0;
  out.content += std::string_view{blanks_}.substr(begin, end + 1 - begin);
  blanks_.erase(0, end + 1);
  said_ = true;
}

void tool_call_reader::call(calls some, tool_answer& out) {
  called_ = true;
  std::ranges::move(some, std::back_inserter(out.calls));
}

tool_answer parse_tool_calls(
    tool_form form, std::string_view text, std::span<const chat_tool> offered) {
  tool_call_reader reader{form, offered};
  auto made = reader.add(text);
  auto rest = reader.finish();
  made.content += rest.content;
  std::ranges::move(rest.calls, std::back_inserter(made.calls));
  return made;
}

}  // namespace dlls::model
