#include "runtime/detail/reply.hpp"

#include "base/log.hpp"
#include "runtime/caf_error.hpp"

namespace dlls::runtime::detail {

reply::reply(caf::local_actor& self) {
  auto* request = self.current_mailbox_element();
  if (!request || request->mid.is_response() || request->mid.is_answered()) return;
  self_ = &self;
  source_ = request->sender;
  stages_ = request->stages;
  id_ = request->mid;
}

reply::reply(reply&& other) noexcept
    : self_(std::exchange(other.self_, nullptr)),
      source_(std::move(other.source_)),
      stages_(std::move(other.stages_)),
      id_(other.id_) {}

reply& reply::operator=(reply&& other) noexcept {
  if (this != &other) {
    this->~reply();
    new (this) reply(std::move(other));
  }
  return *this;
}

reply::~reply() {
  if (!pending()) return;
  if (async()) {
    self_ = nullptr;
    return;
  }
  // The last handle may be gone: a new one, as the sender's, would end the actor a second time.
  auto answer = caf::make_mailbox_element(
      nullptr, {}, {}, to_caf({base::errc::unavailable, "the actor ended before it answered"}));
  send(std::move(answer), nullptr);
}

void reply::deliver() {
  // As in CAF, nobody is told that a message without an answer has been handled, unless it asked.
  if (pending() && !async()) send(caf::make_mailbox_element({}, {}, {}, caf::make_message()));
  self_ = nullptr;
}

void reply::fail(const base::error& why) {
  if (!pending()) return;
  if (async()) {
    log_failure(*self_, "a handler", why);
    self_ = nullptr;
  } else {
    send(caf::make_mailbox_element({}, {}, {}, to_caf(why)));
  }
}

void reply::send(caf::mailbox_element_ptr answer) {
  caf::strong_actor_ptr from{self_->ctrl()};
  send(std::move(answer), std::move(from));
}

void reply::send(caf::mailbox_element_ptr answer, caf::strong_actor_ptr from) {
  auto* self = std::exchange(self_, nullptr);
  if (!stages_.empty()) {  // composed actors: on to the next, which answers the source
    auto next = std::move(stages_.back());
    stages_.pop_back();
    answer->sender = std::move(source_);
    answer->mid = id_;
    answer->stages = std::move(stages_);
    next->enqueue(std::move(answer), self->context());
  } else if (source_) {
    answer->sender = std::move(from);
    answer->mid = id_.response_id();
    source_->enqueue(std::move(answer), self->context());
    source_ = nullptr;
  }
}

void log_failure(const caf::local_actor& self, std::string_view what, const base::error& why) {
  base::log_warning("runtime", "{} of actor {} failed: {}", what, self.id(), why.text());
}

}  // namespace dlls::runtime::detail
