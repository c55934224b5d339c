// CAF's view of one link's socket: decrypts, passes what comes in through the gate, and looks at
// every frame on its way out. Parts of streams give way to everything else: they wait here, and
// only one at a time is handed to the socket, whose buffer is kept short (send_buffer.hpp), so that
// a message waits for little more than the part that is being sent. Lives on the multiplexer
// thread.
#pragma once
#include <caf/io/network/default_multiplexer.hpp>
#include <caf/io/network/stream_impl.hpp>
#include <caf/io/scribe.hpp>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "runtime/link/detail/bulk_lane.hpp"
#include "runtime/link/detail/gate.hpp"
#include "runtime/link/detail/link_state.hpp"
#include "runtime/link/detail/send_buffer.hpp"
#include "runtime/link/detail/tls.hpp"

namespace dlls::runtime::link::detail {

// What caf::io::network::stream_impl asks of its transport.
class tls_policy {
 public:
  explicit tls_policy(std::shared_ptr<session> tls) : tls_(std::move(tls)) {}
  caf::io::network::rw_state read_some(
      std::size_t& size, caf::io::network::native_socket, void* into, std::size_t size_max);
  caf::io::network::rw_state write_some(
      std::size_t& size, caf::io::network::native_socket, const void* from, std::size_t size_max);
  bool must_read_more(caf::io::network::native_socket, std::size_t) const {
    return tls_->has_pending();
  }

 private:
  std::shared_ptr<session> tls_;
};

struct scribe_options {
  std::size_t frame_bytes_max = 0;
  std::size_t unsent_bytes_max = 0;
  int user_timeout_ms = 0;
};

class tls_scribe final : public caf::io::scribe {
 public:
  // Takes over the session's socket.
  tls_scribe(
      caf::io::network::default_multiplexer& multiplexer, std::shared_ptr<session> tls,
      std::shared_ptr<link_state> state, std::shared_ptr<gate> gate, scribe_options options);
  ~tls_scribe() override;

  // Numbers of our own, never descriptors: what CAF still does to a closed handle cannot hit a new
  // connection that got the same descriptor.
  static caf::io::connection_handle handle_of(std::uint64_t epoch);

  void configure_read(caf::io::receive_policy::config config) override;
  void ack_writes(bool) override {}  // always on, see data_transferred
  std::vector<char>& wr_buf() override { return outgoing_; }
  std::vector<char>& rd_buf() override { return stream_.rd_buf(); }
  void flush() override;
  void graceful_shutdown() override;
  std::string addr() const override;
  std::uint16_t port() const override;
  void add_to_loop() override { stream_.activate(this); }
  void remove_from_loop() override { stream_.passivate(); }
  bool consume(caf::execution_unit* context, const void* bytes, std::size_t size) override;
  // Whenever nothing else waits, the next frame of the bulk lane goes out.
  void data_transferred(caf::execution_unit*, std::size_t written, std::size_t rest) override;

 protected:
  caf::message detach_message() override;

 private:
  // Moves what may go out to the stream; false when the link has to end.
  bool pass_outgoing();
  void answer_oversize(const frame_header& header);
  bool is_after_the_end(const frame_header& header, std::span<const std::byte> payload);
  void send(std::span<const char> frame);
  void send_next_bulk();
  void arm_user_timeout();
  void disarm_user_timeout();

  std::shared_ptr<session> tls_;
  std::shared_ptr<link_state> state_;
  std::shared_ptr<gate> gate_;
  scribe_options options_;
  caf::io::network::stream_impl<tls_policy> stream_;
  std::vector<char> outgoing_;  // whole frames that CAF has written and not flushed
  bulk_lane bulk_;
  send_buffer buffer_;
  std::set<std::pair<std::uint64_t, std::uint64_t>> ended_early_;  // (subscriber, call)
  bool writing_ = false;  // the stream holds bytes that the socket has not taken
  std::string why_;       // the gate's verdict
  bool started_ = false;
  bool armed_ = false;
};

}  // namespace dlls::runtime::link::detail
