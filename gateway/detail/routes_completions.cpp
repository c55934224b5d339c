// /v1/chat/completions and /v1/completions: one generation a choice, gathered into one object or
// streamed as chunks.
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <cmath>

#include "base/random.hpp"
#include "gateway/detail/completion_input.hpp"
#include "gateway/detail/errors.hpp"
#include "gateway/detail/json_output.hpp"
#include "gateway/detail/routes.hpp"

namespace dlls::gateway::detail::completions {
namespace json = boost::json;
namespace {

// What OpenAI shows for a token that cannot occur.
constexpr double logprob_floor = -9999.0;

double shown(double logprob) { return std::isfinite(logprob) ? logprob : logprob_floor; }

json::array byte_array(std::string_view bytes) {
  json::array out;
  for (const char c : bytes) out.push_back(static_cast<unsigned char>(c));
  return out;
}

json::object chat_token(std::string_view bytes, double logprob) {
  json::object out;
  out["token"] = text_value(bytes);
  out["logprob"] = shown(logprob);
  out["bytes"] = byte_array(bytes);
  return out;
}

json::object chat_logprobs(const std::vector<token_logprob>& tokens) {
  json::array content;
  for (const auto& t : tokens) {
    auto entry = chat_token(t.bytes, t.logprob);
    json::array top;
    for (const auto& alternative : t.top)
      top.push_back(chat_token(alternative.bytes, alternative.logprob));
    entry["top_logprobs"] = std::move(top);
    content.push_back(std::move(entry));
  }
  json::object out;
  out["content"] = std::move(content);
  out["refusal"] = nullptr;
  return out;
}

// `offset` is where the first token starts in the choice's text, in bytes.
json::object text_logprobs(const std::vector<token_logprob>& tokens, std::size_t offset) {
  json::array names, values, tops, offsets;
  for (const auto& t : tokens) {
    names.push_back(text_value(t.bytes));
    values.push_back(shown(t.logprob));
    json::object top;
    for (const auto& alternative : t.top)
      top[text_value(alternative.bytes)] = shown(alternative.logprob);
    tops.push_back(std::move(top));
    offsets.push_back(offset);
    offset += t.bytes.size();
  }
  json::object out;
  out["tokens"] = std::move(names);
  out["token_logprobs"] = std::move(values);
  out["top_logprobs"] = std::move(tops);
  out["text_offset"] = std::move(offsets);
  return out;
}

json::object call_object(const tool_call& call) {
  json::object function, out;
  function["name"] = text_value(call.name);
  function["arguments"] = text_value(call.arguments);
  out["id"] = text_value(call.id);
  out["type"] = "function";
  out["function"] = std::move(function);
  return out;
}

// All generations of one request. HTTP thread only (the sinks post here).
class completion : public std::enable_shared_from_this<completion> {
 public:
  completion(const completion_input& in, std::string id, std::int64_t created, exchange_ptr out)
      : chat_(in.choices[0].chat),
        stream_(in.stream),
        include_usage_(in.include_usage),
        model_(in.choices[0].model),
        id_(std::move(id)),
        created_(created),
        out_(std::move(out)),
        choices_(in.choices.size()),
        open_(in.choices.size()) {
    for (std::size_t i = 0; i < choices_.size(); ++i)
      choices_[i].wants_logprobs = in.choices[i].logprobs;
  }

  void start(std::vector<generate_request> requests, backend& to);
  void delta(std::size_t index, token_delta piece);
  void done(std::size_t index, generate_done end);
  void failed(base::error why);

 private:
  struct choice {
    bool wants_logprobs = false, began = false;
    std::string text;                     // whole answers only
    std::vector<token_logprob> logprobs;  // whole answers only
    std::vector<tool_call> calls;         // whole answers only
    std::size_t call_count = 0;           // so far
    std::size_t bytes = 0;                // of the text so far
    std::string finish_reason;
    token_usage usage;
    std::shared_ptr<generation_handle> handle;
  };

  json::object envelope_object(bool chunk) const;
  json::value logprobs_value(
      const choice& c, const std::vector<token_logprob>& t, std::size_t at) const;
  void send_chunk(std::size_t index, json::object delta, json::value logprobs, json::value finish);
  void begin(std::size_t index, bool with_text);
  void send_calls(std::size_t index, std::vector<tool_call> calls);
  void finish_stream();
  void finish_whole();
  token_usage usage() const;
  void cancel();

