// supervisor: starts the actors that its own actor needs, and starts them again when they end.
//
//   runtime::supervisor children_{this, {.restarts_max = 5, .within = 1min}};   // a member
//
//   children_.add("trainer", [this] { return spawn<trainer>(pool_); });
//   children_.add("far", [this] { return dial_far(); });        // task<echo_actor>: a remote one
//   auto far = co_await children_.up<echo_actor>("far");        // waits until it is there
//   far = co_await children_.up("far", far);                    // until there is another one
//   auto now = children_.get<trainer_actor>("trainer");         // empty while it is down
//
// Lives in a co_actor, or in a coroutine of one, and is used on that actor's turns only. A factory
// runs on them too. It gives a handle or a task of one; whatever it captures outlives the
// supervisor (it is no coroutine itself: a plain lambda that returns another function's task). What
// it throws, or an empty handle, is a failure like the child's end. Made inside of a handler's
// coroutine, a supervisor gives the factories that handler's deadline (ask.hpp).
//
// What is started again. A child that ends with exit_reason::normal or user_shutdown has done its
// work: it stays down (`restart_normal_ends` changes that). With any other reason, a lost link
// included, it is started again, after a pause: one_for_one that child alone; all_for_one all,
// after the others were ended in the reverse order of add(), then started in that order, each
// one before the next. Who ends others sends exit_reason::user_shutdown, waits `end_within`, then
// sends kill. A start that is under way runs to its end first: give it a limit of its own.
//
// Pauses double from `backoff_first` to `backoff_most`; each is drawn between half of it and all of
// it, so that many that lost the same peer don't return at once. They begin anew after a child that
// was up for `healthy_after`.
//
// The limit. When a restart would be one more than `restarts_max` within `within`, counted over all
// children, the supervisor gives up: it ends its children, whoever awaits up() gets `unavailable`,
// and the actor quits with that error, unless `on_give_up` is set: then that is called instead (it
// may destroy the supervisor).
//
// Remote children (of another node) aren't ended by anyone here. One whose link is lost is down at
// once, and its factory makes the next link, with a new epoch: the handle that get() gives then
// belongs to it, and asks through the old one fail with `unavailable` at once. With all_for_one it
// is let go and its factory called again, which may close the link that it had.
//
// The end. The destructor, and the end of the actor, cancel what is being started and send every
// child of this node exit_reason::user_shutdown, in the reverse order of add(), without waiting. A
// supervisor with a child that is up or coming up keeps its actor alive without handles, like any
// pending operation. It is one of its actor's tasks(): closing those ends it too.
#pragma once
#include <caf/actor.hpp>
#include <caf/actor_addr.hpp>
#include <caf/actor_cast.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>

#include "base/error.hpp"
#include "runtime/scope.hpp"
#include "runtime/task.hpp"

namespace dlls::runtime {

enum class restart_rule { one_for_one, all_for_one };

struct supervisor_options {
  static constexpr auto without_limit = static_cast<std::size_t>(-1);

  restart_rule rule = restart_rule::one_for_one;
  std::chrono::nanoseconds backoff_first = std::chrono::milliseconds{100};
  std::chrono::nanoseconds backoff_most = std::chrono::seconds{30};
  std::chrono::nanoseconds healthy_after = std::chrono::seconds{10};
  std::size_t restarts_max = 5;  // without_limit: for remote children, say
  std::chrono::nanoseconds within = std::chrono::minutes{1};
  std::chrono::nanoseconds end_within = std::chrono::seconds{5};
  bool restart_normal_ends = false;
  std::uint64_t seed = 0;  // of the pauses; 0 draws one
  std::function<void(const base::error& why)> on_give_up = {};
};

namespace detail {

class supervision;
using actor_factory = std::function<task<caf::strong_actor_ptr>()>;

template <class Handle>
task<caf::strong_actor_ptr> as_pointer(Handle made) {
  co_return caf::actor_cast<caf::strong_actor_ptr>(made);
}
template <class Handle>
task<caf::strong_actor_ptr> as_pointer(task<Handle> making) {
  auto made = co_await std::move(making);
  co_return caf::actor_cast<caf::strong_actor_ptr>(made);
}

std::shared_ptr<supervision> make_supervision(core& c, scope& tasks, supervisor_options how);
void add_child(const std::shared_ptr<supervision>& to, std::string name, actor_factory make);
caf::strong_actor_ptr child_of(const supervision& of, const std::string& name);
task<caf::strong_actor_ptr> child_up(
    std::shared_ptr<supervision> of, std::string name, caf::actor_addr other_than);
std::size_t restarts_of(const supervision& of) noexcept;
void stop(supervision& what) noexcept;

template <class Handle>
task<Handle> handle_of(task<caf::strong_actor_ptr> coming) {
  auto found = co_await std::move(coming);
  co_return caf::actor_cast<Handle>(found);
}

}  // namespace detail

class supervisor {
 public:
  template <class Self>
  explicit supervisor(Self* self, supervisor_options how = {})
      : state_(detail::make_supervision(self->core(), self->tasks(), std::move(how))) {}
  supervisor(const supervisor&) = delete;
  supervisor& operator=(const supervisor&) = delete;
  // Not from inside of a factory.
  ~supervisor() { detail::stop(*state_); }

  // The first start is made when the current coroutine suspends next, or its handler returns. A
  // second child of the same name is a bug. No effect after it has given up.
  template <class Factory>
  void add(std::string name, Factory make) {
    detail::add_child(state_, std::move(name), [make = std::move(make)]() mutable {
      return detail::as_pointer(make());
    });
  }
  // The child as it is now: empty while it is down, and for a name that was never added.
  template <class Handle = caf::actor>
  Handle get(const std::string& name) const {
    return caf::actor_cast<Handle>(detail::child_of(*state_, name));
  }
  // Until the child is up; with a handle that has failed, until it is up again, as another one.
  // Throws base::failure: `unavailable` when the supervisor has given up, with the last failure in
  // its text; failed_precondition when the child has done its work; not_found for a name that was
  // never added; cancelled when the supervisor is destroyed.
  template <class Handle = caf::actor>
  task<Handle> up(std::string name, Handle other_than = {}) const {
    return detail::handle_of<Handle>(
        detail::child_up(state_, std::move(name), caf::actor_cast<caf::actor_addr>(other_than)));
  }
  // How often it has started something again, since its beginning.
  std::size_t restarts() const noexcept { return detail::restarts_of(*state_); }

 private:
  std::shared_ptr<detail::supervision> state_;
};

}  // namespace dlls::runtime
