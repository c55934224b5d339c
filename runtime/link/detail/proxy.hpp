// CAF's proxy, but for one thing: it answers requests that come after its link has ended, where
// CAF's own lets them run into their timeout.
#pragma once
#include <caf/detail/sync_request_bouncer.hpp>
#include <caf/exit_reason.hpp>
#include <caf/forwarding_actor_proxy.hpp>
#include <caf/mailbox_element.hpp>
#include <shared_mutex>
#include <utility>

namespace dlls::runtime::link::detail {

class link_proxy final : public caf::forwarding_actor_proxy {
 public:
  using super = caf::forwarding_actor_proxy;
  using super::super;

  void enqueue(caf::mailbox_element_ptr what, caf::execution_unit* context) override {
    {
      std::shared_lock lock{mutex_};
      if (!dead_) return super::enqueue(std::move(what), context);
    }
    if (what->mid.is_request()) {
      const caf::detail::sync_request_bouncer refuse{
          caf::make_error(caf::exit_reason::remote_link_unreachable)};
      refuse(*what);
    }
  }

  void kill_proxy(caf::execution_unit* context, caf::error reason) override {
    {
      std::unique_lock lock{mutex_};
      dead_ = true;
    }
    super::kill_proxy(context, std::move(reason));
  }

 private:
  std::shared_mutex mutex_;
  bool dead_ = false;
};

}  // namespace dlls::runtime::link::detail
