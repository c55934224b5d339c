#include "actors/door.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>

#include "actors/wire_json.hpp"
#include "runtime/ask.hpp"
#include "runtime/completion.hpp"
#include "runtime/race.hpp"
#include "runtime/subscribe.hpp"

namespace dlls::actors {
using base::errc;
using base::error;
using base::failure;
using base::result;
using namespace std::chrono_literals;

namespace {

// The ledger answers in milliseconds; a coordinator that takes longer is in trouble, and the node
// asks again.
constexpr auto coordinator_answer = 30s;
// The longest that anybody waits for the next piece of an answer.
constexpr auto silence_most = std::chrono::hours{1};

gateway::token_logprob to_gateway(const token_info& info) {
  gateway::token_logprob made;
  made.bytes = info.text;
  made.logprob = info.logprob;
  for (const auto& one : info.top) made.top.push_back({one.text, one.logprob});
  return made;
}

gateway::token_delta to_delta(const piece& from) {
  gateway::token_delta delta;
  delta.text = from.text;
  for (const auto& one : from.calls) delta.calls.push_back({one.id, one.name, one.arguments});
  for (const auto& one : from.logprobs) delta.logprobs.push_back(to_gateway(one));
  return delta;
}

// The input that the node may have, by the ledger's word.
result<artifact_ref> granted_input(
    const ledger::job& job, const std::string& node, const fetch_input& request) {
  const bool theirs = job.node == node && ref_of(job) == request.job;
  auto listed = inputs_of(job.spec_json);
  if (theirs && granted_states.contains(job.state) && listed)
    for (const auto& one : *listed)
      if (one.sha256 == request.sha256) return one;
  return error{errc::permission_denied, "no such input of a job that was granted to this node"};
}

error link_lost() { return {errc::unavailable, "the link to the node was lost"}; }

// However the coroutine ends, the client hears of it: a door dies with its link.
struct reply_guard {
  std::function<void(result<gateway::embedding_list>)> done;
  void operator()(result<gateway::embedding_list> answer) {
    std::exchange(done, nullptr)(std::move(answer));
  }
  ~reply_guard() {
    if (done) done(link_lost());
  }
};
// The same of a stream.
struct sink_guard {
  std::shared_ptr<gateway::generation_sink> sink;
  ~sink_guard() {
    if (sink) sink->failed(link_lost());
  }
};

}  // namespace

door::door(caf::actor_config& config, door_services services)
    : co_actor(config), services_(std::move(services)), ledger_(this, services_.jobs) {}

door::behavior_type door::make_behavior() {
  return {
      serve(&door::greet),
      serve(&door::hand_out),
      serve(&door::pass_ready),
      serve(&door::pass_failed),
      serve(&door::pass_models),
      serve(&door::pass_progress),
      serve(&door::begin_generation),
      serve(&door::begin_embedding),
      serve(&door::stop),
  };
}

void door::on_exit() {
  services_.coordinator = nullptr;
  at_ = nullptr;
}

runtime::task<welcome> door::greet(hello said) {
  at_ = caf::actor_cast<node_door>(current_sender());
  arrival who;
  who.node = services_.node;
  who.epoch = services_.epoch;
  who.at = at_;
  who.door = caf::actor_cast<door_actor>(this);
  who.account = services_.account;
  who.said = std::move(said);
  co_return co_await runtime::ask(this, services_.coordinator, coordinator_answer, std::move(who));
}

runtime::stream<chunk> door::hand_out(fetch_input request) {
  auto job = co_await ledger_.find_job(request.job.id);
  if (!job) throw failure(job.error());
  auto input = granted_input(*job, services_.node, request);
  if (!input) throw failure(input.error());
  for (auto offset = request.offset; offset < input->bytes;) {
    auto work = [offset, sha256 = input->sha256, store = services_.artifacts] {
      return read_chunk(*store, sha256, offset);
    };
    auto read = co_await runtime::offload(this, *services_.disk, work);
    if (!read) throw failure(read.error());
    offset += read->bytes.size();
    co_yield std::move(*read);
  }
}

runtime::task<noted> door::pass_ready(ready word) {
  from_node<ready> message{services_.node, std::move(word)};
  co_return co_await runtime::ask(
      this, services_.coordinator, coordinator_answer, std::move(message));
}

runtime::task<noted> door::pass_failed(failed word) {
  from_node<failed> message{services_.node, std::move(word)};
  co_return co_await runtime::ask(
      this, services_.coordinator, coordinator_answer, std::move(message));
}

void door::pass_models(models_changed news) {
  send(services_.coordinator, from_node<models_changed>{services_.node, std::move(news)});
}

void door::pass_progress(progress step) {
  send(services_.coordinator, from_node<progress>{services_.node, std::move(step)});
}

void door::begin_generation(start_generation order) {
  tasks().spawn(generate_for(std::move(order)));
}

runtime::task<> door::generate_for(start_generation order) {
  sink_guard guard{order.sink};
  if (!at_) co_return;
  generate request;
  request.spec = std::move(order.spec);
  request.stream = order.stream;
  request.owner = std::move(order.owner);
  auto keep = [this, id = order.request](runtime::resolver<bool> stop) {
    stops_.emplace(id, std::move(stop));
  };
  const auto ended = co_await runtime::race(
      feed(std::move(request), order.sink), runtime::completion<bool>(this, keep));
  stops_.erase(order.request);
  guard.sink = nullptr;
  if (ended.index() == 0) co_return;
  gateway::generate_done given_up;
  given_up.finish_reason = "cancelled";
  order.sink->done(std::move(given_up));
}

// Destroyed when the client hangs up: the node hears it, and stops.
runtime::task<> door::feed(generate request, std::shared_ptr<gateway::generation_sink> sink) {
  auto pieces = runtime::subscribe(this, at_, silence_most, std::move(request));
  for (;;) {
    auto next = co_await pieces.try_next();
    if (!next) {
      sink->failed(next.error());
      co_return;
    }
    auto& got = *next;
    if (!got) {
      sink->failed(error{errc::internal, "the node's answer has no end"});
      co_return;
    }
    if (!got->text.empty() || !got->logprobs.empty() || !got->calls.empty())
      sink->delta(to_delta(*got));
    if (got->finish_reason.empty()) continue;
    gateway::generate_done end;
    end.finish_reason = got->finish_reason;
    end.usage.prompt_tokens = got->prompt_tokens;
    end.usage.completion_tokens = got->completion_tokens;
    sink->done(std::move(end));
    co_return;
  }
}

void door::begin_embedding(start_embedding order) { tasks().spawn(embed_for(std::move(order))); }

runtime::task<> door::embed_for(start_embedding order) {
  reply_guard reply{std::move(order.done)};
  if (!at_) co_return;
  auto keep = [this, id = order.request](runtime::resolver<bool> stop) {
    stops_.emplace(id, std::move(stop));
  };
  auto ended = co_await runtime::race(
      gather_vectors(std::move(order.texts)), runtime::completion<bool>(this, keep));
  stops_.erase(order.request);
  if (ended.index() == 0)
    reply(std::move(std::get<0>(ended)));
  else
    reply(error{errc::cancelled, "the client has hung up"});
}

runtime::task<result<gateway::embedding_list>> door::gather_vectors(embed request) {
  gateway::embedding_list all;
  const auto count = request.texts.size();
  all.vectors.resize(count);
  std::vector<bool> seen(count);
  auto dimensions = std::size_t{request.dimensions};
  auto parts = runtime::subscribe(this, at_, silence_most, std::move(request));
  for (std::size_t i = 0; i < count; ++i) {
    auto next = co_await parts.try_next();
    if (!next) co_return next.error();
    auto& got = *next;
    const bool fits = got && got->index < count && !seen[got->index] && !got->vector.empty() &&
                      (dimensions == 0 || got->vector.size() == dimensions) &&
                      std::ranges::all_of(got->vector, [](float x) { return std::isfinite(x); });
    if (!fits) co_return error{errc::internal, "the node's answer does not fit the texts"};
    dimensions = got->vector.size();
    seen[got->index] = true;
    all.vectors[got->index] = std::move(got->vector);
    all.tokens += got->tokens;
  }
  co_return all;
}

void door::stop(stop_generation which) {
  const auto found = stops_.find(which.request);
  if (found != stops_.end()) found->second(true);
}

}  // namespace dlls::actors
