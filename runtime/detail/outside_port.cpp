#include "runtime/detail/outside_port.hpp"

#include <caf/actor_cast.hpp>
#include <caf/actor_config.hpp>
#include <caf/actor_system.hpp>
#include <caf/exit_reason.hpp>
#include <caf/make_actor.hpp>

#include "runtime/caf_error.hpp"
#include "runtime/detail/core.hpp"

namespace dlls::runtime::detail {

outside_port::outside_port(caf::actor_config& config) : monitorable_actor(config), calls_(*this) {}

outside_port::~outside_port() = default;

void outside_port::send(
    caf::strong_actor_ptr callee, caf::actor_clock::duration_type within,
    caf::mailbox_element_ptr request, std::unique_ptr<outside_call_base> call) {
  if (!callee) {
    call->fail({base::errc::unavailable, "asked nobody: the handle is empty"});
    return call->deliver();
  }
  call->callee = callee;
  if (within.count() <= 0) {
    call->expired();
    return call->deliver();
  }
  caf::attachable_ptr attachment;
  {
    std::unique_lock lock{mutex_};
    if (closed_) {
      lock.unlock();
      call->fail({base::errc::cancelled, "asked after the end"});
      return call->deliver();
    }
    const auto now = home_system().clock().now();
    const auto deadline = core::later(now, within);
    call->call_number = calls_.open(*call, deadline);
    request->mid = call_id{call_kind::call, time_left(now, deadline), call->call_number}.request();
    request->sender = ctrl();
    attachment = calls_.watch(*call, callee);
    open_.insert(call.release());
  }
  // Outside of the lock: a dead callee answers from within.
  if (attachment) callee->get()->attach(std::move(attachment));
  callee->get()->enqueue(std::move(request), nullptr);
}

void outside_port::enqueue(caf::mailbox_element_ptr message, caf::execution_unit*) {
  using kind = pending_calls::kind;
  const auto what = pending_calls::classify(message->mid);
  if (what == kind::foreign || what == kind::order) return;
  std::vector<std::unique_ptr<outside_call_base>> settled;
  {
    const std::scoped_lock lock{mutex_};
    if (closed_) return;
    const auto settle = [&](operation* op) {
      auto* call = static_cast<outside_call_base*>(op);
      open_.erase(call);
      settled.emplace_back(call);
      return call;
    };
    if (what == kind::answer) {
      if (auto* op = calls_.find(call_id{message->mid})) {
        calls_.close(*op);
        settle(op)->answered(message->content());
      }
    } else if (what == kind::tick) {
      while (auto* op = calls_.take_expired()) {
        settle(op)->expired();
        calls_.close(*op);
      }
    } else if (message->content().match_elements<down_signal>()) {
      const auto& signal = message->content().get_as<down_signal>(0);
      while (auto* op = calls_.take_orphan(call_id{message->mid}))
        settle(op)->callee_lost(signal.why);
    }
    delivering_ += settled.size();
  }
  for (auto& call : settled) {
    if (what == kind::tick) cancel_call(*call);
    deliver(std::move(call));
  }
}

void outside_port::cancel_call(const outside_call_base& call) noexcept {
  const auto order = call_id::order(call.call_number);
  call.callee->enqueue(
      caf::make_mailbox_element(ctrl(), order.response(), {}, caf::make_message()), nullptr);
}

void outside_port::deliver(std::unique_ptr<outside_call_base> call) {
  call->deliver();
  call.reset();
  const std::scoped_lock lock{mutex_};
  --delivering_;
  idle_.notify_all();
}

void outside_port::close() {
  std::unordered_set<outside_call_base*> rest;
  {
    std::unique_lock lock{mutex_};
    closed_ = true;
    rest.swap(open_);
    for (auto* call : rest) calls_.close(*call);
    idle_.wait(lock, [&] { return delivering_ == 0; });
  }
  // Nobody else touches calls_ any more; detaching must not happen under our lock.
  calls_.shut_down();
  for (auto* raw : rest) {
    const std::unique_ptr<outside_call_base> call{raw};
    cancel_call(*call);
    call->fail({base::errc::cancelled, "the asker has gone"});
    call->deliver();
  }
  cleanup(caf::exit_reason::normal, nullptr);
}

outside_port* outside_port_ptr::operator->() const noexcept {
  return static_cast<outside_port*>(caf::actor_cast<caf::abstract_actor*>(port_));
}

outside_port_ptr make_outside_port(caf::actor_system& system) {
  caf::actor_config config;
  return outside_port_ptr{caf::make_actor<outside_port, caf::strong_actor_ptr>(
      system.next_actor_id(), system.node(), &system, config)};
}

}  // namespace dlls::runtime::detail