  bool chat_, stream_, include_usage_;
  std::string model_, id_;
  std::int64_t created_;
  exchange_ptr out_;
  std::vector<choice> choices_;
  std::size_t open_;
  bool over_ = false, streaming_ = false;
};

class choice_sink final : public generation_sink {
 public:
  choice_sink(std::shared_ptr<completion> whole, std::size_t index, exchange_ptr out)
      : whole_(std::move(whole)), index_(index), out_(std::move(out)) {}
  void delta(token_delta piece) override {
    out_->post([whole = whole_, index = index_, piece = std::move(piece)]() mutable {
      whole->delta(index, std::move(piece));
    });
  }
  void done(generate_done end) override {
    out_->post([whole = whole_, index = index_, end = std::move(end)]() mutable {
      whole->done(index, std::move(end));
    });
  }
  void failed(base::error why) override {
    out_->post([whole = whole_, why = std::move(why)]() mutable { whole->failed(std::move(why)); });
  }

 private:
  std::shared_ptr<completion> whole_;
  std::size_t index_;
  exchange_ptr out_;
};

void completion::start(std::vector<generate_request> requests, backend& to) {
  out_->when_gone([weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->over_ = true, self->cancel();
  });
  for (std::size_t i = 0; i < requests.size() && !over_; ++i) {
    const auto sink = std::make_shared<choice_sink>(shared_from_this(), i, out_);
    choices_[i].handle = to.generate(std::move(requests[i]), sink);
  }
}

void completion::cancel() {
  for (auto& c : choices_)
    if (const auto handle = std::exchange(c.handle, nullptr); handle && c.finish_reason.empty())
      handle->cancel();
}

json::object completion::envelope_object(bool chunk) const {
  json::object out;
  out["id"] = id_;
  out["object"] = !chat_ ? "text_completion" : chunk ? "chat.completion.chunk" : "chat.completion";
  out["created"] = created_;
  out["model"] = text_value(model_);
  out["system_fingerprint"] = nullptr;
  return out;
}

json::value completion::logprobs_value(
    const choice& c, const std::vector<token_logprob>& tokens, std::size_t at) const {
  if (!c.wants_logprobs) return nullptr;
  return chat_ ? chat_logprobs(tokens) : text_logprobs(tokens, at);
}

void completion::send_chunk(
    std::size_t index, json::object delta, json::value logprobs, json::value finish) {
  json::object entry;
  entry["index"] = index;
  if (chat_)
    entry["delta"] = std::move(delta);
  else
    entry["text"] = delta.contains("content") ? delta["content"] : json::value("");
  entry["logprobs"] = std::move(logprobs);
  entry["finish_reason"] = std::move(finish);
  auto chunk = envelope_object(true);
  chunk["choices"] = json::array{json::value(std::move(entry))};
  if (include_usage_) chunk["usage"] = nullptr;
  out_->event(json::serialize(chunk));
}

// The stream starts with the first output, so that an unknown model is still a plain 404.
void completion::begin(std::size_t index, bool with_text) {
  if (!std::exchange(streaming_, true)) out_->start_events();
  if (std::exchange(choices_[index].began, true) || !chat_) return;
  json::object role;
  role["role"] = "assistant";
  role["content"] = with_text ? json::value("") : json::value{};
  send_chunk(index, std::move(role), nullptr, nullptr);
}

void completion::delta(std::size_t index, token_delta piece) {
  auto& c = choices_[index];
  if (over_ || !c.finish_reason.empty()) return;
  const auto at = c.bytes;
  c.bytes += piece.text.size();
  if (!stream_) {
    c.text += piece.text;
    std::move(piece.logprobs.begin(), piece.logprobs.end(), std::back_inserter(c.logprobs));
    std::move(piece.calls.begin(), piece.calls.end(), std::back_inserter(c.calls));
    return;
  }
  const bool with_text = !piece.text.empty() || !piece.logprobs.empty() || piece.calls.empty();
  begin(index, with_text);
  if (with_text) {
    json::object content;
    content["content"] = text_value(piece.text);
    send_chunk(index, std::move(content), logprobs_value(c, piece.logprobs, at), nullptr);
  }
  send_calls(index, std::move(piece.calls));
}

void completion::send_calls(std::size_t index, std::vector<tool_call> calls) {
  for (const auto& call : calls) {
    auto entry = call_object(call);
    entry["index"] = choices_[index].call_count++;
    json::object delta;
    delta["tool_calls"] = json::array{json::value(std::move(entry))};
    send_chunk(index, std::move(delta), nullptr, nullptr);
  }
}

void completion::done(std::size_t index, generate_done end) {
  auto& c = choices_[index];
  if (over_ || !c.finish_reason.empty()) return;
  c.finish_reason = end.finish_reason.empty() ? "stop" : std::move(end.finish_reason);
  c.usage = end.usage;
  c.handle.reset();
  if (stream_) {
    begin(index, true);
    send_chunk(index, {}, nullptr, text_value(c.finish_reason));
  }
  if (--open_ > 0) return;
  over_ = true;
  stream_ ? finish_stream() : finish_whole();
}

void completion::failed(base::error why) {
  if (std::exchange(over_, true)) return;
  cancel();
  if (why.code == base::errc::too_long) why = why.about(chat_ ? "messages" : "prompt");
  const auto shown = api_error_of(why, model_);
  if (!streaming_) return out_->send(to_response(shown));
  out_->event(envelope(shown));
  out_->end();
}

token_usage completion::usage() const {
  token_usage sum;
  for (const auto& c : choices_) {
    // The choices of one chat share their prompt; OpenAI counts it once.
    sum.prompt_tokens = chat_ ? c.usage.prompt_tokens : sum.prompt_tokens + c.usage.prompt_tokens;
    sum.cached_tokens = chat_ ? c.usage.cached_tokens : sum.cached_tokens + c.usage.cached_tokens;
    sum.completion_tokens += c.usage.completion_tokens;
  }
  return sum;
}

void completion::finish_stream() {
  if (include_usage_) {
    auto chunk = envelope_object(true);
    chunk["choices"] = json::array{};
    chunk["usage"] = usage_object(usage());
    out_->event(json::serialize(chunk));
  }
  out_->event("[DONE]");
  out_->end();
}

void completion::finish_whole() {
  json::array list;
  for (std::size_t i = 0; i < choices_.size(); ++i) {
    auto& c = choices_[i];
    json::object entry;
    entry["index"] = i;
    if (chat_) {
      json::object message;
      message["role"] = "assistant";
      const bool only_calls = c.text.empty() && !c.calls.empty();
      message["content"] = only_calls ? json::value{} : json::value(text_value(c.text));
      message["refusal"] = nullptr;
      if (!c.calls.empty()) {
        json::array calls;
        for (const auto& call : c.calls) calls.push_back(call_object(call));
        message["tool_calls"] = std::move(calls);
      }
      entry["message"] = std::move(message);
    } else {
      entry["text"] = text_value(c.text);
    }
    entry["logprobs"] = logprobs_value(c, c.logprobs, 0);
    entry["finish_reason"] = text_value(c.finish_reason);
    list.push_back(std::move(entry));
  }
  auto body = envelope_object(false);
  body["choices"] = std::move(list);
  body["usage"] = usage_object(usage());
  out_->send(json_response(body));
}

void run(
    completion_input input, const problem& wrong, const request& in, backend& to,
    exchange_ptr out) {
  if (wrong) return out->send(to_response(*wrong));
  const auto id = base::random_id(input.choices[0].chat ? "chatcmpl-" : "cmpl-");
  std::make_shared<completion>(input, id, in.arrived, std::move(out))
      ->start(std::move(input.choices), to);
}

}  // namespace

void chat(request in, backend& to, exchange_ptr out) {
  problem wrong;
  auto input = read_chat(in.body, in.who, wrong);
  run(std::move(input), wrong, in, to, std::move(out));
}

void text(request in, backend& to, exchange_ptr out) {
  problem wrong;
  auto input = read_completion(in.body, in.who, wrong);
  run(std::move(input), wrong, in, to, std::move(out));
}

}  // namespace dlls::gateway::detail::completions
