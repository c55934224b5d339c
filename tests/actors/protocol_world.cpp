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

// --- the wire

namespace {

template <class Message>
std::string short_name() {
  const std::string whole{runtime::wire_name<Message>()};
  return whole.substr(whole.rfind(':') + 1);
}
// Longer than any test.
constexpr auto ever = std::chrono::hours{24 * 365};

}  // namespace

wire::wire(caf::actor_config& config, world& in, std::string node, node_door at, cloud_door door)
    : co_actor(config),
      world_(in),
      node_(std::move(node)),
      at_(std::move(at)),
      door_(std::move(door)) {}

wire::behavior_type wire::make_behavior() {
  return {
      serve(&wire::to_cloud<welcome, hello>),    serve(&wire::from_cloud<chunk, fetch_input>),
      serve(&wire::to_cloud<noted, ready>),      serve(&wire::to_cloud<noted, failed>),
      serve(&wire::tell_cloud<models_changed>),  serve(&wire::tell_cloud<progress>),
      serve(&wire::to_node<received, offer>),    serve(&wire::from_node<chunk, pull>),
      serve(&wire::to_node<released, release>),  serve(&wire::to_node<cancelled, cancel>),
      serve(&wire::to_node<job_status, status>), serve(&wire::tell_node<watch>),
      serve(&wire::from_node<piece, generate>),
  };
}

void wire::on_exit() {
  at_ = nullptr;
  door_ = nullptr;
}

// Returns when the message may pass; a cut link lets nothing through until it is gone.
runtime::task<> wire::pass(std::string name) {
  if (!cut_ && !world_.is_lost(name) && world_.passes(node_, name)) cut_ = true;
  if (cut_ || world_.is_lost(name)) co_await runtime::sleep(this, ever);
}

template <class Answer, class Message>
runtime::task<Answer> wire::to_cloud(Message message) {
  const auto name = short_name<Message>();
  co_await pass(name);
  auto answer = co_await runtime::try_ask(this, door_, ever, std::move(message));
  co_await pass(name + " answered");
  if (!answer) throw base::failure(answer.error());
  co_return std::move(*answer);
}

template <class Answer, class Message>
runtime::task<Answer> wire::to_node(Message message) {
  const auto name = short_name<Message>();
  co_await pass(name);
  auto answer = co_await runtime::try_ask(this, at_, ever, std::move(message));
  co_await pass(name + " answered");
  if (!answer) throw base::failure(answer.error());
  co_return std::move(*answer);
}

// A stream passes part by part, each as an answer.
template <class Value, class Message>
runtime::stream<Value> wire::from_cloud(Message message) {
  const auto name = short_name<Message>();
  co_await pass(name);
  auto parts = runtime::subscribe(this, door_, ever, std::move(message));
  for (;;) {
    auto next = co_await parts.try_next();
    co_await pass(name + " answered");
    if (!next) throw base::failure(next.error());
    if (!*next) co_return;
    co_yield std::move(**next);
  }
}

template <class Value, class Message>
runtime::stream<Value> wire::from_node(Message message) {
  const auto name = short_name<Message>();
  co_await pass(name);
  auto parts = runtime::subscribe(this, at_, ever, std::move(message));
  for (;;) {
    auto next = co_await parts.try_next();
    co_await pass(name + " answered");
    if (!next) throw base::failure(next.error());
    if (!*next) co_return;
    if constexpr (std::is_same_v<Value, chunk>)
      if (world_.damages_chunk()) (*next)->bytes[0] ^= 1;
    co_yield std::move(**next);
  }
}

template <class Message>
runtime::task<> wire::tell_cloud(Message message) {
  co_await pass(short_name<Message>());
  send(door_, std::move(message));
}

template <class Message>
runtime::task<> wire::tell_node(Message message) {
  co_await pass(short_name<Message>());
  send(at_, std::move(message));
}

// --- the world

namespace {

std::shared_ptr<runtime::worker_pool> one_thread(std::string name) {
  return std::make_shared<runtime::worker_pool>(
      runtime::worker_pool::options{1, 1024, std::move(name)});
}

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

world::world(std::uint64_t seed, coordinator_timing timing)
    : chance_(seed),
      timing_(timing),
      disk_(one_thread("cloud disk")),
      artifacts_(open_store(folder_.path() / "cloud")) {
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
  for (auto& [name, node] : nodes_) {
    if (node->gate) let_work(*node);
    node->training_gate = nullptr;
    node->answering_gate = nullptr;
  }
  for (auto& [name, node] : nodes_) stop_node(*node);
  stop_coordinator();
  settle();
  ledger_->close();
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
  services.disk = one_thread("disk");
  services.training = one_thread("training");
  services.answering = one_thread("answering");
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

void world::stop_node(node_process& node) {
  if (!node.actor) return;
  cut(node, 0ms);
  node.closed = nullptr;
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
  services.artifacts = artifacts_;
  services.disk = disk_;
  services.clock = &system_->base_clock();
  services.timing = timing_;
  coordinator_ = system_->spawn<coordinator>(std::move(services));
  settle();
}

void world::stop_coordinator() {
  system_->kill(coordinator_);
  coordinator_ = nullptr;
  for (auto& [name, node] : nodes_) cut(*node, 0ms);
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
  const auto door = system_->spawn<actors::door>(std::move(services));
  const auto link = system_->spawn<wire>(
      *this, node.name, caf::actor_cast<node_door>(exported), caf::actor_cast<cloud_door>(door));
  node.link = caf::actor_cast<caf::actor>(link);
  node.door = caf::actor_cast<caf::actor>(door);
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
  system_->kill(node.link);
  system_->kill(node.door);
  node.link = node.door = nullptr;
  departure gone;
  gone.node = node.name;
  gone.epoch = node.epoch;
  gone.why = "the test cut it";
  auto tell_cloud = [to = coordinator_, gone] {
    if (to) caf::anon_send(to, gone);
  };
  auto tell_node = [closed = std::exchange(node.closed, nullptr)] {
    if (closed) closed("the test cut it");
  };
  auto some = [&] { return milliseconds{uneven ? chance_.below(90'000) : 0}; };
  later(some(), tell_cloud);
  later(some(), tell_node);
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
  system_->actors().spawn<delayed_action>(by, std::move(action));
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

bool world::passes(const std::string& name, const std::string& message) {
  auto& node = *nodes_.at(name);
  ++passed_[message];
  if (message == cut_name_ && --cut_nth_ == 0) {
    cut_name_.clear();
    cut(node, cut_away_);
    return true;
  }
  if (cuts_left_ > 0 && chance_.uniform() < cut_probability_) {
    --cuts_left_;
    // Mostly short; sometimes longer than the grace period.
    cut(node, milliseconds{chance_.below(chance_.below(4) == 0 ? 1'500'000 : 20'000)}, true);
    return true;
  }
  return false;
}

// --- jobs

std::string world::submit(const std::vector<std::string>& contents, int rounds) {
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
    ledger_->claim_due(system_->base_clock().wall().count(), ever / 1ms, 1000, std::move(done));
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
    if (!node->answering_gate) wait_for(*node->services.answering);
  }
}

void world::settle() {
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
