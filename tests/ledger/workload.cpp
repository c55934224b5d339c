#include "workload.hpp"

#include <fmt/format.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <set>

namespace dlls::ledger {

namespace {

using enum job_state;

// The order of the walk; a later state contains the earlier ones.
constexpr job_state walk[] = {submitted, queued, offered, running, ready};

std::size_t step_of(job_state s) {
  for (std::size_t i = 0; i < std::size(walk); ++i)
    if (walk[i] == s) return i;
  return 0;
}

// Counts what is under way, so that the caller can wait for the end.
struct traffic {
  std::mutex mutex;
  std::condition_variable changed;
  int walking = 0;

  void enter(int width) {
    std::unique_lock lock{mutex};
    changed.wait(lock, [&] { return walking < width; });
    ++walking;
  }
  void leave() {
    std::lock_guard lock{mutex};
    --walking;
    changed.notify_all();
  }
  void wait_until_empty() {
    std::unique_lock lock{mutex};
    changed.wait(lock, [&] { return walking == 0; });
  }
};

struct walker {
  ledger& l;
  traffic& road;
  const std::function<void(const std::string&, job_state)>& promised;

  void go(const std::string& id, std::size_t step) const {
    const auto next = [*this, id, step](base::result<job> r) {
      if (!r) return road.leave();
      promised(id, walk[step]);
      if (step + 1 == std::size(walk)) return road.leave();
      go(id, step + 1);
    };
    if (walk[step] == offered) return l.grant(id, "home", std::nullopt, next);
    edge e{id, walk[step - 1], walk[step]};
    if (walk[step] == ready) e.outbox = new_outbox_row{"evt_" + id, "job.ready", "{}"};
    l.advance(e, next);
  }
};

}  // namespace

std::string promise_line(const std::string& id, job_state state) {
  return fmt::format("{} {}", id, name(state));
}

void take_promise(promises& kept, const std::string& line) {
  const auto space = line.find(' ');
  const auto state = parse_job_state(line.substr(space + 1));
  if (space == line.npos || !state) return;
  auto [at, fresh] = kept.try_emplace(line.substr(0, space), *state);
  if (step_of(*state) > step_of(at->second)) at->second = *state;
}

void run_workload(
    ledger& l, const std::string& prefix, int jobs, int width,
    const std::function<void(const std::string&, job_state)>& promised) {
  traffic road;
  const walker w{l, road, promised};
  for (int i = 0; i < jobs; ++i) {
    auto j = a_job(fmt::format(R"({{"n":{},"text":"{}"}})", i, std::string(700, 'x')));
    j.id = fmt::format("{}-{}", prefix, i);
    j.idempotency_key = j.id;
    road.enter(width);
    l.submit(j, [w, id = j.id](base::result<submission> r) {
      if (!r) return w.road.leave();
      w.promised(id, submitted);
      w.go(id, 1);
    });
  }
  road.wait_until_empty();
}

std::string find_damage(ledger& l, const promises& promised) {
  std::map<std::string, job_state> there;
  std::set<std::string> webhooks;
  job_filter f;
  f.limit = limits::page_items_max;
  for (bool more = true; more;) {
    const auto p = wait_for<page<job>>([&](auto done) { l.list_jobs(f, done); });
    if (!p) return p.error().text();
    for (const auto& j : p->items) there[j.id] = j.state;
    if (!p->items.empty()) f.after = p->items.back().id;
    more = p->has_more;
  }
  // Each look is one tick later than the last one held the rows until.
  static std::atomic<std::int64_t> tick{1ll << 50};
  const auto now = ++tick;
  for (bool more = true; more;) {
    const auto rows = wait_for<std::vector<outbox_row>>(
        [&](auto done) { l.claim_due(now, 1, limits::page_items_max, done); });
    if (!rows) return rows.error().text();
    for (const auto& r : *rows) webhooks.insert(r.job);
    more = !rows->empty();
  }

  for (const auto& [id, state] : promised) {
    const auto found = there.find(id);
    if (found == there.end()) return fmt::format("{} was acknowledged and is lost", id);
    if (step_of(found->second) < step_of(state))
      return fmt::format("{} was {} and is {}", id, name(state), name(found->second));
  }
  for (const auto& [id, state] : there) {
    const auto events = wait_for<page<event>>(
        [&](auto done) { l.events(any_owner, id, 0, 100, order::oldest_first, done); });
    if (!events) return events.error().text();
    if (events->items.size() != step_of(state) + 1)
      return fmt::format("{} is {} and has {} events", id, name(state), events->items.size());
    if (webhooks.contains(id) != (state == ready))
      return fmt::format("{} is {} and its webhook says otherwise", id, name(state));
  }
  return {};
}

}  // namespace dlls::ledger
