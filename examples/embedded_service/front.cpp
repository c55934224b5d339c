// front PORT STATE [TOKEN-FILE]: reads lines of file names, has a worker count, prints the sums.
#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <dlls/base/file.hpp>
#include <dlls/runtime/ask.hpp>
#include <dlls/runtime/co_actor.hpp>
#include <dlls/runtime/gather.hpp>
#include <dlls/runtime/link/dial.hpp>
#include <dlls/runtime/outside.hpp>
#include <dlls/runtime/sleep.hpp>
#include <dlls/runtime/system.hpp>
#include <iostream>
#include <optional>
#include <sstream>
#include <vector>

#include "words.hpp"

namespace words {
using namespace std::chrono_literals;

constexpr auto answer_within = 30s;
constexpr auto pause_first = 100ms, pause_most = 2000ms;

using names = std::vector<std::string>;
using front_actor = caf::typed_actor<caf::replies_to<names>::with<std::string>>;

// Stays linked to one worker, and spreads what it is asked over many requests at once.
class front : public runtime::co_actor<front_actor> {
 public:
  front(caf::actor_config& config, link::endpoint& endpoint, link::dial_request worker)
      : co_actor(config), endpoint_(endpoint), where_(std::move(worker)) {}
  behavior_type make_behavior() override {
    tasks().spawn(stay_linked());
    return {serve(&front::sum)};
  }

 private:
  runtime::task<> stay_linked() {
    for (auto pause = pause_first;; pause = std::min(pause * 2, pause_most)) {
      auto dialed = co_await link::try_dial<counter_actor>(this, endpoint_, where_);
      if (!dialed) fmt::print(stderr, "no link: {}\n", dialed.error().text());
      if (dialed) {
        worker_ = *dialed;
        pause = pause_first;
        fmt::print(
            "linked to {}: epoch {}, protocol {}\n", worker_->link().peer().text(),
            worker_->link().epoch(), endpoint_.protocol_version());
        const auto why = co_await worker_->lost(this);
        worker_.reset();
        fmt::print("link lost: {}\n", why);
      }
      co_await runtime::sleep(this, pause);
    }
  }

  runtime::task<counted> count(counter_actor worker, std::string name) {
    co_return co_await runtime::ask(this, worker, answer_within, count_file{std::move(name)});
  }

  runtime::task<std::string> sum(names files) {
    if (!worker_) throw base::failure({base::errc::unavailable, "no worker", "is it running?"});
    const auto at = *worker_;  // after an await there may be another one, or none
    std::vector<runtime::task<counted>> asks;
    for (auto& file : files) asks.push_back(count(at.door(), std::move(file)));
    const auto parts = co_await runtime::gather(std::move(asks));
    counted total;
    for (const auto& part : parts) total.words += part.words, total.lines += part.lines;
    const auto traffic = at.link().traffic();
    co_return fmt::format(
        "{} words, {} lines (epoch {}: {} bytes out, {} in)", total.words, total.lines,
        at.link().epoch(), traffic.bytes_out, traffic.bytes_in);
  }

  link::endpoint& endpoint_;
  const link::dial_request where_;
  std::optional<link::remote<counter_actor>> worker_;
};

// The certificate of an earlier start, else one for the token.
link::credentials credentials(std::uint16_t port, const std::string& state, const char* token) {
  if (auto known = link::joined_before(state, "front"); known || !token) return known.value();
  const auto parsed = link::join_token::parse(base::read_file(token).value()).value();
  return link::join("127.0.0.1", port, parsed, state, "front").value();
}

void run(std::uint16_t port, const std::string& state, const char* token) {
  // Whoever listens has the role "coordinator".
  const link::dial_request worker{
      .host = "127.0.0.1",
      .port = port,
      .own = credentials(port, state, token),
      .want_role = "coordinator"};
  auto host = runtime::make_system({.network = true, .announce = wire::announce});
  link::endpoint endpoint{host->actors(), link_options()};
  runtime::outside out{host->actors()};
  auto actor = host->actors().spawn<front>(endpoint, worker);
  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream in{line};
    names files{std::istream_iterator<std::string>{in}, {}};
    const auto answer = out.ask_wait(actor, answer_within + 5s, std::move(files));
    fmt::print("{}\n", answer ? *answer : "error " + answer.error().text());
  }
  caf::scoped_actor self{host->actors()};
  self->send_exit(actor, caf::exit_reason::user_shutdown);
  self->wait_for(actor);  // it uses the endpoint
}

}  // namespace words

int main(int argc, char** argv) try {
  if (argc < 3) return std::fprintf(stderr, "usage: front PORT STATE [TOKEN-FILE]\n"), 2;
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  words::run(static_cast<std::uint16_t>(std::stoi(argv[1])), argv[2], argc > 3 ? argv[3] : nullptr);
} catch (const std::exception& why) {
  return std::fprintf(stderr, "front: %s\n", why.what()), 1;
}
