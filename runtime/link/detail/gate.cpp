#include "runtime/link/detail/gate.hpp"

#include <fmt/core.h>

#include <caf/binary_deserializer.hpp>
#include <caf/error.hpp>
#include <caf/message_id.hpp>
#include <string_view>

namespace dlls::runtime::link::detail {

using runtime::window_max;
using runtime::detail::call_kind;

namespace {

// A node id and a handful of interface signatures; the largest has no reason to come near.
constexpr std::size_t handshake_bytes_max = 64u << 10;
// A node id twice, and an error with a text.
constexpr std::size_t notice_bytes_max = 4u << 10;

constexpr std::string_view error_answer = "@<>+@error";

// Contexts that an error may have: none, CAF's own text, what to_caf() adds.
bool is_harmless_context(std::string_view signature) {
  return signature == "@<>" || signature == "@<>+@str" || signature == "@<>+@str+@str" ||
         signature == "@<>+@str+@str+@str+@u32";
}

class reader {
 public:
  explicit reader(std::span<const std::byte> bytes) : rest_(bytes) {}

  bool skip(std::size_t count) {
    if (count > rest_.size()) return false;
    rest_ = rest_.subspan(count);
    return true;
  }
  std::optional<std::uint64_t> fixed(std::size_t count) {
    if (count > rest_.size()) return std::nullopt;
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < count; ++i)
      value = value << 8 | std::to_integer<std::uint64_t>(rest_[i]);
    skip(count);
    return value;
  }
  // CAF writes lengths in groups of seven bits, the lowest first.
  std::optional<std::uint64_t> varint() {
    std::uint64_t value = 0;
    for (unsigned shift = 0; shift < 35; shift += 7) {
      const auto group = fixed(1);
      if (!group) return std::nullopt;
      value |= (*group & 0x7F) << shift;
      if (!(*group & 0x80)) return value;
    }
    return std::nullopt;
  }
  std::optional<std::string_view> text() {
    const auto size = varint();
    if (!size || *size > rest_.size()) return std::nullopt;
    const std::string_view found{
        reinterpret_cast<const char*>(rest_.data()), static_cast<std::size_t>(*size)};
    skip(found.size());
    return found;
  }
  std::span<const std::byte> rest() const { return rest_; }
  // What stands in front of a message's elements.
  std::optional<std::string_view> signature() {
    if (fixed(2) != std::uint64_t{0}) return std::nullopt;
    return text();
  }

 private:
  std::span<const std::byte> rest_;
};

// An error is a code, a category and a message; the message could be anything, errors within
// errors included, and is deserialised by recursion.
gate::verdict check_error(reader at) {
  if (!at.skip(1 + 8)) return "a truncated error";
  const auto context = at.signature();
  if (!context || !is_harmless_context(*context)) return "an error with an unlisted context";
  return std::nullopt;
}

}  // namespace

frame_header frame_header::read(std::span<const std::byte, bytes> from) noexcept {
  const auto number = [&](std::size_t offset, std::size_t count) {
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < count; ++i)
      value = value << 8 | std::to_integer<std::uint64_t>(from[offset + i]);
    return value;
  };
  frame_header h;
  h.op = static_cast<operation>(number(0, 1));
  h.padding = static_cast<std::uint16_t>(number(1, 2));
  h.flags = static_cast<std::uint8_t>(number(3, 1));
  h.payload_bytes = static_cast<std::uint32_t>(number(4, 4));
  h.data = number(8, 8);
  h.source = number(16, 8);
  h.destination = number(24, 8);
  return h;
}

std::uint64_t frame_header::request_id() const noexcept {
  return data & caf::message_id::request_id_mask;
}

gate::gate(
    gate_limits limits, std::shared_ptr<const gate_rules::texts> allowed, bool server,
    caf::node_id own, std::uint64_t exported, std::function<verdict(const caf::node_id&)> bind)
    : limits_(limits),
      allowed_(std::move(allowed)),
      server_(server),
      own_(std::move(own)),
      exported_(exported),
      bind_(std::move(bind)) {}

