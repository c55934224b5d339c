#include "tests/actors/protocol_world.hpp"

#include <boost/json.hpp>
#include <catch2/catch.hpp>

#include "actors/wire_json.hpp"
#include "base/file.hpp"
#include "base/sha256.hpp"
#include "runtime/ask.hpp"
#include "runtime/sleep.hpp"
#include "runtime/subscribe.hpp"

namespace dlls::tests {
using namespace actors;
using base::errc;
using base::error;
using namespace std::chrono_literals;
using std::chrono::milliseconds;

// --- the scheduler

void open_scheduler::enqueue(caf::resumable* who) {
  if (std::this_thread::get_id() == home_) return test_coordinator::enqueue(who);
  std::lock_guard lock{mutex_};
  waiting_.push_back(who);
}

bool open_scheduler::let_in() {
  std::lock_guard lock{mutex_};
  if (waiting_.empty()) return false;
  jobs.insert(jobs.end(), waiting_.begin(), waiting_.end());
  waiting_.clear();
  return true;
}

// --- the world

namespace {

constexpr auto hold_for_good = std::chrono::hours{24 * 365};

std::shared_ptr<ledger::artifact_store> open_store(const std::filesystem::path& folder) {
  return std::make_shared<ledger::artifact_store>(ledger::artifact_store::open(folder).value());
}

// First in, first out on one thread: what was queued before has been done.
void wait_for(runtime::worker_pool& pool) {
  std::promise<void> reached;
  if (!pool.submit([&] { reached.set_value(); })) FAIL("a full pool");
  reached.get_future().wait();
}

}  // namespace

world::world(std::uint64_t seed, coordinator_timing timing, conditions* met)
    : chance_(seed),
      timing_(timing),
      met_(met ? met : &nothing_special_),
      ordered_(met != nullptr),
      disk_(make_pool("cloud disk")),
      artifacts_(open_store(folder_.path() / "cloud")) {
  if (ordered_) {
    auto made = std::make_unique<ledger_device>();
    ledger_device_ = made.get();
    devices_.push_back(std::move(made));
  }
  runtime::system_options options;
  options.announce = wire_types::announce;
  options.configure = [this](caf::actor_system_config& config) {
    config.module_factories.emplace_back([this](caf::actor_system& in) {
      scheduler_ = new open_scheduler(in);
      return scheduler_;
    });
  };
  system_ = std::make_unique<virtual_system>(seed, std::move(options));
  start_coordinator();
}

world::~world() {
  met_ = &nothing_special_;
  for (auto& [name, node] : nodes_) {
    if (node->gate) let_work(*node);
    node->training_gate = nullptr;
    node->answering_gate = nullptr;
  }
  for (auto& [name, node] : nodes_) stop_node(*node);
  stop_coordinator();
  settle();
  ledger_->close();
  devices_.clear();
}

std::shared_ptr<runtime::worker_pool> world::make_pool(std::string name) {
  auto pool = std::make_shared<runtime::worker_pool>(
      runtime::worker_pool::options{1, 1024, name.substr(name.find(' ') + 1)});
  if (ordered_) devices_.push_back(std::make_unique<pool_device>(std::move(name), pool));
  return pool;
}

node_process& world::add_node(const std::string& name) {
  auto& node = nodes_[name];
  node = std::make_unique<node_process>();
  node->name = name;
  const auto folder = folder_.path() / name;
  std::filesystem::create_directories(folder);
  auto& services = node->services;
  services.jobs = std::make_shared<spool>(spool::open(folder / "spool").value());
  services.models = model_store::open(folder / "models").value();
  services.artifacts = open_store(folder / "artifacts");
  services.cache = std::make_shared<model_cache>(*services.models, 1u << 30);
  services.compute = std::make_shared<kernels::thread_pool>(1);
  services.disk = make_pool(name + " disk");
  services.training = make_pool(name + " training");
  services.answering = make_pool(name + " answering");
  services.preparing = make_pool(name + " preparing");
  services.seed = chance_();
  services.connect = [this, at = node.get()](auto exported, auto done, auto closed) {
    connect(*at, std::move(exported), std::move(done), std::move(closed));
  };
  start_node(*node);
  return *node;
}

void world::start_node(node_process& node) {
  node.actor = system_->spawn<actors::node>(node.services, node.services.jobs->load().value());
  settle();
}

void world::stop_node(node_process& node, bool unheard) {
  if (!node.actor) return;
  node.closed = nullptr;
  cut(node, 0ms, unheard);
  system_->kill(node.actor);
  node.actor = nullptr;
  settle();
}

void world::start_coordinator() {
  ledger_ = ledger::sqlite_ledger::open(
                folder_.path() / "ledger.db", ledger_options_, system_->base_clock())
                .value();
  coordinator_services services;
  services.jobs = ledger_;
  if (ordered_)
    services.jobs = ledger_device_->at = std::make_shared<ledger::ordered_ledger>(
        ledger_, [this](const auto&... edge) { met_->moved(edge...); },
        [this] { return met_->ledger_is_full(); });
  services.artifacts = artifacts_;
  services.disk = disk_;
  services.clock = &system_->base_clock();
  services.timing = timing_;
  coordinator_ = system_->spawn<coordinator>(std::move(services));
  settle();
}

void world::stop_coordinator(bool unheard) {
  if (ordered_) {
    while (ledger_device_->has_work() && chance_.below(4) != 0) ledger_device_->work();
    ledger_device_->at->drop_all();
  }
  system_->kill(coordinator_);
  coordinator_ = nullptr;
  for (auto& [name, node] : nodes_) cut(*node, 0ms, unheard);
  for (auto& [epoch, door] : std::exchange(doors_, {})) system_->kill(door);
  settle();
  ledger_->close();
}

void world::connect(
    node_process& node, caf::strong_actor_ptr exported,
    std::function<void(base::result<session>)> done, std::function<void(std::string)> closed) {
  if (!coordinator_ || system_->elapsed() < node.no_link_until)
    return done(error{errc::unavailable, "no route"});
  if (node.link) cut(node, 0ms);  // half open: the node knew of the end first
  door_services services;
  services.node = node.name;
  services.epoch = ++epochs_;
  services.coordinator = coordinator_;
  services.jobs = ledger_;
  services.artifacts = artifacts_;
  services.disk = disk_;
  if (ordered_) services.jobs = ledger_device_->at;
  const auto door = system_->spawn<actors::door>(std::move(services));
  const auto link = system_->spawn<wire>(
      *this, node.name, caf::actor_cast<node_door>(exported), caf::actor_cast<cloud_door>(door));
  node.link = caf::actor_cast<caf::actor>(link);
  doors_[epochs_] = caf::actor_cast<caf::actor>(door);
  node.epoch = epochs_;
  node.closed = std::move(closed);
  session fresh;
  fresh.epoch = epochs_;
  fresh.door = caf::actor_cast<cloud_door>(link);
  fresh.account = [] { return link_account{}; };
  fresh.close = [this, at = &node, epoch = epochs_](std::string) {
    if (at->epoch == epoch && at->link) cut(*at, 0ms);
  };
  done(std::move(fresh));
}

void world::cut(node_process& node, milliseconds away, bool uneven) {
  node.no_link_until = std::max(node.no_link_until, system_->elapsed() + away);
  if (!node.link) return;
  const auto some = [&] { return milliseconds{uneven ? chance_.below(90'000) : 0}; };
  const auto cloud_learns = some(), node_learns = some();
  const auto link = std::exchange(node.link, nullptr);
  static_cast<wire*>(caf::actor_cast<caf::abstract_actor*>(link))
      ->cut(now() + cloud_learns, now() + node_learns);
  later(std::max(cloud_learns, node_learns), [this, link] { system_->kill(link); });
  departure gone;
  gone.node = node.name;
  gone.epoch = node.epoch;
  gone.why = "the test cut it";
  later(cloud_learns, [this, to = coordinator_, gone] {
    if (const auto door = doors_.find(gone.epoch); door != doors_.end()) {
      system_->kill(door->second);
      doors_.erase(door);
    }
    if (to) caf::anon_send(to, gone);
  });
  later(node_learns, [closed = std::exchange(node.closed, nullptr)] {
    if (closed) closed("the test cut it");
  });
}

namespace {

// Acts once, after some virtual time. A class, since CAF's spawn of a function without arguments
// binds a null reference, which UBSan reports.
class delayed_action final : public caf::event_based_actor {
 public:
  delayed_action(caf::actor_config& config, milliseconds by, std::function<void()> action)
      : event_based_actor(config), by_(by), action_(std::move(action)) {}
  caf::behavior make_behavior() override {
    delayed_send(this, by_, caf::ok_atom::value);
    return {[this](caf::ok_atom) {
      action_();
      quit();
    }};
  }

 private:
  milliseconds by_;
  std::function<void()> action_;
};

}  // namespace

void world::later(milliseconds by, std::function<void()> action) {
  if (by == 0ms) return action();
  system_->spawn<delayed_action>(by, std::move(action));
}

void world::hold_work(node_process& node) {
  node.gate = std::make_shared<std::promise<void>>();
  auto opened = std::make_shared<std::future<void>>(node.gate->get_future());
  REQUIRE(node.services.training->submit([opened] { opened->wait(); }));
}

void world::tell_progress(node_process& node, const std::string& id, double seconds_left) {
  const auto held = job(id);
  actors::progress step;
  step.job = {held.id, held.attempt, held.fence};
  step.seconds_left = seconds_left;
  caf::anon_send(node.actor, step);
  settle();
}

void world::watch(
    const std::string& id, bool watching, std::shared_ptr<gateway::progress_sink> sink) {
  if (!watching) {
    unwatch_job order;
    order.watcher = 7;
    return caf::anon_send(coordinator_, order);
  }
  watch_job order;
  order.owner = "me", order.id = id, order.watcher = 7, order.sink = std::move(sink);
  caf::anon_send(coordinator_, std::move(order));
}

void world::let_work(node_process& node) {
  node.gate->set_value();
  node.gate = nullptr;
}

void world::cut_at(std::string name, milliseconds away, int nth) {
  cut_name_ = std::move(name);
  cut_nth_ = nth;
  cut_away_ = away;
}

void world::cut_at_random(double probability, int cuts_max) {
  cut_probability_ = probability;
  cuts_left_ = cuts_max;
}

std::chrono::microseconds world::now() {
  return std::chrono::duration_cast<std::chrono::microseconds>(system_->now());
}

void world::passes(const std::string& name, const std::string& message) {
  auto& node = *nodes_.at(name);
  ++passed_[message];
  if (message == cut_name_ && --cut_nth_ == 0) {
    cut_name_.clear();
    return cut(node, cut_away_);
  }
  if (cuts_left_ > 0 && chance_.uniform() < cut_probability_) {
    --cuts_left_;
    // Mostly short; sometimes longer than the grace period.
    cut(node, milliseconds{chance_.below(chance_.below(4) == 0 ? 1'500'000 : 20'000)}, true);
  }
}

// --- jobs

std::string world::submit(
    const std::vector<std::string>& contents, int rounds, const std::string& id) {
  boost::json::array inputs;
  ledger::new_job order;
  for (const auto& content : contents) {
    const artifact_ref one{
        "input-" + std::to_string(inputs.size()), base::sha256_hex(content), content.size()};
    auto writer = artifacts_->begin(ledger::expectation{one.bytes, one.sha256});
    if (writer) {
      REQUIRE(writer->append(std::as_bytes(std::span{content})));
      REQUIRE(writer->seal());
    } else {
      REQUIRE(writer.error().code == errc::already_exists);
    }
    inputs.push_back(to_json(one));
    order.inputs.push_back(one.sha256);
  }
  order.id = id;
  order.owner = "me";
  order.kind = "checksum";
  order.spec_json = boost::json::serialize(
      boost::json::object{{"inputs", inputs}, {"extra", boost::json::object{{"rounds", rounds}}}});
  auto made = ledger::wait_for<ledger::submission>(
      [&](auto done) { ledger_->submit(order, std::move(done)); });
  REQUIRE(made);
  if (coordinator_) caf::anon_send(coordinator_, wake{});
  return made->job.id;
}

ledger::job world::job(const std::string& id) {
  return ledger::wait_for<ledger::job>(
             [&](auto done) { ledger_->find_job(ledger::any_owner, id, std::move(done)); })
      .value();
}

std::vector<ledger::event> world::events(const std::string& id) {
  return ledger::wait_for<ledger::page<ledger::event>>([&](auto done) {
           ledger_->events(
               ledger::any_owner, id, 0, 100, ledger::order::oldest_first, std::move(done));
         })
      .value()
      .items;
}

int world::count_events(const std::string& id, std::string_view text) {
  int n = 0;
  for (const auto& one : events(id)) n += one.message.find(text) != one.message.npos;
  return n;
}

std::string world::picked_up_sum(const std::string& id) {
  auto value = parse_json(job(id).manifest_json);
  auto listed = value ? manifest_from(*value) : base::result<manifest>{value.error()};
  if (!listed) return {};
  for (const auto& one : listed->artifacts) {
    auto path = artifacts_->path_of(one.sha256);
    if (one.name != "checksum.json" || !path || !artifacts_->verify(one.sha256)) continue;
    auto told = parse_json(base::read_file(*path).value()).value();
    return std::string{told.at("sha256").as_string().c_str()};
  }
  return {};
}

base::result<ledger::job> world::cancel(const std::string& id) {
  auto answer = std::make_shared<std::optional<base::result<ledger::job>>>();
  cancel_job order;
  order.owner = "me";
  order.id = id;
  system_->outside().ask(coordinator_, 10min, order, [answer](auto r) { answer->emplace(r); });
  until([&] { return answer->has_value(); });
  REQUIRE(answer->has_value());
  return **answer;
}

base::result<ledger::job> world::release(const std::string& id) {
  auto answer = std::make_shared<std::optional<base::result<ledger::job>>>();
  release_job order;
  order.owner = "me";
  order.id = id;
  system_->outside().ask(coordinator_, 10min, order, [answer](auto r) { answer->emplace(r); });
  until([&] { return answer->has_value(); });
  REQUIRE(answer->has_value());
  return **answer;
}

std::vector<ledger::outbox_row> world::webhooks() {
  auto due = ledger::wait_for<std::vector<ledger::outbox_row>>([&](auto done) {
    ledger_->claim_due(
        system_->base_clock().wall().count(), hold_for_good / 1ms, 1000, std::move(done));
  });
  for (auto& row : due.value()) webhooks_.push_back(std::move(row));
  return webhooks_;
}

// --- time

// Everything that was under way on a foreign thread has been done and has woken its actor.
void world::flush() {
  if (coordinator_)
    (void)ledger::wait_for<std::optional<std::string>>(
        [&](auto done) { ledger_->get_setting("none", std::move(done)); });
  wait_for(*disk_);
  for (auto& [name, node] : nodes_) {
    wait_for(*node->services.disk);
    if (!node->gate && !node->training_gate) wait_for(*node->services.training);
    wait_for(*node->services.preparing);
    if (!node->answering_gate) wait_for(*node->services.answering);
  }
}

void world::settle_in_order() {
  for (;;) {
    do system_->run();
    while (scheduler_->let_in());
    std::vector<device*> ready;
    for (const auto& one : devices_) {
      if (!one->has_work()) continue;
      if (!one->not_before) {
        const auto pause = met_->stalls(one->name);
        one->not_before = now() + pause;
        if (pause > 0ms) later(pause, [] {});  // a moment at which time stops for us
      }
      if (*one->not_before <= now() || met_ == &nothing_special_) ready.push_back(one.get());
    }
    if (ready.empty()) return;
    auto& next = *ready[chance_.below(ready.size())];
    next.not_before.reset();
    next.work();
  }
}

void world::settle() {
  if (ordered_) return settle_in_order();
  do {
    do system_->run();
    while (scheduler_->let_in());
    flush();
  } while (scheduler_->let_in());
}

bool world::until(std::function<bool()> condition, milliseconds limit) {
  return system_->run_until(
      [&] {
        settle();
        return condition();
      },
      limit);
}

void world::advance(milliseconds by) {
  const auto end = system_->elapsed() + by;
  until([&] { return system_->elapsed() >= end; }, by);
  // run_until stops at the last timer before the end.
  if (system_->elapsed() < end) system_->advance(end - system_->elapsed());
  settle();
}

// --- expectations

void fetched_once(world& w, const std::string& id, const std::vector<std::string>& contents) {
  std::string all;
  for (const auto& one : contents) all += one;
  const auto job = w.job(id);
  CAPTURE(id, ledger::name(job.state), job.error_message, w.system().seed());
  CHECK(job.state == ledger::job_state::fetched);
  CHECK(w.picked_up_sum(id) == base::sha256_hex(all));
  CHECK(w.count_events(id, "ready on the node") == 1);
  CHECK(w.count_events(id, "the result was picked up") == 1);
  int told = 0;
  for (const auto& row : w.webhooks()) told += row.job == id && row.type == "dlls.job.succeeded";
  CHECK(told == 1);
}

bool until_state(world& w, const std::string& id, ledger::job_state state) {
  return w.until([&] { return w.state(id) == state; }, 24h);
}

}  // namespace dlls::tests
