#include "runtime/link/detail/dialed.hpp"

#include <map>
#include <mutex>
#include <optional>

namespace dlls::runtime::link::detail {

struct link_end::state {
  std::mutex mutex;
  std::optional<std::string> why;
  std::uint64_t last_number = 0;
  std::map<std::uint64_t, std::function<void(std::string)>> listeners;
};

link_end::link_end() : state_(std::make_shared<state>()) {}

link_end::registration::~registration() {
  const auto of = of_.lock();
  if (!of) return;
  std::function<void(std::string)> gone;  // destroyed outside of the lock: it may own anything
  const std::scoped_lock lock{of->mutex};
  if (auto found = of->listeners.find(number_); found != of->listeners.end()) {
    gone.swap(found->second);
    of->listeners.erase(found);
  }
}

link_end::registration link_end::then(std::function<void(std::string why)> whom) const {
  std::unique_lock lock{state_->mutex};
  if (state_->why) {
    const auto why = *state_->why;
    lock.unlock();
    whom(why);
    return {};
  }
  const auto number = ++state_->last_number;
  state_->listeners.emplace(number, std::move(whom));
  return {state_, number};
}

void link_end::report(std::string why) const {
  std::map<std::uint64_t, std::function<void(std::string)>> told;
  {
    const std::scoped_lock lock{state_->mutex};
    if (state_->why) return;
    state_->why = why;
    told.swap(state_->listeners);
  }
  for (const auto& [number, whom] : told) whom(why);
}

struct dial_call::state {
  std::mutex mutex;
  bool abandoned = false;
  connection_ptr link;
};

dial_call::dial_call() : state_(std::make_shared<state>()) {}

dial_call::~dial_call() {
  if (!state_) return;
  connection_ptr link;
  {
    const std::scoped_lock lock{state_->mutex};
    state_->abandoned = true;
    link.swap(state_->link);
  }
  if (link) link->close("whoever dialed it is gone");
}

void dial_call::start(
    endpoint& at, dial_request to, link_end end, std::function<void(base::result<linked>)> done) {
  auto answered = [call = state_, done = std::move(done)](base::result<linked> made) {
    if (made) {
      std::unique_lock lock{call->mutex};
      if (call->abandoned) {
        lock.unlock();
        return made->link->close("whoever dialed it is gone");
      }
      call->link = made->link;
    }
    done(std::move(made));
  };
  at.dial(
      std::move(to), std::move(answered), [end](std::string why) { end.report(std::move(why)); });
}

}  // namespace dlls::runtime::link::detail