gate::verdict gate::incoming(caf::execution_unit* context, std::span<const std::byte> bytes) {
  if (awaits_payload_) {
    awaits_payload_ = false;
    if (bytes.size() != current_.payload_bytes) return "a payload of another length";
    return payload(context, bytes);
  }
  if (bytes.size() != frame_header::bytes) return "a header of another length";
  current_ = frame_header::read(bytes.first<frame_header::bytes>());
  auto refused = header(current_);
  awaits_payload_ = !refused && current_.payload_bytes > 0;
  return refused;
}

gate::verdict gate::header(const frame_header& h) {
  const bool is_handshake =
      h.op == operation::server_handshake || h.op == operation::client_handshake;
  const bool is_message = h.op == operation::direct_message;
  const auto bytes_max = is_message     ? limits_.frame_bytes_max
                         : is_handshake ? handshake_bytes_max
                                        : notice_bytes_max;
  if (h.padding != 0) return "non-zero padding";
  if (!bound_ && !is_handshake) return "a frame before the handshake";
  if (h.payload_bytes > bytes_max)
    return fmt::format("a frame of {} bytes, {} are allowed", h.payload_bytes, bytes_max);
  if (h.op != operation::heartbeat && h.payload_bytes == 0) return "a frame without its payload";
  switch (h.op) {
    case operation::server_handshake:
      if (server_ || ++handshakes_ > 1) return "an unexpected server handshake";
      return std::nullopt;
    case operation::client_handshake:
      // CAF 0.17.6 may send it twice.
      if (!server_ || ++handshakes_ > 2) return "an unexpected client handshake";
      return std::nullopt;
    case operation::direct_message:
      return message_header(h);
    case operation::routed_message:
      return "a message routed for another node";
    case operation::monitor_message:
      if (h.destination != exported_ && !known_actors_.contains(h.destination))
        return "a monitor on an actor that is not exported";
      return std::nullopt;
    case operation::down_message:
      remote_actors_.erase(h.source);
      return std::nullopt;
    case operation::heartbeat:
      if (h.payload_bytes != 0) return "a heartbeat with a payload";
      return std::nullopt;
  }
  return fmt::format("an unknown operation, {}", static_cast<int>(h.op));
}

gate::verdict gate::message_header(const frame_header& h) {
  if (h.flags != 0) return "a receiver addressed by name";
  // CAF sorts by these bits of the id, and takes what stands under the others for its own streams.
  const caf::message_id id = caf::make_message_id(h.data);
  if (id.category() > caf::message_id::normal_message_category || id.is_answered())
    return "a message id of a strange category";
  if (h.is_order() && (h.source == 0 || h.call().number() == 0)) return "an order about no call";
  if (h.source != 0 && remote_actors_.insert(h.source).second &&
      remote_actors_.size() > limits_.remote_actors_max)
    return fmt::format("more than {} actors that write to us", limits_.remote_actors_max);
  if (h.is_response() && !h.is_order()) {
    if (!open_requests_.contains({h.destination, h.request_id()}))
      return "an answer to no request of ours";
    return std::nullopt;
  }
  if (exported_ == 0 || h.destination != exported_) return "a receiver that is not exported";
  if (h.is_request()) return request_header(h);
  return std::nullopt;
}

gate::verdict gate::request_header(const frame_header& h) {
  const auto kind = h.call().kind();
  if (h.call().is_ours() && kind != call_kind::call && kind != call_kind::stream)
    return "a request of an unknown kind";
  if (!peer_requests_.emplace(peer_call(h.source, h), 0).second)
    return "a request under the number of one that is not answered";
  if (peer_requests_.size() > limits_.peer_requests_max)
    return fmt::format("more than {} requests at a time", limits_.peer_requests_max);
  return std::nullopt;
}

// Cancels, or grants. One that comes after the answer is allowed, and means nothing.
gate::verdict gate::order(std::span<const std::byte> content, std::string_view signature) {
  if (signature == "@<>") return std::nullopt;
  if (signature != "@<>+@u32") return "an order that neither cancels nor grants";
  const auto parts = reader{content}.fixed(sizeof(std::uint32_t));
  if (!parts) return "a truncated order";
  const auto found = peer_requests_.find(peer_call(current_.source, current_));
  if (found == peer_requests_.end()) return std::nullopt;
  found->second += *parts;
  peer_credit_ += *parts;
  if (found->second > window_max || peer_credit_ > limits_.peer_credit_max)
    return "more parts granted than may be under way";
  return std::nullopt;
}

