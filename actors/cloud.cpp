#include "actors/cloud.hpp"

#include <fmt/core.h>

#include <caf/all.hpp>
#include <future>
#include <map>
#include <mutex>

#include "actors/cloud_backend.hpp"
#include "actors/cloud_records.hpp"
#include "actors/door.hpp"
#include "actors/message_types.hpp"
#include "actors/outbox.hpp"
#include "actors/root_actor.hpp"
#include "base/file.hpp"
#include "base/log.hpp"
#include "base/random.hpp"
#include "base/sha256.hpp"
#include "gateway/webhook.hpp"
#include "ledger/sqlite_ledger.hpp"
#include "runtime/inspect_server.hpp"
#include "runtime/link/endpoint.hpp"
#include "runtime/system.hpp"

namespace dlls::actors {
namespace link = runtime::link;
using base::errc;
using base::error;
using base::result;

namespace {

constexpr const char* owner_of_keys = "owner";

// One operation of the ledger, waited for; only while starting and from the command line.
template <class T>
result<T> wait_for(const std::function<void(ledger::reply<T>)>& operation) {
  std::promise<result<T>> promise;
  operation([&](result<T> answer) { promise.set_value(std::move(answer)); });
  return promise.get_future().get();
}

// Which certificate each name has. The link asks on its own thread, so the ledger's answer is kept
// here.
class node_registry {
 public:
  void set(const std::string& name, const std::string& fingerprint) {
    std::lock_guard lock{mutex_};
    known_[name] = fingerprint;
  }
  void remove(const std::string& name) {
    std::lock_guard lock{mutex_};
    known_.erase(name);
  }
  bool welcome(const std::string& name, const std::string& fingerprint) const {
    std::lock_guard lock{mutex_};
    const auto found = known_.find(name);
    return found != known_.end() && base::equal_constant_time(found->second, fingerprint);
  }

 private:
  mutable std::mutex mutex_;
  std::map<std::string, std::string> known_;
};

link_reading read_link(const link::connection& at) {
  const auto traffic = at.traffic();
  return {traffic.bytes_out, traffic.bytes_in, traffic.packets_out, traffic.packets_in};
}

}  // namespace

// In the order of construction; destroyed the other way round.
struct cloud::parts {
  cloud_options options;
  std::shared_ptr<ledger::ledger> jobs;
  std::shared_ptr<ledger::artifact_store> artifacts;
  std::shared_ptr<link::authority> authority;
  std::shared_ptr<runtime::worker_pool> disk, network;
  node_registry nodes;
  std::unique_ptr<runtime::system_host> host;
  std::unique_ptr<runtime::inspect_server> inspection;  // null: it could not be opened
  std::shared_ptr<runtime::outside> outside;
  coordinator_actor coordinator;
  outbox_actor outbox;
  std::shared_ptr<cloud_backend> backend;
  std::unique_ptr<link::endpoint> endpoint;
  std::mutex links_mutex;
  std::map<std::string, std::weak_ptr<link::connection>> links;
  std::uint16_t port = 0;

  result<> open_stores();
  result<> make_key();
  result<> load_nodes();
  void spawn_actors();
  result<> listen();
  link::acceptor_events events();
  link::enrolment enrolment();

