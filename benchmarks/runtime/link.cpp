// The question: what does our TLS link cost, against CAF's own plain TCP?
//
//   bench_link [asks one by one] [asks 1000 at a time] [rounds]
//
// Two processes of this program on loopback, the same coroutine actors and the same messages on
// both sides: over our link (mutual TLS 1.3, the gate), and over CAF's middleman (publish and
// remote_actor, no encryption, no checks). Rounds alternate, each in fresh processes and systems.
// One by one: the median of each round's latencies; 1000 at a time: the throughput. Medians of
// those over the rounds.
//
// CAF at its best: TCP_NODELAY, which it sets by itself, and no extra worker for incoming messages.
// With both of its schedulers, on both sides: the default one, which steals work, answers many at a
// time best but lets an idle worker nap before it looks again; the one that shares work wakes it.
#include <caf/io/middleman.hpp>

#include "base/file.hpp"
#include "base/log.hpp"
#include "benchmarks/runtime/echo.hpp"
#include "benchmarks/runtime/server_process.hpp"
#include "runtime/link/endpoint.hpp"
#include "runtime/link/pki.hpp"
#include "runtime/system.hpp"

namespace {

using namespace dlls::bench;
namespace link = rt::link;
namespace fs = std::filesystem;
constexpr auto loopback = "127.0.0.1";

template <class T>
T need(dlls::base::result<T> r) {
  if (r) return std::move(*r);
  fmt::print(stderr, "bench_link: {}\n", r.error().text());
  std::exit(1);
}

// --- certificates ------------------------------------------------------------------------------

fs::path pem_of(const fs::path& folder, const std::string& role) {
  return folder / (role + ".pem");
}

link::credentials credentials_of(const fs::path& folder, const std::string& role) {
  return {pem_of(folder, role), pem_of(folder, role), folder / "ca" / "ca.pem"};
}

void make_certificates(const fs::path& folder) {
  const auto authority = need(link::authority::create(folder / "ca"));
  for (std::string role : {"coordinator", "node"}) {
    const auto request = link::make_certificate_request();
    const auto pem = need(authority->sign(request.der, {role, "bench"}));
    dlls::base::write_file_durably(pem_of(folder, role), pem + request.key_pem, 0600).value();
  }
}

link::options link_options() {
  link::options o;
  o.rules.allow_interface<echo>();
  return o;
}

std::unique_ptr<rt::system_host> make_host(const std::string& scheduler) {
  return rt::make_system(
      {.workers = 2, .network = true, .configure = [&](caf::actor_system_config& config) {
         config.set("scheduler.policy", caf::atom_from_string(scheduler));
         config.set("middleman.workers", std::size_t{0});
       }});
}

// --- the server --------------------------------------------------------------------------------

void serve_tls(const std::string& scheduler, const fs::path& folder) {
  auto host = make_host(scheduler);
  link::endpoint endpoint{host->actors(), link_options()};
  link::acceptor_events events;
  events.make_door = [&](link::connection_ptr) {
    return caf::actor_cast<caf::strong_actor_ptr>(host->actors().spawn<co_echo>());
  };
  const auto own = credentials_of(folder, "coordinator");
  server_process::tell_port(need(endpoint.listen(loopback, 0, own, "node", std::move(events))));
  server_process::wait_for_the_end();
}

void serve_plain(const std::string& scheduler) {
  auto host = make_host(scheduler);
  auto& network = host->actors().middleman();
  const auto server = host->actors().spawn<co_echo>();
  const auto port = network.publish(server, 0, loopback);
  if (!port) std::abort();
  server_process::tell_port(*port);
  server_process::wait_for_the_end();
  network.unpublish(server, *port);
  caf::anon_send_exit(server, caf::exit_reason::kill);
}

// --- the client --------------------------------------------------------------------------------

struct outcome {
  double latency_us = 0;  // the median of single asks
  double slow_us = 0;     // what one in a hundred passes
  double per_second = 0;
  double bytes_an_ask = 0;  // both directions together
};

class timed_asker : public rt::co_actor<caf::actor> {
 public:
  timed_asker(caf::actor_config& config, echo to, errand* what, std::vector<double>* latencies)
      : co_actor(config), to_(std::move(to)), what_(what), latencies_(latencies) {}
  caf::behavior make_behavior() override {
    for (int i = what_->lanes; i > 0; --i) tasks().spawn(lane());
    return {[](caf::unit_t) {}};
  }

