// The answer that a request is owed. CAF 0.17 lets a promise be forgotten; this one answers when it
// dies.
#pragma once
#include <caf/actor_control_block.hpp>
#include <caf/local_actor.hpp>
#include <caf/mailbox_element.hpp>
#include <string_view>
#include <utility>

#include "base/error.hpp"

namespace dlls::runtime::detail {

// Used on the turns of the actor that got the request. Movable; answers at most once.
class reply {
 public:
  reply() noexcept = default;
  // The request that `self` is handling now; empty when it handles none. Copies, so that
  // current_sender() stays usable.
  explicit reply(caf::local_actor& self);
  reply(reply&& other) noexcept;
  reply& operator=(reply&& other) noexcept;
  // Unanswered requests get `unavailable`.
  ~reply();

  bool pending() const noexcept { return self_ != nullptr; }
  // True for a message that was sent rather than asked: nobody waits for errors.
  bool async() const noexcept { return id_.is_async(); }
  caf::message_id id() const noexcept { return id_; }
  bool is_composed() const noexcept { return !stages_.empty(); }
  const caf::actor_control_block* asker() const noexcept { return source_.get(); }
  const caf::strong_actor_ptr& asker_handle() const noexcept { return source_; }

  template <class T>
  void deliver(T&& value) {
    if (pending()) send(caf::make_mailbox_element({}, {}, {}, std::forward<T>(value)));
  }
  void deliver();  // for void
  // One part of a stream's answer; more follow.
  template <class Part>
  void deliver_part(Part part) {
    if (source_)
      source_->enqueue(
          caf::make_mailbox_element(self_->ctrl(), id_.response_id(), {}, std::move(part)),
          self_->context());
  }
  // For a message that nobody asked, an error is logged instead.
  void fail(const base::error& why);

 private:
  void send(caf::mailbox_element_ptr answer);
  void send(caf::mailbox_element_ptr answer, caf::strong_actor_ptr from);

  caf::local_actor* self_ = nullptr;
  caf::strong_actor_ptr source_;
  caf::mailbox_element::forwarding_stack stages_;
  caf::message_id id_;
};

// Logs the failure of something that nobody waits for.
void log_failure(const caf::local_actor& self, std::string_view what, const base::error& why);

}  // namespace dlls::runtime::detail
