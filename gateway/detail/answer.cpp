#include "gateway/detail/answer.hpp"

#include <utility>

#include "base/check.hpp"

namespace dlls::gateway::detail {

bool answer::may_begin() {
  base::check(!head_ || gone_, "a route answers once");
  return !gone_;
}

void answer::send(response whole) {
  if (!may_begin()) return;
  head_ = std::move(whole);
  ended_ = true;
  if (wake_) wake_();
}

void answer::send_content(response head, std::shared_ptr<content> body) {
  if (!may_begin()) return;
  head_ = std::move(head);
  body_ = std::move(body);
  ended_ = true;
  if (wake_) wake_();
}

void answer::start_events() {
  if (!may_begin()) return;
  head_ = response{200, "text/event-stream; charset=utf-8", {}, {}};
  streams_ = true;
  if (wake_) wake_();
}

void answer::event(std::string_view data) {
  if (gone_ || ended_) return;
  base::check(streams_, "events follow start_events");
  if (events_.size() + data.size() > backlog_bytes_max_) {
    overrun_ = true;
    go();
    return;
  }
  events_ += "data: ";
  events_ += data;
  events_ += "\n\n";
  if (wake_) wake_();
}

void answer::end() {
  if (gone_) return;
  ended_ = true;
  if (wake_) wake_();
}

void answer::when_gone(std::function<void()> tell) {
  if (gone_)
    tell();
  else
    when_gone_ = std::move(tell);
}

void answer::go() {
  if (std::exchange(gone_, true)) return;
  events_.clear();
  if (wake_) wake_();
  if (const auto tell = std::exchange(when_gone_, {}); tell && !ended_) tell();
}

void answer::detach() {
  wake_ = {};
  go();
  body_.reset();
}

}  // namespace dlls::gateway::detail
