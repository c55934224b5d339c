// One endpoint: its thread, its broker, and the table of its links. accept.cpp and dial.cpp bring
// links up; everything they share is here.
#pragma once
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "runtime/link/detail/broker.hpp"
#include "runtime/link/detail/conversation.hpp"
#include "runtime/link/endpoint.hpp"

namespace dlls::runtime::link::detail {

// What a listener needs for each of its peers.
struct listener {
  std::shared_ptr<SSL_CTX> context;
  std::shared_ptr<const tls_rules> rules;
  acceptor_events events;
  std::shared_ptr<const enrolment> join;  // may be null
};

class core : public std::enable_shared_from_this<core> {
 public:
  core(caf::actor_system& system, options opts);
  void start();
  void stop();

  base::result<std::uint16_t> listen(
      const std::string& address, std::uint16_t port, std::shared_ptr<const listener> what);
  void dial(
      dial_request request, std::function<void(base::result<linked>)> done,
      std::function<void(std::string)> on_closed);

  caf::actor_system& system() noexcept { return system_; }
  const options& opts() const noexcept { return opts_; }
  asio::io_context& io() noexcept { return *io_; }

  // Runs `what` on the endpoint's thread, after all that was posted before.
  template <class Function>
  void post(Function what) {
    if (thread_ended_)
      what();
    else
      asio::post(*io_, std::move(what));
  }

  // The same from any thread, at any time; nothing happens once the endpoint has ended.
  void post_from_outside(std::function<void()> what);

  // A link for a peer whose TLS handshake is done; an earlier one of the same name is closed.
  std::shared_ptr<link_state> adopt(const std::shared_ptr<session>& tls);
  void forget(const std::shared_ptr<link_state>& link);
  // Filled in but for `local`, `interface`, `linked` and `closed`.
  handover_ptr prepare(
      const std::shared_ptr<conversation>& talk, const std::shared_ptr<link_state>& link);
  // The socket goes to the broker. The deadline runs on until CAF's handshake is done.
  void hand_over(handover_ptr link, const std::shared_ptr<conversation>& talk);

  // Counts handshakes in progress, in all and for each address; false when there are too many.
  bool begin_handshake(const std::string& address);
  void end_handshake(const std::string& address);

 private:
  gate::verdict bind(const std::shared_ptr<link_state>& link, const caf::node_id& node);
  void order_close(std::uint64_t epoch);

  caf::actor_system& system_;
  const options opts_;
  const std::shared_ptr<const gate_rules::texts> allowed_;
  std::unique_ptr<asio::io_context> io_;
  std::optional<asio::executor_work_guard<asio::io_context::executor_type>> work_;
  std::thread thread_;
  std::atomic<bool> thread_ended_{false};
  std::vector<std::shared_ptr<tcp::acceptor>> acceptors_;  // endpoint's thread
  // Both on the endpoint's thread.
  std::size_t handshakes_ = 0;
  std::map<std::string, std::size_t> handshakes_from_;

  std::mutex mutex_;
  caf::actor broker_;  // null once stopped
  std::map<peer_identity, std::shared_ptr<link_state>> links_;
};

}  // namespace dlls::runtime::link::detail
