#include "tests/sim/simulation.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <memory>
#include <optional>

#include "base/log.hpp"
#include "base/sha256.hpp"
#include "runtime/detail/frames.hpp"
#include "tests/sim/auditor.hpp"
#include "tests/sim/weather.hpp"

namespace dlls::tests {
using namespace std::chrono_literals;
using ledger::job_state;
using std::chrono::microseconds;
using std::chrono::milliseconds;

namespace {

// What a TCP connection survives before either end calls it dead.
constexpr auto patience = 30s;

// Where a word of its node takes a job that was granted.
job_state next_of(job_state now) {
  if (now == job_state::offered) return job_state::running;
  if (now == job_state::ready) return job_state::fetched;
  return now == job_state::fetched ? job_state::released : job_state::ready;
}

class simulation {
 public:
  simulation(std::uint64_t seed, bool tell)
      : chance_(seed), weather_(chance_(), tell), w_(seed, {}, &weather_), auditor_(w_.folder()) {
    weather_.begin(w_, auditor_);
  }
  outcome run();

 private:
  struct order {
    std::vector<std::string> inputs;
    bool bad = false;  // no node can do it
    bool cancelled = false;
  };

  void at(milliseconds when, std::function<void()> action) { plan_.emplace(when, action); }
  void after(milliseconds pause, std::function<void()> action) {
    at(w_.system().elapsed() + pause, std::move(action));
  }
  milliseconds up_to(milliseconds most) {
    return milliseconds{chance_.below(static_cast<std::uint64_t>(most.count()))};
  }
  // Mostly short, sometimes past the lease's grace.
  milliseconds some_time() { return up_to(chance_.below(4) == 0 ? milliseconds{40min} : 60s); }
  node_process& some_node() { return *nodes_[chance_.below(nodes_.size())]; }
  void did(const std::string& what, const std::string& to = {}) {
    ++out_.happened[what];
    weather_.note("-- " + what + " " + to);
  }

  void make_plan();
  void submit();
  void fault();
  void cut();
  void divide();
  void hang();
  void crash_node();
  void crash_cloud();
  void cancel();
  void release_early();
  void say_outdated();
  void bring_outdated(node_process& node);
  void check_held(const node_process& node);
  void heal(node_process* lost);
  void wait_for_ends(node_process* lost);
  void check_job(const std::string& id, const order& what);
  void check_nothing_left();

