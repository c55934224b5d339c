#include "actors/home.hpp"

#include <algorithm>
#include <caf/all.hpp>
#include <thread>

#include "actors/message_types.hpp"
#include "actors/node.hpp"
#include "actors/root_actor.hpp"
#include "base/file.hpp"
#include "base/log.hpp"
#include "base/machine.hpp"
#include "base/random.hpp"
#include "runtime/inspect_server.hpp"
#include "runtime/link/endpoint.hpp"
#include "runtime/system.hpp"

namespace dlls::actors {
namespace fs = std::filesystem;
namespace link = runtime::link;
using base::errc;
using base::error;
using base::result;

namespace {

fs::path credentials_folder(const home_options& options) { return options.state / "credentials"; }

link::credentials credentials_of(const home_options& options) {
  const auto own = credentials_folder(options) / (options.name + ".pem");
  return {own, own, credentials_folder(options) / "ca.pem"};
}

link_account account_of(const link::connection& at) {
  const auto traffic = at.traffic();
  return {traffic.bytes_in + traffic.bytes_out, traffic.packets_in + traffic.packets_out};
}

}  // namespace

// In the order of construction; destroyed the other way round, actors before what they use.
struct home::parts {
  home_options options;
  base::unique_fd lock;  // two processes on one spool would undo each other's work
  node_services services;
  std::vector<spool_entry> held;
  std::unique_ptr<runtime::system_host> host;
  std::unique_ptr<runtime::inspect_server> inspection;  // null: it could not be opened
  std::unique_ptr<link::endpoint> endpoint;
  node_actor node;

  result<> open_stores();
  void start_node();
  void connect(
      caf::strong_actor_ptr exported, std::function<void(result<session>)> done,
      std::function<void(std::string)> closed);

  ~parts() {
    inspection.reset();
    if (host && node) {
      caf::scoped_actor self{host->actors()};
      self->send_exit(node, caf::exit_reason::user_shutdown);
      self->wait_for(node);
    }
    node = nullptr;
    endpoint.reset();
    host.reset();
  }
};

result<> home::parts::open_stores() {
  // A node removes artifacts that its jobs do not name; a coordinator's uploads must not be among
  // them.
  if (fs::exists(options.state / "ledger.db"))
    return error{
        errc::failed_precondition, "this folder belongs to a coordinator",
        "give the node a state folder of its own"};
  if (auto made = base::make_folder(options.state); !made) return made;
  auto locked = base::lock_folder(options.state);
  if (!locked) return locked.error();
  lock = std::move(*locked);
  auto jobs = spool::open(options.state / "spool");
  if (!jobs) return jobs.error();
  services.jobs = std::make_shared<spool>(std::move(*jobs));
  auto entries = services.jobs->load();
  if (!entries) return entries.error();
  held = std::move(*entries);
  auto models = model_store::open(options.models);
  if (!models) return models.error();
  services.models = std::move(*models);
  auto artifacts = ledger::artifact_store::open(options.state / "artifacts");
  if (!artifacts) return artifacts.error();
  services.artifacts = std::make_shared<ledger::artifact_store>(std::move(*artifacts));
  constexpr unsigned threads_max = 1024;
  if (options.threads > threads_max)
    return error{errc::invalid_argument, fmt::format("at most {} threads", threads_max)};
  const auto threads =
      options.threads ? options.threads : std::max(1u, std::thread::hardware_concurrency());
  services.compute = std::make_shared<kernels::thread_pool>(threads);
  services.cache = std::make_shared<model_cache>(
      *services.models,
      options.model_bytes_max ? options.model_bytes_max : base::memory_bytes() / 4 * 3,
      services.compute);
  using pool_options = runtime::worker_pool::options;
  services.disk = std::make_shared<runtime::worker_pool>(pool_options{1, 1024, "disk"});
  services.training = std::make_shared<runtime::worker_pool>(pool_options{1, 64, "training"});
  services.answering = std::make_shared<runtime::worker_pool>(pool_options{1, 64, "answering"});
  // Two: while one loads a model, the other encodes for those that are loaded.
  services.preparing = std::make_shared<runtime::worker_pool>(pool_options{2, 256, "preparing"});
  if (options.cache_type != "f16" && options.cache_type != "q8_0")
    return error{
        errc::invalid_argument,
        fmt::format("cache_type is f16 or q8_0, not '{}'", options.cache_type)};
  services.answers.limits.cache_bytes = options.cache_bytes;
  services.answers.limits.cache_type =
      options.cache_type == "q8_0" ? kernels::element::q8_0 : kernels::element::f16;
  services.answers.draft = options.draft;
  if (!options.draft.empty())
    if (const auto found = services.models->find(options.draft); !found)
      base::log_warning("node", "the draft model: {}", found.error().text());
  services.seed = options.seed ? options.seed : base::secure_random_u64();
  return {};
}

void home::parts::connect(
    caf::strong_actor_ptr exported, std::function<void(result<session>)> done,
    std::function<void(std::string)> closed) {
  link::dial_request request;
  request.host = options.coordinator_host;
  request.port = options.coordinator_port;
  request.own = credentials_of(options);
  request.want_role = "coordinator";
  request.exported = std::move(exported);
  request.expected_interface = host->actors().message_types(cloud_door{});
  endpoint->dial(
      std::move(request),
      [done = std::move(done)](result<link::linked> made) {
        if (!made) return done(made.error());
        session fresh;
        auto at = made->link;
        fresh.epoch = at->epoch();
        fresh.door = caf::actor_cast<cloud_door>(made->remote_door);
        fresh.account = [at] { return account_of(*at); };
        fresh.close = [at](std::string why) { at->close(std::move(why)); };
        done(std::move(fresh));
      },
      std::move(closed));
}

void home::parts::start_node() {
  runtime::system_options system;
  system.network = true;
  system.announce = wire_types::announce;
  host = runtime::make_system(system);
  inspection = open_inspection(host->actors(), options.state);
  endpoint = std::make_unique<link::endpoint>(host->actors(), link_options());
  services.connect = [this](auto exported, auto done, auto closed) {
    connect(std::move(exported), std::move(done), std::move(closed));
  };
  node = host->actors().spawn<actors::node>(services, std::move(held));
  end_process_with(caf::actor_cast<caf::actor>(node), "node actor");
}

bool has_joined(const home_options& options) {
  const auto own = credentials_of(options);
  return fs::exists(own.certificate) && fs::exists(own.ca);
}

result<> join(const home_options& options, const std::string& token_text) {
  auto token = link::join_token::parse(token_text);
  if (!token) return token.error();
  const auto folder = credentials_folder(options);
  if (auto made = base::make_folder(folder); !made) return made;
  auto joined =
      link::join(options.coordinator_host, options.coordinator_port, *token, folder, options.name);
  if (!joined) return joined.error();
  return {};
}

result<std::unique_ptr<home>> home::start(home_options options) {
  if (!has_joined(options))
    return error{
        errc::failed_precondition, "this node has not joined a coordinator yet",
        "run `dlls enroll` on the coordinator and give the token to `dlls node --join`"};
  auto made = std::make_unique<parts>();
  made->options = std::move(options);
  if (auto opened = made->open_stores(); !opened) return opened.error();
  made->start_node();
  return std::unique_ptr<home>{new home(std::move(made))};
}

home::home(std::unique_ptr<parts> p) : parts_(std::move(p)) {}
home::~home() = default;

}  // namespace dlls::actors
