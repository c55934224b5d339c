#include "runtime/link/detail/scribe.hpp"

#include <fmt/core.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <caf/actor_registry.hpp>
#include <caf/actor_system.hpp>
#include <caf/callback.hpp>
#include <caf/io/abstract_broker.hpp>
#include <caf/io/basp/instance.hpp>
#include <caf/sec.hpp>

#include "base/check.hpp"
#include "base/log.hpp"
#include "runtime/link/detail/send_buffer.hpp"

namespace dlls::runtime::link::detail {

namespace net = caf::io::network;

net::rw_state tls_policy::read_some(
    std::size_t& size, net::native_socket, void* into, std::size_t size_max) {
  switch (tls_->read(into, size_max, size)) {
    case session::step::closed:
    case session::step::failed:
      return net::rw_state::failure;
    default:
      return net::rw_state::success;  // of no bytes, when it has to wait
  }
}

net::rw_state tls_policy::write_some(
    std::size_t& size, net::native_socket, const void* from, std::size_t size_max) {
  size = 0;
  if (size_max == 0) return net::rw_state::indeterminate;
  switch (tls_->write(from, size_max, size)) {
    case session::step::closed:
    case session::step::failed:
      return net::rw_state::failure;
    default:
      return net::rw_state::success;
  }
}

caf::io::connection_handle tls_scribe::handle_of(std::uint64_t epoch) {
  constexpr std::int64_t above_descriptors = std::int64_t{1} << 32;
  return caf::io::connection_handle::from_int(above_descriptors + static_cast<std::int64_t>(epoch));
}

tls_scribe::tls_scribe(
    net::default_multiplexer& multiplexer, std::shared_ptr<session> tls,
    std::shared_ptr<link_state> state, std::shared_ptr<gate> gate, scribe_options options)
    : scribe(handle_of(state->epoch())),
      tls_(std::move(tls)),
      state_(std::move(state)),
      gate_(std::move(gate)),
      options_(options),
      stream_(multiplexer, tls_->fd(), tls_) {
  tls_->read_ahead();
  stream_.ack_writes(true);
  keep_unsent_short(stream_.fd());
}

tls_scribe::~tls_scribe() { state_->retire_socket(); }

void tls_scribe::configure_read(caf::io::receive_policy::config config) {
  stream_.configure_read(config);
  if (started_) return;
  started_ = true;
  stream_.start(this);
}

bool tls_scribe::consume(caf::execution_unit* context, const void* bytes, std::size_t size) {
  if (detached()) return false;
  const auto verdict = gate_->incoming(context, {static_cast<const std::byte*>(bytes), size});
  if (verdict) {
    why_ = fmt::format("closed by the gate: {}", *verdict);
    ::shutdown(stream_.fd(), SHUT_RDWR);
    io_failure(context, net::operation::read);
    return false;
  }
  if (!gate_->awaits_payload()) {
    state_->count_frame_in();
    disarm_user_timeout();
  }
  return scribe::consume(context, bytes, size);
}

void tls_scribe::flush() {
  if (outgoing_.empty()) return;
  const bool goes_on = pass_outgoing();
  outgoing_.clear();
  if (!goes_on) {
    // The broker closes a link by message: this may be in the middle of its own turn.
    state_->close(why_);
    return;
  }
  if (!writing_) send_next_bulk();
  if (!writing_) return;
  arm_user_timeout();
  stream_.flush(this);
}

void tls_scribe::send(std::span<const char> frame) {
  auto& sent = stream_.wr_buf();
  sent.insert(sent.end(), frame.begin(), frame.end());
  state_->count_frame_out();
  writing_ = true;
}

void tls_scribe::send_next_bulk() {
  const auto next = bulk_.pop();
  if (!next) return;
  if (next->size() >= large_frame_bytes) buffer_.fit(stream_.fd());
  send(*next);
}

void tls_scribe::data_transferred(caf::execution_unit*, std::size_t, std::size_t rest) {
  if (rest > 0) return;
  writing_ = false;
  send_next_bulk();
  if (writing_) arm_user_timeout();
}

bool tls_scribe::pass_outgoing() {
  const auto all = std::as_bytes(std::span{outgoing_});
  bool goes_on = true;
  for (std::size_t at = 0; at < all.size();) {
    base::check(all.size() - at >= frame_header::bytes, "CAF flushes whole frames");
    const auto header = frame_header::read(all.subspan(at).first<frame_header::bytes>());
    const std::size_t size = frame_header::bytes + header.payload_bytes;
    base::check(all.size() - at >= size, "CAF flushes whole frames");
    const auto payload = all.subspan(at + frame_header::bytes, header.payload_bytes);
    if (is_after_the_end(header, payload)) {
      // dropped: the peer knows of no such call any more
    } else if (
        header.op == operation::direct_message && header.payload_bytes > options_.frame_bytes_max) {
      answer_oversize(header);
    } else if (const auto verdict = gate_->outgoing(header, payload)) {
      why_ = *verdict;  // what follows is still noted, so that its requests fail with the link
      goes_on = false;
    } else if (goes_on) {
      const auto frame = std::span<const char>{outgoing_}.subspan(at, size);
      if (!bulk_.take(header, frame)) send(frame);
    }
    at += size;
  }
  if (const auto waiting = bulk_.bytes() + stream_.wr_buf().size();
      goes_on && waiting > options_.unsent_bytes_max) {
    why_ = fmt::format("the peer takes nothing: {} bytes wait for it", waiting);
    goes_on = false;
  }
  return goes_on;
}

// A stream whose part was too large has ended there; its producer still has credit, and says its
// end when it has heard.
bool tls_scribe::is_after_the_end(const frame_header& header, std::span<const std::byte> payload) {
  if (ended_early_.empty() || !bulk_lane::is_of_stream(header)) return false;
  const auto found = ended_early_.find({header.destination, header.request_id()});
  if (found == ended_early_.end()) return false;
  const bool oversize = header.payload_bytes > options_.frame_bytes_max;
  if (!oversize && !gate_->is_part(header, payload)) ended_early_.erase(found);
  return true;
}

// A message that the peer's gate would close the link for. A request fails here; an answer becomes
// an error, so that whoever asked does not wait in vain.
void tls_scribe::answer_oversize(const frame_header& header) {
  const auto text = fmt::format(
      "a message of {} bytes is too large for the link, which carries {}", header.payload_bytes,
      options_.frame_bytes_max);
  base::log_warning("link", "{}: {}", state_->id(), text);
  const auto error = caf::make_error(caf::sec::invalid_argument, text);
  if (header.is_request()) {
    const auto asker = parent()->system().registry().get(header.source);
    const auto id = caf::make_message_id(header.data).response_id();
    if (asker) asker->enqueue(nullptr, id, caf::make_message(error), &stream_.backend());
  } else if (header.is_response()) {
    (void)gate_->outgoing(header, {});  // the error is this call's end
    caf::io::basp::header head{caf::io::basp::message_type::direct_message,
                               0,
                               0,
                               header.data,
                               header.source,
                               header.destination};
    const std::vector<caf::strong_actor_ptr> no_stages;
    auto message = caf::make_message(error);
    auto payload = caf::make_callback(
        [&](caf::serializer& sink) -> caf::error { return sink(no_stages, message); });
    std::vector<char> frame;
    caf::io::basp::instance::write(&stream_.backend(), frame, head, &payload);
    if (!bulk_.take(
            frame_header::read(std::as_bytes(std::span{frame}).first<frame_header::bytes>()),
            frame))
      send(frame);
    else
      ended_early_.insert({header.destination, header.request_id()});
  }
}

void tls_scribe::graceful_shutdown() {
  state_->ends("closed");
  bulk_ = {};  // what has been written is still sent, streams are cut
  stream_.graceful_shutdown();
  detach(&stream_.backend(), false);
}

caf::message tls_scribe::detach_message() {
  state_->ends(why_.empty() ? tls_->failure().message : why_);
  return scribe::detach_message();
}

std::string tls_scribe::addr() const {
  auto found = net::remote_addr_of_fd(stream_.fd());
  return found ? *found : std::string{};
}

std::uint16_t tls_scribe::port() const {
  auto found = net::remote_port_of_fd(stream_.fd());
  return found ? *found : std::uint16_t{0};
}

void tls_scribe::arm_user_timeout() {
  if (armed_) return;
  armed_ = true;
  set_user_timeout(stream_.fd(), options_.user_timeout_ms);
}

void tls_scribe::disarm_user_timeout() {
  if (!armed_) return;
  int unacknowledged = 0;
  if (::ioctl(stream_.fd(), SIOCOUTQ, &unacknowledged) != 0 || unacknowledged > 0) return;
  armed_ = false;
  set_user_timeout(stream_.fd(), 0);
}

}  // namespace dlls::runtime::link::detail
