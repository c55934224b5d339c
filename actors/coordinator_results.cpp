// "Ready, come and get it": results are noted, picked up, kept; watchers and prompts are routed.
#include <fmt/core.h>

#include <algorithm>
#include <boost/json.hpp>

#include "actors/cloud_records.hpp"
#include "actors/coordinator.hpp"
#include "actors/wire_json.hpp"
#include "base/file.hpp"
#include "base/log.hpp"
#include "gateway/backend.hpp"
#include "runtime/ask.hpp"
#include "runtime/sleep.hpp"
#include "runtime/subscribe.hpp"

namespace dlls::actors {
using base::errc;
using base::error;
using base::failure;
using base::result;
using ledger::job_state;

namespace {

// The default pick-up takes what is small; weights stay with the node until somebody asks.
constexpr std::uint64_t pick_up_bytes_max = 8u << 20;
// How often bytes may come that are not those promised before the result counts as lost.
constexpr int damaged_tries_max = 3;
// Lines of the loss curve that the job's events show.
constexpr std::size_t curve_lines_max = 20;

std::int64_t trained_tokens_of(const manifest& result) {
  auto metrics = parse_json(result.metrics_json);
  if (!metrics) return 0;
  return static_cast<std::int64_t>(
      value_or(whole_member(*metrics, "trained_tokens", 0, 0, 1ull << 62), std::uint64_t{0}));
}

gateway::job_progress to_gateway(const progress& step) {
  gateway::job_progress now;
  now.state = "running";
  now.step = step.step;
  now.steps = step.steps_total;
  now.loss = step.loss;
  now.remaining_s = step.seconds_left < 0 ? 0 : step.seconds_left;
  return now;
}

// The loss of each step, from the metrics that were picked up; empty for jobs without.
result<boost::json::array> read_curve(
    const std::string& manifest_json, const ledger::artifact_store& store) {
  auto listed = manifest_of(manifest_json);
  if (!listed) return listed.error();
  for (const auto& one : listed->artifacts) {
    if (one.name != "metrics.json") continue;
    auto path = store.path_of(one.sha256);
    if (!path) return path.error();
    auto text = base::read_file(*path, pick_up_bytes_max);
    if (!text) return text.error();
    auto value = parse_json(*text);
    if (!value) return value.error();
    const auto* members = value->if_object();
    const auto* lines = members ? members->if_contains("curve") : nullptr;
    if (lines && lines->is_array()) return lines->get_array();
  }
  return boost::json::array{};
}

}  // namespace

runtime::task<noted> coordinator::take_ready(from_node<ready> word) {
  const auto& said = word.message;
  auto* at = find_connected(word.node);
  const auto now = at ? reading_of(at->account) : link_reading{};
  const auto epoch = at ? at->epoch : 0;
  auto job = co_await ledger_.find_job(said.job.id);
  if (!job && job.error().code != errc::not_found) throw failure(job.error());
  // An older grant, somebody else's job, or one that has ended: nobody will come for it.
  if (!job || job->node != word.node || ref_of(*job) != said.job || ledger::is_final(job->state))
    co_return noted{true};
  if (job->state == job_state::fetched) co_return noted{false};
  if (job->state == job_state::offered) {  // its "received" was lost with the link
    ledger::edge step{job->id, job_state::offered, job_state::running};
    step.fence = said.job.fence;
    step.node = word.node;
    if (auto moved = co_await advance(step)) job = moved;
  }
  if (job->state != job_state::ready) {
    ledger::edge step{job->id, {job_state::running, job_state::lost_contact}, job_state::ready};
    step.fence = said.job.fence;
    step.node = word.node;
    step.manifest_json = boost::json::serialize(to_json(said.result));
    if (!said.result.model.empty()) step.model_out = said.result.model;
    step.trained_tokens = trained_tokens_of(said.result);
    step.event = ledger::new_event{"ready on the node"};
    auto moved = co_await advance(step);
    if (!moved) {
      if (moved.error().code == errc::stale) co_return noted{true};
      if (moved.error().code != errc::invalid_argument) throw failure(moved.error());
      // The ledger never takes it, so repeating the word would not help either.
      auto bad = failing(*job, granted_states, "invalid_result", moved.error().message);
      bad.fence = said.job.fence;
      bad.node = word.node;
      auto over = co_await advance(bad);
      if (!over) throw failure(over.error());
      ended(*over);
      co_return noted{true};
    }
    job = moved;
    count_quiet_phases(*job, said, epoch, now);
  }
  state_.end_lease(job->id);
  tasks().spawn(pick_up(job->id, word.node));
  co_return noted{false};
}

// The node measured the silence; what is left of the difference is the word itself. Readings of two
// links have no difference, and then nothing is told.
void coordinator::count_quiet_phases(
    const ledger::job& job, const ready& said, std::uint64_t epoch, const link_reading& now) {
  const auto since = received_at_.find(job.id);
  if (since == received_at_.end() || since->second.epoch != epoch) return;
  auto from = since->second.reading;
  if (said.silence_measured) {
    link_reading quiet;
    quiet.bytes_in = said.silence.bytes;
    quiet.packets_in = said.silence.packets;
    const auto started = job.started_ms.value_or(job.updated_ms);
    count_phase(job.id, "silence", {}, quiet, static_cast<double>(job.updated_ms - started) / 1000);
    from.bytes_in = std::min(now.bytes_in, from.bytes_in + quiet.bytes_in);
    from.packets_in = std::min(now.packets_in, from.packets_in + quiet.packets_in);
  }
  count_phase(job.id, "ready", from, now, 0);
}

runtime::task<noted> coordinator::take_failed(from_node<failed> word) {
  const auto& said = word.message;
  auto job = co_await ledger_.find_job(said.job.id);
  if (!job && job.error().code != errc::not_found) throw failure(job.error());
  if (!job || job->node != word.node || ref_of(*job) != said.job || ledger::is_final(job->state))
    co_return noted{true};
  const auto code = base::name(static_cast<errc>(said.code));
  auto step = failing(*job, granted_states, code, said.message);
  step.fence = said.job.fence;
  step.node = word.node;
  auto moved = co_await advance(step);
  if (!moved) throw failure(moved.error());
  ended(*moved);
  co_return noted{true};
}

// ready -> fetched: the small artifacts are verified in the cloud. A lost link leaves it ready; the
// next hello begins again where the transfer stopped. On an open link it is tried again after a
// while.
runtime::task<> coordinator::pick_up(std::string id, std::string node) {
  const claim mine{picking_, id};
  if (!mine) co_return;
  for (int damaged = 0;;) {
    const auto* before = find_connected(node);
    const auto epoch = before ? before->epoch : 0;
    const auto outcome = co_await pick_up_once(id, node, damaged + 1 == damaged_tries_max);
    if (outcome == pulled::settled) break;
    if (outcome == pulled::damaged) ++damaged;
    const auto* now_at = find_connected(node);
    if (!now_at) break;
    if (now_at->epoch == epoch) co_await runtime::sleep(this, services_.timing.pick_up_again);
  }
}

// One try. `again` when waiting may help; `damaged` when bytes came that were not those promised: a
// bad read on the node may be a good one next time, so only the last try calls the result lost.
runtime::task<coordinator::pulled> coordinator::pick_up_once(
    std::string id, std::string node, bool last_try) {
  auto job = co_await ledger_.find_job(id);
  if (!job && job.error().code != errc::not_found) co_return pulled::again;
  if (!job || job->state != job_state::ready || job->node != node) co_return pulled::settled;
  auto* at = find_connected(node);
  const auto account = at ? at->account : std::function<link_reading()>{};
  const auto before = reading_of(account);
  const auto begun = services_.clock->steady();
  auto listed = manifest_of(job->manifest_json);
  result<> done;
  if (!listed) done = listed.error();
  for (std::size_t i = 0; done && i < listed->artifacts.size(); ++i) {
    const auto& one = listed->artifacts[i];
    if (one.name == model_artifact || one.bytes > pick_up_bytes_max) continue;
    done = co_await pull_artifact(*job, node, one);
  }
  const auto after = reading_of(account);
  ledger::edge step{id, job_state::ready, job_state::fetched};
  if (done) {
    step.event = ledger::new_event{"the result was picked up"};
    step.outbox = webhook_for(*job, "succeeded", services_.clock->wall().count());
  } else {
    base::log_warning("coordinator", "pick-up of {}: {}", id, done.error().text());
    const bool damaged = done.error().code == errc::corrupt;
    if (damaged && !last_try) co_return pulled::damaged;
    if (!damaged && done.error().code != errc::not_found) co_return pulled::again;
    step = failing(*job, job_state::ready, "result_lost", done.error().message);
  }
  step.fence = job->fence;
  auto moved = co_await advance(step);
  if (!moved) co_return may_pass(moved.error()) ? pulled::again : pulled::settled;
  if (done) {
    const std::chrono::duration<double> took = services_.clock->steady() - begun;
    count_phase(id, "pick-up", before, after, took.count());
    co_await tell_curve(*job);
  }
  ended(*moved);
  co_return pulled::settled;
}

// The loss curve travelled with the result, not during the silence: here it becomes the job's
// events.
runtime::task<> coordinator::tell_curve(ledger::job job) {
  auto read = [manifest_json = job.manifest_json, store = services_.artifacts] {
    return read_curve(manifest_json, *store);
  };
  auto curve = co_await runtime::offload(this, *services_.disk, read);
  if (!curve) co_return;
  const auto every =
      std::max<std::size_t>(1, (curve->size() + curve_lines_max - 1) / curve_lines_max);
  for (std::size_t i = 0; i < curve->size(); ++i) {
    if (i % every && i + 1 != curve->size()) continue;
    const auto step =
        value_or(whole_member((*curve)[i], "step", 0, 0, 1ull << 62), std::uint64_t{0});
    const auto loss = value_or(number_member((*curve)[i], "loss", 0), double{0});
    ledger::new_event line{fmt::format("Step {}: training loss={:.4f}", step, loss)};
    line.type = "metrics";
    line.data_json =
        boost::json::serialize(boost::json::object{{"step", step}, {"train_loss", loss}});
    services_.jobs->add_event(job.id, std::nullopt, line, [](auto) {});
  }
}

runtime::task<result<>> coordinator::pull_artifact(
    ledger::job job, std::string node, artifact_ref what) {
  const open_chunks open = [this, node, ref = ref_of(job),
                            sha256 = what.sha256](std::uint64_t offset) {
    return open_result(node, ref, sha256, offset);
  };
  co_return co_await fetch_artifact(this, services_.artifacts, services_.disk, what, open);
}

result<chunks> coordinator::open_result(
    std::string node, job_ref job, std::string sha256, std::uint64_t offset) {
  auto* at = find_connected(node);
  if (!at) return error{errc::unavailable, fmt::format("node {} is away", node)};
  pull request{std::move(job), std::move(sha256), offset};
  return runtime::subscribe(
      this, at->at, services_.timing.answer, std::move(request), transfer_window);
}

runtime::task<artifact_ref> coordinator::bring(bring_artifact order) {
  auto done = co_await pull_artifact(order.job, order.job.node, order.what);
  if (!done) throw failure(done.error());
  co_return order.what;
}

// --- watching: the only thing that breaks the silence, and only while somebody looks

// Known from here on, so that an unwatch which overtakes the ledger's answer finds it; told nothing
// before the ledger has said whose job it is.
void coordinator::watch_one(watch_job order) {
  watchers_[order.watcher] = {order.id, order.sink};
  tasks().spawn(begin_watch(std::move(order)));
}

runtime::task<> coordinator::begin_watch(watch_job order) {
  auto job = co_await ledger_.find_job(order.id, order.owner);
  const auto found = watchers_.find(order.watcher);
  if (found == watchers_.end()) co_return;
  if (!job) {
    watchers_.erase(found);
    order.sink->failed(job.error());
    co_return;
  }
  if (ledger::is_final(job->state) || ledger::result_states.contains(job->state)) {
    watchers_.erase(found);
    order.sink->done(to_gateway(*job));
    co_return;
  }
  found->second.admitted = true;
  gateway::job_progress now;
  now.state = std::string{ledger::name(job->state)};
  order.sink->progress(now);
  watch_again(*job);
}

void coordinator::watch_again(const ledger::job& job) {
  auto* at = find_connected(job.node);
  const bool watched = std::ranges::any_of(watchers_, [&](const auto& item) {
    return item.second.admitted && item.second.job == job.id;
  });
  if (at && watched) send(at->at, watch{ref_of(job), true});
}

void coordinator::ended(const ledger::job& job) {
  state_.end_lease(job.id);
  received_at_.erase(job.id);
  paused_at_.erase(job.id);
  std::erase_if(watchers_, [&](const auto& item) {
    if (!item.second.admitted || item.second.job != job.id) return false;
    item.second.sink->done(to_gateway(job));
    return true;
  });
  begin_dispatch(wake{});
}

void coordinator::unwatch(unwatch_job order) {
  const auto found = watchers_.find(order.watcher);
  if (found == watchers_.end()) return;
  const auto [job, sink, admitted] = found->second;
  watchers_.erase(found);
  if (!admitted) return;  // nobody was told to talk for it
  for (const auto& [id, one] : watchers_)
    if (one.job == job) return;
  // Nobody looks any more: whoever has the job falls silent again.
  for (auto& [name, at] : connected_)
    if (state_.find(name)->leased.contains(job)) send(at.at, watch{job_ref{job, 0, 0}, false});
}

void coordinator::note_progress(from_node<progress> step) {
  for (auto& [id, one] : watchers_)
    if (one.admitted && one.job == step.message.job.id)
      one.sink->progress(to_gateway(step.message));
}

// --- prompts

result<door_actor> coordinator::door_to(const std::string& model) {
  const auto* node = state_.serving(model);
  const auto* at = node ? find_connected(node->name) : nullptr;
  if (at) return at->door;
  if (state_.known(model))
    return error{
        errc::unavailable, fmt::format("the node that has '{}' is away", model),
        "it reconnects by itself; try again soon"};
  return error{
      errc::not_found, fmt::format("no model '{}'", model), "GET /v1/models lists what there is"};
}

void coordinator::route(start_generation order) {
  const auto door = door_to(order.spec.model);
  if (!door) return order.sink->failed(door.error());
  send(*door, std::move(order));
}

void coordinator::route_embedding(start_embedding order) {
  const auto door = door_to(order.texts.model);
  if (!door) return order.done(door.error());
  send(*door, std::move(order));
}

// Doors know their own generations and ignore the rest.
void coordinator::stop_generating(stop_generation which) {
  for (auto& [name, at] : connected_) send(at.door, which);
}

}  // namespace dlls::actors