  base::random_source chance_;
  outcome out_;
  weather weather_;
  world w_;
  auditor auditor_;
  std::vector<node_process*> nodes_;
  std::map<std::string, order> jobs_;
  std::multimap<milliseconds, std::function<void()>> plan_;
};

void simulation::make_plan() {
  const auto length = 20min + up_to(3h);
  const auto jobs = 2 + chance_.below(5);
  const auto faults = 3 + chance_.below(12);
  for (std::uint64_t i = 0; i < jobs; ++i) at(up_to(length / 2), [this] { submit(); });
  for (std::uint64_t i = 0; i < faults; ++i) at(up_to(length), [this] { fault(); });
  for (int i = 0; i < 8; ++i) at(up_to(length), [this] { say_outdated(); });
  if (chance_.below(2)) at(up_to(length), [this] { cancel(); });
  for (int i = 0; i < 2; ++i) at(up_to(length), [this] { release_early(); });
}

void simulation::submit() {
  if (!w_.cloud()) return after(1min, [this] { submit(); });
  const auto id = fmt::format("job-{}", jobs_.size());
  auto& job = jobs_[id];
  job.inputs = {fmt::format("content {}", chance_.below(3))};  // some are twins
  if (chance_.below(3) == 0) job.inputs.push_back(std::string(150'000, 's'));
  job.bad = chance_.below(8) == 0;
  did("submit", id);
  w_.submit(job.inputs, job.bad ? 0 : 1 + static_cast<int>(chance_.below(2)), id);
}

void simulation::fault() {
  switch (chance_.below(7)) {
    case 0:
    case 1:
      return cut();
    case 2:
      return divide();
    case 3:
      return hang();
    case 4:
    case 5:
      return crash_node();
    default:
      return crash_cloud();
  }
}

void simulation::cut() {
  auto& node = some_node();
  did("cut", node.name);
  w_.cut(node, some_time(), chance_.below(2) == 0);
}

// The net is halved: some nodes are on the other side, in one direction or in both. What lasts
// longer than a connection's patience ends it, at each side at its own time.
void simulation::divide() {
  const auto lasts = some_time();
  const auto ways = 1 + chance_.below(3);  // bits: up, down
  for (auto* node : nodes_) {
    if (chance_.below(2)) continue;
    did("partition", node->name);
    const auto until = w_.now() + lasts;
    if (ways & 1) weather_.block(node->name, direction::up, until);
    if (ways & 2) weather_.block(node->name, direction::down, until);
    if (lasts <= patience) continue;
    node->no_link_until = std::max(node->no_link_until, w_.system().elapsed() + lasts);
    after(patience, [this, node, epoch = node->epoch, rest = lasts - patience] {
      if (node->epoch == epoch) w_.cut(*node, rest, true);
    });
  }
}

// The process stands still, and its machine goes on acknowledging: no link ends.
void simulation::hang() {
  auto& node = some_node();
  did("hang", node.name);
  const auto until = w_.now() + 2 * some_time();
  weather_.block(node.name, direction::up, until);
  weather_.block(node.name, direction::down, until);
}

void simulation::crash_node() {
  auto& node = some_node();
  if (!node.actor) return;
  did("node restart", node.name);
  w_.stop_node(node, chance_.below(2) == 0);
  after(some_time(), [this, at = &node] {
    if (!at->actor) w_.start_node(*at);
  });
}

void simulation::crash_cloud() {
  if (!w_.cloud()) return;
  did("coordinator restart");
  w_.stop_coordinator(chance_.below(2) == 0);
  after(some_time(), [this] {
    if (!w_.cloud()) w_.start_coordinator();
  });
}

void simulation::cancel() {
  if (!w_.cloud() || jobs_.empty()) return;
  const auto id = std::next(jobs_.begin(), static_cast<long>(chance_.below(jobs_.size())))->first;
  did("cancel", id);
  actors::cancel_job order;
  order.owner = "me", order.id = id;
  w_.system().outside().ask(w_.cloud(), 10min, order, [this, id](auto answer) {
    if (answer) jobs_[id].cancelled = true;
  });
}

void simulation::release_early() {
  if (!w_.cloud()) return;
  for (const auto& [id, job] : jobs_) {
    if (chance_.below(2)) continue;
    did("early release", id);
    actors::release_job order;
    order.owner = "me", order.id = id;
    w_.system().outside().ask(w_.cloud(), 10min, order, [this, id = id](auto released) {
      if (released && w_.count_events(id, "the result was picked up") == 0)
        auditor_.breach("job " + id + " was released before its result was picked up");
    });
  }
}

// As from a process that stood still since the last grant and does not know it.
void simulation::say_outdated() {
  if (!w_.cloud()) return;
  const auto refused = [&](const std::string& id, std::uint64_t fence, auto call) {
    did("outdated word", id);
    const auto moved = ledger::wait_for<ledger::job>(call);
    if (moved)
      auditor_.breach(fmt::format(
          "job {}: a word under fence {} was taken; the job has {}", id, fence, moved->fence));
  };
  for (auto* node : nodes_) bring_outdated(*node);
  auto& books = *w_.books();
  for (const auto& edge : auditor_.outdated_edges())
    if (edge.from.contains(w_.state(edge.id)))
      refused(edge.id, *edge.fence, [&](auto done) { books.advance(edge, std::move(done)); });
  for (const auto& [id, known] : auditor_.jobs()) {
    const auto job = w_.job(id);
    if (job.fence < 2) continue;
    const auto older = job.fence - 1;
    if (!ledger::is_final(job.state) && job.state != job_state::queued) {
      ledger::edge step{id, job.state, next_of(job.state)};
      step.fence = older;
      step.node = job.node;
      refused(id, older, [&](auto done) { books.advance(step, std::move(done)); });
    }
    refused(id, older, [&](auto done) { books.pause_job(id, older, "late", std::move(done)); });
    refused(id, older, [&](auto done) { books.resume(id, job.node, older, std::move(done)); });
    refused(id, older, [&](auto done) { books.grant(id, job.node, older, std::move(done)); });
  }
}

// As an offer that lay in some buffer since an older grant, and as a node that never heard of the
// newer one.
void simulation::bring_outdated(node_process& node) {
  if (!node.actor || !w_.cloud()) return;
  for (const auto& entry : node.services.jobs->load().value()) {
    auto order = entry.order;
    const auto job = w_.job(order.job.id);
    const bool works = job.node == node.name && job.fence == order.job.fence &&
                       (job.state == job_state::running || job.state == job_state::ready ||
                        job.state == job_state::fetched);
    if (!works || job.fence < 2) continue;
    did("outdated offer", node.name);
    --order.job.fence, --order.job.attempt;
    w_.system().outside().ask(node.actor, 1min, order, [this, job, at = node.name](auto taken) {
      if (taken)
        auditor_.breach(fmt::format(
            "{} took {} under fence {} while it held {}", at, job.id, job.fence - 1, job.fence));
    });
    actors::from_node<actors::ready> word;
    word.node = node.name;
    word.message.job = order.job;
    w_.system().outside().ask(w_.cloud(), 1min, word, [this, job](auto noted) {
      if (noted && !noted->drop)
        auditor_.breach(fmt::format(
            "a result of {} under fence {} is of use; the job has {}", job.id, job.fence - 1,
            job.fence));
    });
  }
}

// After a welcome a node holds what the ledger has granted to it, and nothing else.
void simulation::check_held(const node_process& node) {
  for (const auto& entry : node.services.jobs->load().value()) {
    const auto& held = entry.order.job;
    const auto job = w_.job(held.id);
    if (job.node == node.name && job.fence == held.fence && !ledger::is_final(job.state)) continue;
    auditor_.breach(fmt::format(
        "{} was welcomed and still holds {} under fence {}; it is {} under {}, at {}", node.name,
        held.id, held.fence, ledger::name(job.state), job.fence, job.node));
  }
}

// But for `lost`, which is dead, or hangs on a link that does not end; null: none is.
void simulation::heal(node_process* lost) {
  weather_.note("-- heal");
  weather_.calm();
  w_.damage_chunks(0);
  if (!w_.cloud()) w_.start_coordinator();
  for (auto* node : nodes_) {
    node->no_link_until = 0ms;
    if (node == lost) continue;
    if (!node->actor) w_.start_node(*node);
  }
  if (!lost) return;
  if (chance_.below(2)) {
    did("node lost", lost->name);
    w_.stop_node(*lost, true);
  } else {
    did("node hangs for good", lost->name);
    if (!lost->actor) w_.start_node(*lost);
    weather_.block(lost->name, direction::up, w_.now() + 1000h);
    weather_.block(lost->name, direction::down, w_.now() + 1000h);
  }
}

// What `lost` alone can bring, its results, is not waited for.
void simulation::wait_for_ends(node_process* lost) {
  const auto has_ended = [&](const auto& job) {
    const auto now = w_.job(job.first);
    if (lost && now.node == lost->name && now.state == job_state::ready) return true;
    return ledger::is_final(now.state) || now.state == job_state::fetched;
  };
  if (!w_.until([&] { return std::ranges::all_of(jobs_, has_ended); }, 30h))
    for (const auto& job : jobs_)
      if (!has_ended(job))
        auditor_.breach(fmt::format(
            "job {} is still {} long after everything healed", job.first,
            ledger::name(w_.state(job.first))));
}

void simulation::check_job(const std::string& id, const order& what) {
  const auto job = w_.job(id);
  const auto state = job.state == job_state::released ? job_state::fetched : job.state;
  auto expected = what.bad ? job_state::failed : job_state::fetched;
  // An owner whose cancel was not answered does not know; one that was answered does.
  if (what.cancelled || (out_.happened["cancel"] && state == job_state::cancelled))
    expected = job_state::cancelled;
  ++out_.happened[std::string{ledger::name(state)}];
  const auto wrong = [&](std::string_view why) {
    auditor_.breach(
        fmt::format("job {} is {} ({}): {}", id, ledger::name(job.state), job.error_message, why));
  };
  if (state != expected) wrong(fmt::format("it should be {}", ledger::name(expected)));
  const int picked_up = w_.count_events(id, "the result was picked up");
  if (picked_up != (state == job_state::fetched)) wrong("picked up not exactly once");
  if (w_.count_events(id, "ready on the node") > 1) wrong("ready more than once");
  std::string all;
  for (const auto& one : what.inputs) all += one;
  if (state == job_state::fetched && w_.picked_up_sum(id) != base::sha256_hex(all))
    wrong("another result than it should have");
  const auto told = std::ranges::count(w_.webhooks(), id, &ledger::outbox_row::job);
  if (told != 1) wrong(fmt::format("its owner was told {} times", told));
}

void simulation::check_nothing_left() {
  // Who is away when its jobs are released is told when it comes back.
  if (chance_.below(2)) w_.cut(some_node(), 5min);
  for (const auto& [id, job] : jobs_)
    if (w_.state(id) == job_state::fetched && !w_.release(id))
      auditor_.breach("job " + id + " is not released");
  const auto is_empty = [](const node_process* node) { return node->held() == 0; };
  w_.until([&] { return std::ranges::all_of(nodes_, is_empty); }, 3h);
  w_.advance(10min);
  for (auto* node : nodes_) {
    if (!is_empty(node)) auditor_.breach(node->name + " still holds an entry in its spool");
    w_.stop_node(*node);  // inputs of offers that came to nothing wait for the next start
    w_.start_node(*node);
    w_.advance(1min);
    if (!node->services.artifacts->list().value().empty())
      auditor_.breach(node->name + " still holds files of jobs that are over");
    if (!std::filesystem::is_empty(w_.folder() / node->name / "spool"))
      auditor_.breach(node->name + " has something in its spool that is no entry");
  }
  auto nodes = w_.system().ask(w_.cloud(), 1min, actors::ask_nodes{});
  if (!nodes) return auditor_.breach("the coordinator does not list its nodes");
  for (const auto& node : nodes->nodes)
    if (!node.leased.empty()) auditor_.breach("a lease of " + node.name + " outlived its job");
}

outcome simulation::run() {
  const auto count = 1 + chance_.below(3);
  for (std::uint64_t i = 0; i < count; ++i)
    nodes_.push_back(&w_.add_node(fmt::format("node-{}", i)));
  make_plan();
  if (chance_.below(4) == 0) w_.damage_chunks(1);
  while (!plan_.empty()) {
    const auto next = plan_.begin();
    const auto action = next->second;
    if (next->first > w_.system().elapsed()) w_.advance(next->first - w_.system().elapsed());
    plan_.erase(next);
    action();
  }
  w_.advance(some_time());
  if (nodes_.size() > 1 && chance_.below(3) == 0) {
    auto& lost = some_node();
    heal(&lost);
    wait_for_ends(&lost);
    w_.stop_node(lost);
  }
  heal(nullptr);
  if (chance_.below(2)) {
    for (auto* node : nodes_) w_.cut(*node, 0ms);
    w_.advance(3min);
    for (const auto* node : nodes_) check_held(*node);
  }
  wait_for_ends(nullptr);
  w_.advance(1h);  // late words
  for (const auto& [id, what] : jobs_) check_job(id, what);
  check_nothing_left();
  for (const auto* message :
       {"ready", "ready again", "offer", "offer again", "status", "hello", "refused by the ledger"})
    out_.happened[message] += weather_.seen(message);
  out_.breaches = auditor_.breaches();
  out_.trace = weather_.trace() ^ w_.system().trace();
  return std::move(out_);
}

}  // namespace

outcome simulate(std::uint64_t seed, bool tell) {
  // A run meets thousands of warnings.
  if (!std::getenv("DLLS_LOG")) base::set_log_level(base::log_level::off);
  const auto frames = runtime::live_frames();
  auto out = std::make_unique<simulation>(seed, tell)->run();
  if (const auto left = runtime::live_frames() - frames; left != 0)
    out.breaches.push_back(fmt::format("{} coroutine frames are left", left));
  return out;
}

}  // namespace dlls::tests
