// Asking actors from threads that are none: an HTTP thread, main, a test.
//
//   runtime::outside out{system};
//   out.ask(handle, 5s, message{...}, [](base::result<answer> r) { ... });   // returns at once
//   auto r = out.ask_wait(handle, 5s, message{...});                         // blocks
//
// Thread-safe. One object serves any number of asks from any number of threads; it costs the actor
// system one address and no thread.
#pragma once
#include <caf/actor_cast.hpp>
#include <caf/actor_system.hpp>
#include <caf/mailbox_element.hpp>
#include <chrono>
#include <future>
#include <memory>
#include <utility>

#include "runtime/detail/answer.hpp"
#include "runtime/detail/outside_port.hpp"
#include "runtime/detail/saturated.hpp"

namespace dlls::runtime {

class outside {
 public:
  explicit outside(caf::actor_system& system) : port_(detail::make_outside_port(system)) {}
  outside(const outside&) = delete;
  outside& operator=(const outside&) = delete;
  // Every ask still unanswered gets `cancelled`, on this thread; when this returns, no callback
  // runs and none will. Not to be called from a callback. Before the actor system's end.
  ~outside() { port_->close(); }

  // `then` is called once, with a base::result of the answer that the handle's interface names (for
  // a caf::actor: ask<R>). It runs on the thread that brings the answer (one of the actor system's,
  // or the caller's own when the ask can't be sent), so it must be short and must not block; it may
  // ask again. Errors as for ask() of co_actors.
  template <
      class R = detail::deduced, class Handle, class Rep, class Period, class Message, class Then>
  void ask(
      const Handle& callee, std::chrono::duration<Rep, Period> within, Message message, Then then) {
    using answer = detail::answer_type<R, Handle, Message>;
    port_->send(
        caf::actor_cast<caf::strong_actor_ptr>(callee), detail::saturated(within),
        caf::make_mailbox_element({}, {}, {}, std::move(message)),
        std::make_unique<detail::outside_call<answer, Then>>(std::move(then)));
  }

  // Blocks the calling thread until the answer or the deadline. Never on an actor's turn, and not
  // with a test's virtual scheduler, where nobody else would run.
  template <class R = detail::deduced, class Handle, class Rep, class Period, class Message>
  auto ask_wait(const Handle& callee, std::chrono::duration<Rep, Period> within, Message message) {
    using answer = detail::answer_type<R, Handle, Message>;
    auto promise = std::make_shared<std::promise<base::result<answer>>>();
    auto future = promise->get_future();
    ask<answer>(callee, within, std::move(message), [promise](base::result<answer> r) {
      promise->set_value(std::move(r));
    });
    return future.get();
  }

 private:
  detail::outside_port_ptr port_;
};

}  // namespace dlls::runtime
