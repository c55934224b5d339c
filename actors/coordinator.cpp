#include "actors/coordinator.hpp"

#include <fmt/core.h>

#include <boost/json.hpp>

#include "base/encoding.hpp"
#include "base/log.hpp"
#include "base/random.hpp"
#include "gateway/webhook.hpp"
#include "runtime/sleep.hpp"

namespace dlls::actors {
using base::result;
using ledger::job_state;

coordinator::coordinator(caf::actor_config& config, coordinator_services services)
    : co_actor(config), services_(std::move(services)), ledger_(this, services_.jobs) {}

coordinator::behavior_type coordinator::make_behavior() {
  tasks().spawn(recover());
  tasks().spawn(keep_house());
  // What moves jobs is not left half done when a node or a client gives up waiting.
  return {
      serve(&coordinator::greet, detached),
      serve(&coordinator::see_off),
      serve(&coordinator::take_ready, detached),
      serve(&coordinator::take_failed, detached),
      serve(&coordinator::change_models),
      serve(&coordinator::note_progress),
      serve(&coordinator::begin_dispatch),
      serve(&coordinator::cancel_one, detached),
      serve(&coordinator::release_one, detached),
      serve(&coordinator::watch_one),
      serve(&coordinator::unwatch),
      serve(&coordinator::route),
      serve(&coordinator::route_embedding),
      serve(&coordinator::stop_generating),
      serve(&coordinator::bring),
      serve(&coordinator::list),
  };
}

coordinator::connected* coordinator::find_connected(const std::string& node) {
  const auto found = connected_.find(node);
  return found == connected_.end() ? nullptr : &found->second;
}

runtime::task<result<ledger::job>> coordinator::advance(ledger::edge step) {
  const bool tells = step.outbox.has_value();
  auto moved = co_await ledger_.advance(step);
  if (moved && tells && services_.outbox_written) services_.outbox_written();
  if (moved) base::log_info("coordinator", "job {} is {}", moved->id, ledger::name(moved->state));
  co_return moved;
}

bool coordinator::may_pass(const base::error& why) {
  return why.code == base::errc::unavailable || why.code == base::errc::storage_full ||
         why.code == base::errc::resource_exhausted;
}

runtime::task<result<ledger::job>> coordinator::advance_surely(ledger::edge step) {
  for (;;) {
    auto moved = co_await advance(step);
    if (moved || !may_pass(moved.error())) co_return moved;
    co_await runtime::sleep(this, services_.timing.ledger_again);
  }
}

ledger::edge coordinator::failing(
    const ledger::job& job, ledger::state_set from, std::string_view code,
    std::string_view why) const {
  ledger::edge step{job.id, from, job_state::failed};
  step.error_code = std::string{code};
  // Whatever a node or a file said: the ledger takes only text of a bounded length.
  step.error_message = base::clip_utf8(why, ledger::limits::text_bytes_max);
  step.event = ledger::new_event{*step.error_message, ledger::event_level::error};
  step.outbox = webhook_for(job, "failed", services_.clock->wall().count());
  return step;
}

// Every job in these states, oldest first and slim; read in pages, so that the ledger's thread
// serves others between. All of them or an error: who acts on half a list takes the rest for gone.
runtime::task<result<std::vector<ledger::job>>> coordinator::all_jobs(
    ledger::state_set states, std::string node) {
  std::vector<ledger::job> all;
  ledger::job_filter filter;
  filter.states = states;
  filter.node = std::move(node);
  filter.slim = true;
  filter.limit = ledger::limits::page_items_max;
  filter.order = ledger::order::oldest_first;
  for (;;) {
    auto page = co_await ledger_.list_jobs(filter);
    if (!page) {
      base::log_error("coordinator", "the ledger does not list jobs: {}", page.error().text());
      co_return page.error();
    }
    for (auto& job : page->items) all.push_back(std::move(job));
    if (!page->has_more || all.empty()) break;
    filter.after = all.back().id;
  }
  co_return all;
}

void coordinator::count_phase(
    const std::string& job, std::string phase, const link_reading& from, const link_reading& to,
    double seconds) {
  ledger::new_event line{fmt::format(
      "link, {}: {} bytes in {} packets", phase,
      (to.bytes_out - from.bytes_out) + (to.bytes_in - from.bytes_in),
      (to.packets_out - from.packets_out) + (to.packets_in - from.packets_in))};
  line.type = "metrics";
  line.data_json = boost::json::serialize(boost::json::object{
      {"link_phase", phase},
      {"bytes_sent", to.bytes_out - from.bytes_out},
      {"bytes_received", to.bytes_in - from.bytes_in},
      {"packets_sent", to.packets_out - from.packets_out},
      {"packets_received", to.packets_in - from.packets_in},
      {"seconds", seconds}});
  services_.jobs->add_event(job, std::nullopt, line, [](auto) {});
}

ledger::new_outbox_row webhook_for(
    const ledger::job& job, std::string_view outcome, std::int64_t now_ms) {
  const auto id = base::random_id("evt_");
  const auto type = job.kind == "fine_tune" ? fmt::format("fine_tuning.job.{}", outcome)
                                            : fmt::format("dlls.job.{}", outcome);
  return {id, type, gateway::webhook_event_body(id, type, now_ms / 1000, job.id)};
}

}  // namespace dlls::actors
