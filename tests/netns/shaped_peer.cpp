// One end of a link over a line that a test has made slow. shaped_test.py runs two of these.
//
//   shaped_peer serve FOLDER ADDRESS       makes certificates in FOLDER, prints its port, serves
//   shaped_peer ask FOLDER ADDRESS PORT COUNT SEED
//       times COUNT asks on the idle link, and COUNT while a bulk stream fills it; prints JSON:
//       milliseconds, and the bulk's bytes a second
#include <fmt/core.h>

#include <algorithm>
#include <caf/all.hpp>
#include <chrono>
#include <cstdlib>
#include <future>
#include <iostream>
#include <string>
#include <vector>

#include "base/file.hpp"
#include "base/random.hpp"
#include "runtime/ask.hpp"
#include "runtime/co_actor.hpp"
#include "runtime/link/dial.hpp"
#include "runtime/race.hpp"
#include "runtime/sleep.hpp"
#include "runtime/stream.hpp"
#include "runtime/subscribe.hpp"
#include "runtime/system.hpp"

namespace {

namespace rt = dlls::runtime;
namespace link = dlls::runtime::link;
namespace base = dlls::base;
using namespace std::chrono_literals;
using clock = std::chrono::steady_clock;

constexpr std::size_t chunk_bytes = 64u << 10;

using door = caf::typed_actor<
    caf::replies_to<int>::with<int>, caf::replies_to<std::uint64_t>::with<rt::part<std::string>>>;

void announce(caf::actor_system_config& config) {
  config.add_message_type<rt::part<std::string>>("part<str>");
}

link::options options() {
  link::options o;
  o.rules.allow_interface<door>();
  return o;
}

class bulk_door final : public rt::co_actor<door> {
 public:
  using co_actor::co_actor;
  behavior_type make_behavior() override {
    return {serve(&bulk_door::echo), serve(&bulk_door::bulk)};
  }

 private:
  int echo(int x) { return x; }
  rt::stream<std::string> bulk(std::uint64_t count) {
    for (std::uint64_t i = 0; i < count; ++i) co_yield std::string(chunk_bytes, 'x');
  }
};

// Random enough that nothing compresses and no rhythm of the bulk is met.
class asker final : public rt::co_actor<caf::actor> {
 public:
  struct times {
    std::vector<double> idle_ms, loaded_ms;
    double bulk_rate = 0;  // bytes a second
  };
  asker(
      caf::actor_config& config, door to, int count, std::uint64_t seed, std::promise<times>* done)
      : co_actor(config), to_(std::move(to)), count_(count), chance_(seed), done_(done) {}
  caf::behavior make_behavior() override {
    tasks().spawn(measure());
    return {[](caf::unit_t) {}};
  }

 private:
  rt::task<std::vector<double>> ask_all() {
    std::vector<double> took;
    for (int i = 0; i < count_; ++i) {
      const auto begun = clock::now();
      co_await rt::ask(this, to_, 30s, i);
      took.push_back(std::chrono::duration<double, std::milli>(clock::now() - begun).count());
      co_await rt::sleep(this, std::chrono::milliseconds{1 + chance_.below(20)});
    }
    co_return took;
  }
  rt::task<void> take_bulk(std::uint64_t* bytes) {
    constexpr std::uint64_t endless = 1u << 30;
    auto chunks = rt::subscribe(this, to_, 30s, endless);
    while (auto one = co_await chunks.next()) *bytes += one->size();
  }
  rt::task<void> measure() {
    times all;
    all.idle_ms = co_await ask_all();
    std::uint64_t bytes = 0;
    rt::scope beside{this};
    beside.spawn(take_bulk(&bytes));
    co_await rt::sleep(this, 2s);  // until the line is full
    const auto before = bytes;
    const auto begun = clock::now();
    all.loaded_ms = co_await ask_all();
    const std::chrono::duration<double> took = clock::now() - begun;
    all.bulk_rate = static_cast<double>(bytes - before) / took.count();
    co_await beside.close();
    done_->set_value(std::move(all));
  }

  door to_;
  int count_;
  base::random_source chance_;
  std::promise<times>* done_;
};

int serve(const std::filesystem::path& folder, const std::string& address) {
  auto authority = link::authority::create(folder / "ca").value();
  const auto request = link::make_certificate_request();
  const auto pem = authority->sign(request.der, {"node", "n0"}).value();
  base::write_file_durably(folder / "node.pem", pem + request.key_pem, 0600).value();
  auto host = rt::make_system({.workers = 2, .network = true, .announce = announce});
  link::endpoint at{host->actors(), options()};
  link::acceptor_events events;
  events.make_door = [&](link::connection_ptr) {
    return caf::actor_cast<caf::strong_actor_ptr>(host->actors().spawn<bulk_door>());
  };
  const auto port =
      at.listen(address, 0, authority->coordinator("c0").value(), "node", std::move(events));
  std::cout << port.value() << std::endl;
  std::string until_closed;
  std::getline(std::cin, until_closed);
  return 0;
}

double percentile(std::vector<double> all, double which) {
  std::sort(all.begin(), all.end());
  return all[std::min(all.size() - 1, static_cast<std::size_t>(which * double(all.size())))];
}

int ask(const std::filesystem::path& folder, char** argv) {
  auto host = rt::make_system({.workers = 2, .network = true, .announce = announce});
  link::endpoint at{host->actors(), options()};
  link::dial_request to;
  to.host = argv[3];
  to.port = static_cast<std::uint16_t>(std::atoi(argv[4]));
  to.own = {folder / "node.pem", folder / "node.pem", folder / "ca" / "ca.pem"};
  to.want_role = "coordinator";
  const auto far = link::dial_wait<door>(host->actors(), at, to);
  if (!far) {
    std::cerr << far.error().text() << '\n';
    return 1;
  }
  std::promise<asker::times> done;
  auto measuring = host->actors().spawn<asker>(
      far->door(), std::atoi(argv[5]), std::strtoull(argv[6], nullptr, 0), &done);
  const auto all = done.get_future().get();
  fmt::print(
      "{{\"idle_p50\": {:.2f}, \"idle_p99\": {:.2f}, \"loaded_p50\": {:.2f}, \"loaded_p99\": "
      "{:.2f}, \"loaded_max\": {:.2f}, \"bulk_bytes_s\": {:.0f}}}\n",
      percentile(all.idle_ms, 0.5), percentile(all.idle_ms, 0.99), percentile(all.loaded_ms, 0.5),
      percentile(all.loaded_ms, 0.99), percentile(all.loaded_ms, 1), all.bulk_rate);
  caf::anon_send_exit(measuring, caf::exit_reason::kill);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 4 && std::string_view{argv[1]} == "serve") return serve(argv[2], argv[3]);
  if (argc == 7 && std::string_view{argv[1]} == "ask") return ask(argv[2], argv);
  return 2;
}
