// co_actor<Handle>: a CAF actor whose handlers may be coroutines.
//
//   using door = caf::typed_actor<caf::replies_to<hello>::with<welcome>, caf::reacts_to<progress>>;
//   class porter : public runtime::co_actor<door> {
//    public:
//     porter(caf::actor_config& config, std::string name) : co_actor(config),
//     name_(std::move(name)) {} behavior_type make_behavior() override { return
//     {serve(&porter::greet), serve(&porter::note)}; }
//    private:
//     runtime::task<welcome> greet(hello message);  // may suspend: ask, sleep, offload, ...
//     runtime::stream<token> tell(story s);         // many values, see stream.hpp
//     void note(progress p);                        // an ordinary function is fine too
//     std::string name_;
//   };
//   auto handle = system.spawn<porter>("n1");
//
// co_actor<caf::actor> is the dynamically typed form. All of CAF stays usable: monitor, link_to,
// request(...).then, become, raw lambdas in the behavior beside serve().
//
// Turns. A handler runs on its actor's turn, suspends at `co_await`, and is resumed on a later turn
// of the same actor. Other messages are handled in between: state needs no lock, and may have
// changed across every `co_await`. current_sender() is the asker until the first suspension; keep a
// copy if it is needed later.
//
// Failures. What a handler throws becomes the answer: a base::failure its own error, anything else
// `internal`. The actor goes on. A failure in answer to a message that was merely sent is logged.
//
// End. When the actor ends (quit, exit message, kill, last handle gone), every frame is destroyed
// with its locals, and every asker gets `unavailable`. An actor with an operation pending stays
// alive without handles. Operations must not be awaited after quit().
#pragma once
#include <caf/all.hpp>
#include <concepts>
#include <functional>
#include <type_traits>

#include "base/check.hpp"
#include "runtime/caf_error.hpp"
#include "runtime/detail/core.hpp"
#include "runtime/detail/handover.hpp"
#include "runtime/detail/type_name.hpp"
#include "runtime/part.hpp"
#include "runtime/scope.hpp"
#include "runtime/stream.hpp"
#include "runtime/task.hpp"

namespace dlls::runtime {

namespace detail {

template <class Handle>
struct actor_base {
  using type = typename Handle::base;
};
template <>
struct actor_base<caf::actor> {
  using type = caf::event_based_actor;
};

// What a handler's return type R answers with: task<R> and base::result<R> as R.
template <class R>
struct answer_of {
  using type = R;
};
template <class R>
struct answer_of<base::result<R>> : answer_of<R> {};
template <class R>
struct answer_of<task<R>> : answer_of<R> {};

template <class T>
struct answer_of<stream<T>> {
  using type = part<T>;
};

// Of a handler's return type: a coroutine of ours.
template <class R>
concept suspendable = requires {
  R::is_stream;
};

}  // namespace detail

template <class Handle>
class co_actor : public detail::actor_base<Handle>::type {
 public:
  using super = typename detail::actor_base<Handle>::type;

  explicit co_actor(caf::actor_config& config)
      : super(config), core_(*this), tasks_(this, scope::on_failure::log) {}

  // Tasks of this actor that belong to no request. Closed when the actor ends; a task that throws
  // is logged, its siblings go on.
  scope& tasks() noexcept { return tasks_; }

  // For the library's own awaitables.
  detail::core& core() noexcept { return core_; }

  // Overridden for the coroutines' sake; whoever overrides them again must call these.
  using super::consume;
  caf::invoke_message_result consume(caf::mailbox_element& message) override {
    const detail::handed_turn handed{this};
    detail::take_over(&message);
    const detail::run_loop::turn ours{core_.loop()};
    auto result = caf::invoke_message_result::consumed;
    if (!core_.dispatch(message)) result = super::consume(message);
    core_.loop().run();
    return result;
  }
  void initialize() override {
    const detail::handed_turn handed{this};
    const detail::run_loop::turn ours{core_.loop()};
    core_.begun();
    super::initialize();
    core_.loop().run();
  }
#ifdef __SANITIZE_THREAD__
  using super::enqueue;
  void enqueue(caf::mailbox_element_ptr message, caf::execution_unit* host) override {
    detail::hand_over(message.get());
    detail::hand_over(&core_);  // the mailbox as a whole: what is left at the end is dropped
    super::enqueue(std::move(message), host);
  }
  void launch(caf::execution_unit* host, bool lazy, bool hide) override {
    detail::hand_over(this);
    super::launch(host, lazy, hide);
  }
  void on_destroy() override {
    detail::take_over(this);
    super::on_destroy();
  }
#endif
  bool cleanup(caf::error&& reason, caf::execution_unit* host) override {
    const detail::handed_turn handed{this};
    detail::take_over(&core_);
    // The last handle may go on any thread: what was the context on the last turn is none there.
    this->context(host);
    tasks_.destroy_all();
    core_.shut_down();
    return super::cleanup(std::move(reason), host);
  }

 protected:
  using handler_bond = detail::handler_bond;
  static constexpr auto attached = handler_bond::attached;
  static constexpr auto detached = handler_bond::detached;

  // A member function as a message handler. Parameters by value; returns R, base::result<R>,
  // task<R> or task<base::result<R>>, where the interface says R (void for reacts_to); or
  // stream<T>, where it says part<T>.
  //
  // A handler that suspends is `attached` to its asker: when the asker cancels, ends, or is lost
  // with its node, the handler is destroyed at its await, and what it asks inherits the deadline of
  // the asker (ask.hpp). With `detached` it runs to its end whatever the asker does: for what must
  // not be left half done.
  template <class Actor, class R, class... Ts>
  auto serve(R (Actor::*handler)(Ts...), handler_bond bond = attached) {
    static_assert((!std::is_reference_v<Ts> && ...), "a handler takes its parameters by value");
    using answer = typename detail::answer_of<R>::type;
    if constexpr (detail::suspendable<R>) {
      base::check(!R::is_stream || bond == attached, "a stream is always attached");
    } else {
      static_assert(!detail::is_part<answer>, "a stream's handler returns stream<T>");
    }
    auto* self = static_cast<Actor*>(this);
    // By mutable reference, so that a message nobody else holds is moved from, not copied.
    return [self, handler, bond](std::decay_t<Ts>&... parts) -> caf::result<answer> {
      if constexpr (detail::suspendable<R>) {
        self->core().start_handler(
            (self->*handler)(std::move(parts)...), bond, &detail::names_of<std::decay_t<Ts>...>);
        return caf::delegated<answer>{};
      } else {
        (void)bond;  // such a handler has answered before anybody can cancel
        return self->template run_plain<answer>(
            [&] { return (self->*handler)(std::move(parts)...); });
      }
    };
  }

  // Called when an actor that this one monitors ends. (CAF's set_down_handler does the same; the
  // runtime's own watching of askees needs neither.)
  void on_down(std::function<void(const caf::actor_addr& who, base::error why)> handler) {
    this->set_down_handler([handler = std::move(handler)](caf::down_msg& down) {
      handler(down.source, from_caf(down.reason));
    });
  }

 private:
  template <class Answer, class Function>
  caf::result<Answer> run_plain(Function function) {
    detail::reply to{*this};
    try {
      if constexpr (std::is_void_v<decltype(function())>) {
        function();
        to.deliver();
      } else {
        detail::answer_with(to, function());
      }
    } catch (...) {
      to.fail(current_exception_error());
    }
    return caf::delegated<Answer>{};
  }

  detail::core core_;
  scope tasks_;
};

}  // namespace dlls::runtime