bool gate::is_part(const frame_header& h, std::string_view signature) const {
  return h.call().is_ours() && h.call().kind() == call_kind::stream &&
         allowed_->parts.contains(signature);
}

gate::verdict gate::payload(caf::execution_unit* context, std::span<const std::byte> bytes) {
  caf::binary_deserializer source{
      context, reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  switch (current_.op) {
    case operation::server_handshake:
    case operation::client_handshake: {
      caf::node_id node;
      if (source(node)) return "a malformed handshake";
      return handshake(node);
    }
    case operation::monitor_message:
    case operation::down_message: {
      caf::node_id from, to;
      if (source(from, to) || from != peer_ || to != own_) return "a notice for another node";
      if (current_.op == operation::monitor_message) return std::nullopt;
      return check_error(reader{bytes.last(source.remaining())});
    }
    default:
      return message(bytes);
  }
}

gate::verdict gate::handshake(const caf::node_id& node) {
  if (!node || node == own_) return "a handshake without a node id of its own";
  if (bound_) {
    if (node != peer_) return "a second handshake with another node id";
    return std::nullopt;
  }
  if (auto refused = bind_(node)) return refused;
  peer_ = node;
  bound_ = true;
  return std::nullopt;
}

gate::verdict gate::message(std::span<const std::byte> bytes) {
  reader at{bytes};
  if (at.varint() != std::uint64_t{0}) return "a message with forwarding stages";
  const auto signature = at.signature();
  if (!signature) return "a malformed message";
  if (current_.is_order()) return order(at.rest(), *signature);
  if (current_.is_response()) {
    if (is_part(current_, *signature)) return std::nullopt;  // more follows: it stays open
    open_requests_.erase({current_.destination, current_.request_id()});
    if (*signature == error_answer) return check_error(at);
    if (*signature == "@<>" || *signature == "@<>+@unit") return std::nullopt;
  }
  const auto& listed = current_.is_response() ? allowed_->answers : allowed_->messages;
  if (listed.contains(*signature)) return std::nullopt;
  constexpr std::size_t shown_max = 200;
  return fmt::format("a message of unlisted type {}", signature->substr(0, shown_max));
}

bool gate::is_part(const frame_header& h, std::span<const std::byte> payload) const {
  reader at{payload};
  const bool plain = at.varint() == std::uint64_t{0};
  const auto signature = at.signature();
  return plain && signature && is_part(h, *signature);
}

void gate::answered(const frame_header& h, std::span<const std::byte> payload) {
  const auto found = peer_requests_.find(peer_call(h.destination, h));
  if (found == peer_requests_.end()) return;
  if (is_part(h, payload)) {
    if (found->second == 0) return;
    --found->second;
    --peer_credit_;
  } else {
    peer_credit_ -= found->second;
    peer_requests_.erase(found);
  }
}

gate::verdict gate::outgoing(const frame_header& h, std::span<const std::byte> payload) {
  if (h.op == operation::direct_message && h.is_response() && !h.is_order()) answered(h, payload);
  if (h.op == operation::down_message) known_actors_.erase(h.source);
  if (h.op != operation::direct_message || h.source == 0) return std::nullopt;
  known_actors_.insert(h.source);
  if (!h.is_request()) return std::nullopt;
  open_requests_.insert_or_assign({h.source, h.request_id()}, h.data);
  if (open_requests_.size() > limits_.pending_requests_max)
    return fmt::format("more than {} requests without an answer", limits_.pending_requests_max);
  return std::nullopt;
}

std::vector<open_request> gate::take_open_requests() {
  std::vector<open_request> taken;
  taken.reserve(open_requests_.size());
  for (const auto& [key, message_id] : open_requests_) taken.push_back({key.first, message_id});
  open_requests_.clear();
  return taken;
}

}  // namespace dlls::runtime::link::detail