 private:
  rt::task<void> lane() {
    while (what_->next()) {
      const auto began = std::chrono::steady_clock::now();
      co_await rt::ask(this, to_, deadline, 1);
      latencies_->push_back(seconds_since(began) * 1e6);
    }
    what_->lane_ends();
  }
  echo to_;
  errand* what_;
  std::vector<double>* latencies_;
};

// A tenth more, to warm up.
outcome ask_all(caf::actor_system& actors, const echo& to, int count, int lanes) {
  const int warm = count / 10;
  errand what{count + warm, lanes, count};
  auto seconds = what.seconds.get_future();
  std::vector<double> latencies;
  latencies.reserve(static_cast<std::size_t>(count + warm));
  const auto asker = actors.spawn<timed_asker>(to, &what, &latencies);
  outcome result;
  result.per_second = count / seconds.get();
  {
    caf::scoped_actor self{actors};
    self->send_exit(asker, caf::exit_reason::kill);
    self->wait_for(asker);
  }
  latencies.erase(latencies.begin(), latencies.begin() + warm);
  std::sort(latencies.begin(), latencies.end());
  result.latency_us = latencies[latencies.size() / 2];
  result.slow_us = latencies[latencies.size() / 100 * 99];
  return result;
}

// One measurement.
struct setting {
  std::string scheduler;  // "stealing" or "sharing"
  fs::path folder;
  int count;
  int lanes;
};

outcome over_tls(const setting& at) {
  const server_process server{{at.scheduler, at.folder.string()}};
  auto host = make_host(at.scheduler);
  link::endpoint endpoint{host->actors(), link_options()};
  link::dial_request request;
  request.host = loopback;
  request.port = server.port();
  request.own = credentials_of(at.folder, "node");
  request.want_role = "coordinator";
  request.expected_interface = host->actors().message_types<echo>();
  std::promise<dlls::base::result<link::linked>> answer;
  auto dialed = answer.get_future();
  endpoint.dial(
      std::move(request),
      [&](dlls::base::result<link::linked> r) { answer.set_value(std::move(r)); },
      [](const std::string&) {});
  const auto peer = need(dialed.get());
  const auto before = peer.link->traffic();
  auto result =
      ask_all(host->actors(), caf::actor_cast<echo>(peer.remote_door), at.count, at.lanes);
  const auto after = peer.link->traffic();
  const auto bytes = after.bytes_in + after.bytes_out - before.bytes_in - before.bytes_out;
  result.bytes_an_ask = static_cast<double>(bytes) / (at.count + at.count / 10);
  return result;
}

outcome over_plain(const setting& at) {
  const server_process server{{at.scheduler}};
  auto host = make_host(at.scheduler);
  const auto remote = host->actors().middleman().remote_actor<echo>(loopback, server.port());
  if (!remote) std::abort();
  return ask_all(host->actors(), *remote, at.count, at.lanes);
}

template <class Function>
double median_of(const std::vector<outcome>& all, Function get) {
  std::vector<double> values;
  for (const auto& o : all) values.push_back(get(o));
  return median(std::move(values));
}

void compare(const setting& at, int rounds) {
  std::vector<outcome> tls, plain;
  for (int i = 0; i < rounds; ++i) {
    tls.push_back(over_tls(at));
    plain.push_back(over_plain(at));
  }
  const auto line = [&](const char* what, auto get) {
    const double ours = median_of(tls, get), peers = median_of(plain, get);
    fmt::print(
        "{}, {:4} in flight, {:22}: TLS link {:9.1f}   CAF's plain TCP {:9.1f}   ratio {:.2f}\n",
        at.scheduler, at.lanes, what, ours, peers, ours / peers);
  };
  if (at.lanes == 1) {
    line("latency, median, us", [](const outcome& o) { return o.latency_us; });
    line("latency, 99 of 100, us", [](const outcome& o) { return o.slow_us; });
  }
  line("asks a second", [](const outcome& o) { return o.per_second; });
  fmt::print(
      "{}, {:4} in flight, bytes of TLS an ask and its answer: {:.0f}\n", at.scheduler, at.lanes,
      median_of(tls, [](const outcome& o) { return o.bytes_an_ask; }));
}

}  // namespace

int main(int argc, char** argv) {
  dlls::base::set_log_level(dlls::base::log_level::warning);
  if (argc > 2 && std::string{argv[1]} == "--serve") {
    if (argc > 3) {
      serve_tls(argv[2], argv[3]);
    } else {
      serve_plain(argv[2]);
    }
    return 0;
  }
  const int single = argc > 1 ? std::atoi(argv[1]) : 10'000;
  const int many = argc > 2 ? std::atoi(argv[2]) : 100'000;
  const int rounds = argc > 3 ? std::atoi(argv[3]) : 7;
  print_conditions(single, rounds);
  const scratch_folder folder;
  make_certificates(folder.path);
  for (const char* scheduler : {"stealing", "sharing"}) {
    compare({scheduler, folder.path, single, 1}, rounds);
    compare({scheduler, folder.path, many, 1000}, rounds);
  }
}
