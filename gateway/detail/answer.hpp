// The exchange of a real session: what a route has said so far, until the session writes it out.
#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "gateway/detail/exchange.hpp"
#include "gateway/detail/home.hpp"

namespace dlls::gateway::detail {

// Plain data: it may be destroyed on any thread, by whoever drops the last reply. Its state is
// touched on the HTTP thread only.
class answer final : public exchange {
 public:
  // `wake` is called whenever there is something new, until detach().
  answer(std::shared_ptr<home> to, std::size_t backlog_bytes_max, std::function<void()> wake)
      : home_(std::move(to)), backlog_bytes_max_(backlog_bytes_max), wake_(std::move(wake)) {}

  void post(std::function<void()> job) override { home_->post(std::move(job)); }
  void send(response whole) override;
  void send_content(response head, std::shared_ptr<content> body) override;
  void start_events() override;
  void event(std::string_view data) override;
  void end() override;
  void when_gone(std::function<void()> tell) override;

  // --- the session's side
  bool started() const { return head_.has_value(); }
  response& head() { return *head_; }
  const std::shared_ptr<content>& body() const { return body_; }
  bool streams() const { return streams_; }
  bool ended() const { return ended_; }
  bool gone() const { return gone_; }
  bool overrun() const { return overrun_; }
  std::string take_events() { return std::exchange(events_, {}); }
  bool has_events() const { return !events_.empty(); }
  // The client went away: tells the route once, and everything after is a no-op.
  void go();
  // The session is done with it, the answer complete or not; tells the route if it wasn't.
  void detach();

 private:
  bool may_begin();
  std::shared_ptr<home> home_;
  std::size_t backlog_bytes_max_;
  std::function<void()> wake_;
  std::function<void()> when_gone_;
  std::optional<response> head_;
  std::shared_ptr<content> body_;
  std::string events_;
  bool streams_ = false, ended_ = false, gone_ = false, overrun_ = false;
};

}  // namespace dlls::gateway::detail
