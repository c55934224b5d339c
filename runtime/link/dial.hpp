// Dialing, awaited: another system's actor in one line, and the link that leads to it.
//
//   auto far = co_await link::dial<counter>(this, endpoint, where);   // throws base::failure
//   auto n = co_await runtime::ask(this, far.door(), 5s, count{"x"});
//   auto why = co_await far.lost(this);                               // until the link is gone
//
//   auto far = link::dial_wait<counter>(system, endpoint, where);     // blocks: main, a test
//
// Errors are those of endpoint::dial; there is no deadline but options.handshake_timeout. A program
// that includes this also links dlls::runtime.
#pragma once
#include <caf/actor_cast.hpp>
#include <caf/actor_system.hpp>
#include <future>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>

#include "runtime/completion.hpp"
#include "runtime/link/detail/dialed.hpp"
#include "runtime/link/endpoint.hpp"
#include "runtime/task.hpp"

namespace dlls::runtime::link {

// A value; copies speak of the same link. Holding one keeps neither link nor endpoint alive, nor
// does dropping the last one close the link: that is close(), or the endpoint's end.
template <class Handle>
class remote {
 public:
  remote(connection_ptr link, Handle door, detail::link_end end)
      : link_(std::move(link)), door_(std::move(door)), end_(std::move(end)) {}

  // A proxy: asks of it fail with `unavailable` as soon as the link is lost, and ever after.
  const Handle& door() const noexcept { return door_; }
  // Peer, epoch, traffic, close(): connection.hpp. Thread-safe.
  connection& link() const noexcept { return *link_; }
  // Until the link has closed, at once when it has; gives the reason.
  template <class Self>
  task<std::string> lost(Self* self) const {
    return wait_for(self, end_);
  }

 private:
  template <class Self>
  static task<std::string> wait_for(Self* self, detail::link_end end) {
    detail::link_end::registration place;
    auto start = [&](resolver<std::string> done) { place = end.then(std::move(done)); };
    co_return co_await completion<std::string>(self, start);
  }

  connection_ptr link_;
  Handle door_;
  detail::link_end end_;
};

namespace detail {

// What the peer's door must offer follows from the handle that is asked for.
template <class Handle>
dial_request complete(caf::actor_system& system, dial_request to) {
  if constexpr (!std::is_same_v<Handle, caf::actor>)
    to.expected_interface = system.message_types<Handle>();
  return to;
}

template <class Handle, class Self>
task<base::result<remote<Handle>>> dial_task(Self* self, endpoint& at, dial_request to) {
  const link_end end;
  dial_call call;
  auto start = [&](resolver<linked> done) { call.start(at, std::move(to), end, std::move(done)); };
  auto made = co_await try_completion<linked>(self, start);
  if (!made) co_return made.error();
  call.keep();
  co_return remote<Handle>(made->link, caf::actor_cast<Handle>(made->remote_door), end);
}

template <class Handle, class Self>
task<remote<Handle>> dial_or_throw(Self* self, endpoint& at, dial_request to) {
  auto dialing = dial_task<Handle>(self, at, std::move(to));
  auto made = co_await std::move(dialing);
  if (!made) throw base::failure(made.error());
  co_return std::move(*made);
}

}  // namespace detail

// For a coroutine of the co_actor `self`. `to` is copied, its `expected_interface` filled in from
// Handle; the endpoint outlives the await. When the coroutine is cancelled, a link that comes up
// later is closed.
template <class Handle, class Self>
task<remote<Handle>> dial(Self* self, endpoint& at, const dial_request& to) {
  return detail::dial_or_throw<Handle>(self, at, detail::complete<Handle>(self->system(), to));
}
template <class Handle, class Self>
task<base::result<remote<Handle>>> try_dial(Self* self, endpoint& at, const dial_request& to) {
  return detail::dial_task<Handle>(self, at, detail::complete<Handle>(self->system(), to));
}
// A temporary request inside a co_await is one of those that GCC 12 destroys twice: name it first.
template <class Handle, class Self>
void dial(Self* self, endpoint& at, dial_request&& to) = delete;
template <class Handle, class Self>
void try_dial(Self* self, endpoint& at, dial_request&& to) = delete;

// Blocks the calling thread; not on an actor's turn, and not in a callback of the endpoint.
template <class Handle>
base::result<remote<Handle>> dial_wait(
    caf::actor_system& system, endpoint& at, const dial_request& to) {
  const detail::link_end end;
  auto answer = std::make_shared<std::promise<base::result<linked>>>();
  at.dial(
      detail::complete<Handle>(system, to),
      [answer](base::result<linked> made) { answer->set_value(std::move(made)); },
      [end](std::string why) { end.report(std::move(why)); });
  auto made = answer->get_future().get();
  if (!made) return made.error();
  return remote<Handle>(made->link, caf::actor_cast<Handle>(made->remote_door), end);
}

}  // namespace dlls::runtime::link