  ~parts() {
    inspection.reset();
    endpoint.reset();  // first: no door may speak to a coordinator that is gone
    if (host) {
      caf::scoped_actor self{host->actors()};
      for (const auto& actor :
           {caf::actor_cast<caf::actor>(coordinator), caf::actor_cast<caf::actor>(outbox)})
        if (actor) self->send_exit(actor, caf::exit_reason::user_shutdown);
    }
    coordinator = nullptr;
    outbox = nullptr;
    backend.reset();
    outside.reset();
    host.reset();
    if (jobs) jobs->close();
  }
};

result<> cloud::parts::open_stores() {
  const auto& state = options.state;
  if (auto made = base::make_folder(state); !made) return made;
  if (std::filesystem::exists(state / "authority") && !std::filesystem::exists(state / "ledger.db"))
    return error{
        errc::corrupt, fmt::format("{} has an authority and no ledger.db", state.string()),
        "restore ledger.db from the last backup; to begin anew, move the whole folder away"};
  auto opened = ledger::sqlite_ledger::open(state / "ledger.db", {}, base::system_clock());
  if (!opened) return opened.error();
  jobs = std::move(*opened);
  auto store = ledger::artifact_store::open(state / "artifacts");
  if (!store) return store.error();
  artifacts = std::make_shared<ledger::artifact_store>(std::move(*store));
  auto signer = link::authority::open_or_create(state / "authority");
  if (!signer) return signer.error();
  authority = *signer;
  using pool_options = runtime::worker_pool::options;
  disk = std::make_shared<runtime::worker_pool>(pool_options{1, 1024, "disk"});
  network = std::make_shared<runtime::worker_pool>(pool_options{1, 64, "webhook"});
  return {};
}

result<> cloud::parts::make_key() {
  auto keys = wait_for<std::vector<ledger::api_key>>(
      [this](auto done) { jobs->list_api_keys(std::move(done)); });
  if (!keys) return keys.error();
  if (!keys->empty() && !options.make_key) return {};
  const auto key = new_api_key();
  // Shown before it opens anything: a key that is stored and was never shown locks its owner out.
  if (auto shown = options.show_key(key); !shown) return shown;
  auto added = wait_for<ledger::api_key>([&](auto done) {
    const auto* name = keys->empty() ? "first" : "made at a start";
    jobs->add_api_key({base::sha256_hex(key), name, owner_of_keys}, std::move(done));
  });
  if (!added) return added.error();
  return {};
}

result<> cloud::parts::load_nodes() {
  auto known =
      wait_for<std::vector<ledger::node>>([this](auto done) { jobs->list_nodes(std::move(done)); });
  if (!known) return known.error();
  for (const auto& node : *known)
    if (!node.revoked_ms) nodes.set(node.name, node.fingerprint);
  return {};
}

void cloud::parts::spawn_actors() {
  runtime::system_options system;
  system.workers = options.workers;
  system.network = true;
  system.announce = wire_types::announce;
  host = runtime::make_system(system);
  auto& actors = host->actors();
  inspection = open_inspection(actors, options.state);
  outbox_services sending;
  sending.jobs = jobs;
  sending.network = network;
  sending.seed = base::secure_random_u64();
  sending.deliver = [](const auto& target, const auto& message, std::int64_t now_s) {
    return gateway::send_webhook(target, message, now_s);
  };
  outbox = actors.spawn<actors::outbox>(std::move(sending));
  coordinator_services services;
  services.jobs = jobs;
  services.artifacts = artifacts;
  services.disk = disk;
  services.timing = options.timing;
  services.outbox_written = [to = outbox] { caf::anon_send(to, wake{}); };
  coordinator = actors.spawn<actors::coordinator>(std::move(services));
  end_process_with(caf::actor_cast<caf::actor>(outbox), "webhook sender");
  end_process_with(caf::actor_cast<caf::actor>(coordinator), "coordinator actor");
  outside = std::make_shared<runtime::outside>(actors);
  backend_services serving;
  serving.jobs = jobs;
  serving.artifacts = artifacts;
  serving.disk = disk;
  serving.actors = outside;
  serving.coordinator = coordinator;
  serving.version = DLLS_VERSION;
  serving.make_token = [signer = authority](std::string& secret_hash) {
    const auto token = link::join_token::make(*signer);
    secret_hash = token.secret_hash();
    return token.text();
  };
  serving.node_revoked = [this](const std::string& name) {
    nodes.remove(name);
    std::lock_guard lock{links_mutex};
    if (auto open = links[name].lock()) open->close("the node was revoked");
  };
  backend = std::make_shared<cloud_backend>(std::move(serving));
}

link::acceptor_events cloud::parts::events() {
  link::acceptor_events events;
  events.make_door = [this](link::connection_ptr at) {
    door_services services;
    services.node = at->peer().name;
    services.epoch = at->epoch();
    services.account = [at] { return read_link(*at); };
    services.coordinator = coordinator;
    services.jobs = jobs;
    services.artifacts = artifacts;
    services.disk = disk;
    {
      std::lock_guard lock{links_mutex};
      links[services.node] = at;
    }
    return caf::actor_cast<caf::strong_actor_ptr>(
        host->actors().spawn<actors::door>(std::move(services)));
  };
  events.closed = [this](link::connection_ptr at, std::string reason) {
    departure gone;
    gone.node = at->peer().name;
    gone.epoch = at->epoch();
    gone.why = std::move(reason);
    caf::anon_send(coordinator, std::move(gone));
  };
  events.refused = [](std::string reason) { base::log_warning("link", "refused: {}", reason); };
  events.revoked = [this](const link::peer_identity& who, const std::string& fingerprint) {
    return !nodes.welcome(who.name, fingerprint);
  };
  return events;
}

link::enrolment cloud::parts::enrolment() {
  link::enrolment joining;
  joining.signer = authority;
  joining.redeem = [this](std::string hash, std::string name, std::string fingerprint, auto done) {
    jobs->redeem_token(
        {hash, name, fingerprint}, [this, done = std::move(done)](result<ledger::node> joined) {
          if (!joined) return done(joined.error());
          nodes.set(joined->name, joined->fingerprint);
          base::log_info("link", "node {} has joined", joined->name);
          done(result<>{});
        });
  };
  return joining;
}

result<> cloud::parts::listen() {
  auto own = authority->coordinator(options.name);
  if (!own) return own.error();
  endpoint = std::make_unique<link::endpoint>(host->actors(), link_options());
  auto bound = endpoint->listen(
      options.link_address, options.link_port, *own, "node", events(), enrolment());
  if (!bound) return bound.error();
  port = *bound;
  return {};
}

result<std::unique_ptr<cloud>> cloud::start(cloud_options options) {
  auto made = std::make_unique<parts>();
  made->options = std::move(options);
  auto done = made->open_stores();
  if (done) done = made->load_nodes();
  if (!done) return done.error();
  made->spawn_actors();
  done = made->listen();
  if (done) done = made->make_key();
  if (!done) return done.error();
  return std::unique_ptr<cloud>{new cloud(std::move(made))};
}

cloud::cloud(std::unique_ptr<parts> p) : parts_(std::move(p)) {}
cloud::~cloud() = default;

std::shared_ptr<gateway::backend> cloud::backend() { return parts_->backend; }
std::uint16_t cloud::link_port() const noexcept { return parts_->port; }

result<std::string> cloud::make_join_token(const std::string& node, std::int64_t ttl_s) {
  const auto token = link::join_token::make(*parts_->authority);
  const auto expires_ms = base::system_clock().wall().count() + ttl_s * 1000;
  auto added = wait_for<bool>([&](auto done) {
    parts_->jobs->add_token(token.secret_hash(), expires_ms, node, std::move(done));
  });
  if (!added) return added.error();
  return token.text();
}

}  // namespace dlls::actors
