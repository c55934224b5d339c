// The gate: what a peer may send, decided on bytes before CAF sees them. Pure but for CAF's
// deserialiser of node ids; one a link, on one thread (the multiplexer's).
//
// BASP (CAF 0.17): a frame is a header of 32 bytes, big-endian: operation u8, padding 2 x u8,
// flags u8, payload length u32, operation data u64 (a message id), source actor u64, destination
// actor u64; then the payload. A message's payload: forwarding stages (varint count), u16 0, the
// signature (varint length, text), the elements.
#pragma once
#include <caf/fwd.hpp>
#include <caf/node_id.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "runtime/detail/call_id.hpp"
#include "runtime/link/gate_rules.hpp"

namespace dlls::runtime::link::detail {

// BASP's operations by number.
enum class operation : std::uint8_t {
  server_handshake = 0,
  client_handshake = 1,
  direct_message = 2,
  routed_message = 3,
  monitor_message = 4,
  down_message = 5,
  heartbeat = 6,
};

struct frame_header {
  operation op{};
  std::uint16_t padding = 0;
  std::uint8_t flags = 0;
  std::uint32_t payload_bytes = 0;
  std::uint64_t data = 0;
  std::uint64_t source = 0;
  std::uint64_t destination = 0;

  static constexpr std::size_t bytes = 32;
  static frame_header read(std::span<const std::byte, bytes> from) noexcept;
  bool is_response() const noexcept { return data >> 63; }
  bool is_request() const noexcept { return !is_response() && request_id() != 0; }
  std::uint64_t request_id() const noexcept;
  // The same as our runtime reads it.
  runtime::detail::call_id call() const noexcept { return runtime::detail::call_id{request_id()}; }
  // About a call that runs: its asker cancels it, or grants it credit.
  bool is_order() const noexcept {
    return is_response() && call().is_ours() && call().kind() == runtime::detail::call_kind::order;
  }
};

struct gate_limits {
  std::size_t frame_bytes_max = 0;
  std::size_t remote_actors_max = 0;
  std::size_t pending_requests_max = 0;
  std::size_t peer_requests_max = 0;
  std::size_t peer_credit_max = 0;
};

// A request of ours that has no answer yet.
struct open_request {
  std::uint64_t actor = 0;
  std::uint64_t message_id = 0;  // as CAF wrote it
};

class gate {
 public:
  // The reason to close the link, for people; nothing when the bytes may pass.
  using verdict = std::optional<std::string>;

  // `own` is the local node. `exported` is the one local actor that the peer may address (0: none).
  // `bind` decides whether this peer may be that node; it is asked once, before any message.
  gate(
      gate_limits limits, std::shared_ptr<const gate_rules::texts> allowed, bool server,
      caf::node_id own, std::uint64_t exported, std::function<verdict(const caf::node_id&)> bind);

  // Bytes from the peer, as BASP reads them: a header, then its payload if it has one.
  verdict incoming(caf::execution_unit* context, std::span<const std::byte> bytes);
  // A whole frame of ours on its way out, its header read. A verdict means that the peer owes too
  // many answers.
  verdict outgoing(const frame_header& header, std::span<const std::byte> payload);

  // Whether a frame of ours is a part of a stream, and not its end.
  bool is_part(const frame_header& header, std::span<const std::byte> payload) const;

  bool awaits_payload() const noexcept { return awaits_payload_; }
  bool is_bound() const noexcept { return bound_; }
  std::vector<open_request> take_open_requests();

 private:
  verdict header(const frame_header& h);
  verdict message_header(const frame_header& h);
  verdict request_header(const frame_header& h);
  verdict order(std::span<const std::byte> content, std::string_view signature);
  bool is_part(const frame_header& h, std::string_view signature) const;
  void answered(const frame_header& h, std::span<const std::byte> payload);
  verdict payload(caf::execution_unit* context, std::span<const std::byte> bytes);
  verdict handshake(const caf::node_id& node);
  verdict message(std::span<const std::byte> bytes);

  gate_limits limits_;
  std::shared_ptr<const gate_rules::texts> allowed_;
  bool server_;
  caf::node_id own_;
  std::uint64_t exported_;
  std::function<verdict(const caf::node_id&)> bind_;

  frame_header current_;
  bool awaits_payload_ = false;
  bool bound_ = false;
  int handshakes_ = 0;
  caf::node_id peer_;
  std::unordered_set<std::uint64_t> remote_actors_;  // have written to us, and live
  std::unordered_set<std::uint64_t> known_actors_;   // ours that have written to the peer, and live

  struct hash {
    std::size_t operator()(const std::pair<std::uint64_t, std::uint64_t>& x) const noexcept {
      return (x.first * 0x9E3779B97F4A7C15u) ^ x.second;
    }
  };
  using call_key = std::pair<std::uint64_t, std::uint64_t>;          // actor, request id
  std::unordered_map<call_key, std::uint64_t, hash> open_requests_;  // -> the message id

  // What the peer has asked and we have not answered: (its actor, our call's number, or the request
  // id of others) -> the parts it has granted and not got.
  static call_key peer_call(std::uint64_t actor, const frame_header& h) noexcept {
    // CAF counts its own ids from 1, as we do our numbers.
    constexpr std::uint64_t ours = std::uint64_t{1} << 63;
    return {actor, h.call().is_ours() ? h.call().number() | ours : h.request_id()};
  }
  std::unordered_map<call_key, std::uint64_t, hash> peer_requests_;
  std::uint64_t peer_credit_ = 0;  // over all of them
};

}  // namespace dlls::runtime::link::detail
