// The messages and small actors that the runtime's tests share.
#pragma once
#include <caf/all.hpp>
#include <chrono>
#include <string>
#include <utility>

#include "runtime/announce.hpp"
#include "runtime/ask.hpp"
#include "runtime/co_actor.hpp"
#include "runtime/completion.hpp"
#include "runtime/gather.hpp"
#include "runtime/offload.hpp"
#include "runtime/outside.hpp"
#include "runtime/scope.hpp"
#include "runtime/sleep.hpp"
#include "tests/support/virtual_system.hpp"

namespace dlls::tests {

using namespace std::chrono_literals;
namespace rt = dlls::runtime;

// Constructors everywhere: GCC 12 miscompiles aggregate temporaries inside co_await.
struct hello {
  std::string name;
  int wait_ms = 0;
  hello() = default;
  explicit hello(std::string n, int w = 0) : name(std::move(n)), wait_ms(w) {}
};
template <class Inspector>
typename Inspector::result_type inspect(Inspector& f, hello& x) {
  return f(caf::meta::type_name("hello"), x.name, x.wait_ms);
}

struct welcome {
  std::string text;
  welcome() = default;
  explicit welcome(std::string t) : text(std::move(t)) {}
};
template <class Inspector>
typename Inspector::result_type inspect(Inspector& f, welcome& x) {
  return f(caf::meta::type_name("welcome"), x.text);
}

struct progress {
  int percent = 0;
  progress() = default;
  explicit progress(int p) : percent(p) {}
};
template <class Inspector>
typename Inspector::result_type inspect(Inspector& f, progress& x) {
  return f(caf::meta::type_name("progress"), x.percent);
}

using door = caf::typed_actor<caf::replies_to<hello>::with<welcome>, caf::reacts_to<progress>>;
using wire = rt::message_list<hello, welcome, progress>;
static_assert(wire::covers<door>);

// Answers after the time that the message names; negative: throws; "quit": ends first.
class porter : public rt::co_actor<door> {
 public:
  explicit porter(caf::actor_config& config, int* seen = nullptr) : co_actor(config), seen_(seen) {}
  behavior_type make_behavior() override { return {serve(&porter::greet), serve(&porter::note)}; }

 private:
  rt::task<welcome> greet(hello message) {
    if (message.wait_ms < 0) throw base::failure({base::errc::stale, "too old", "come again"});
    if (message.name == "quit") quit();
    if (message.wait_ms > 0) co_await rt::sleep(this, std::chrono::milliseconds{message.wait_ms});
    co_return welcome{"hello " + message.name};
  }
  void note(progress p) {
    if (seen_) *seen_ += p.percent;
  }
  int* seen_;
};

// Runs one coroutine given by the test; the result is what it leaves behind. The function object is
// kept, so that its captures outlive the coroutine.
class runner : public rt::co_actor<caf::actor> {
 public:
  using body = std::function<rt::task<void>(runner*)>;
  runner(caf::actor_config& config, body b) : co_actor(config), body_(std::move(b)) {}
  caf::behavior make_behavior() override {
    tasks().spawn(body_(this));
    return {[](caf::unit_t) {}};
  }

 private:
  body body_;
};

}  // namespace dlls::tests
