// One established link to one peer, as the rest of the program holds it.
#pragma once
#include <caf/node_id.hpp>
#include <cstdint>
#include <memory>
#include <string>

#include "runtime/link/identity.hpp"

namespace dlls::runtime::link {

// Counted since the connection was made, its handshake included.
struct traffic {
  std::uint64_t bytes_in = 0;  // TLS on the wire; TCP and IP headers come on top (52 B a packet)
  std::uint64_t bytes_out = 0;
  std::uint64_t packets_in = 0;  // TCP segments, acknowledgements included (TCP_INFO)
  std::uint64_t packets_out = 0;
  std::uint64_t frames_in = 0;  // BASP frames: messages, and CAF's own notices
  std::uint64_t frames_out = 0;
};

// Shared between its endpoint and whoever asks; thread-safe throughout. Holding one keeps no socket
// open and no endpoint alive: a closed connection stays closed, a new one is another object.
class connection {
 public:
  virtual ~connection() = default;

  // Rises with every connection made in this process: which of two is the later one. What a peer
  // said over an older epoch is stale.
  virtual std::uint64_t epoch() const noexcept = 0;
  // For logs: "node/gpu0#7".
  virtual std::string id() const = 0;
  // By the certificate, so never what the peer claims.
  virtual const peer_identity& peer() const noexcept = 0;
  // SHA-256 of the peer's certificate (DER), 64 hexadecimal digits.
  virtual const std::string& fingerprint() const noexcept = 0;
  // The peer's CAF node, bound to its certificate; empty until its CAF handshake has come in, which
  // is before any message of it.
  virtual caf::node_id node() const = 0;
  virtual link::traffic traffic() const = 0;
  virtual bool is_open() const noexcept = 0;
  // What has been written is still sent. Idempotent; returns at once. The proxies of the peer go
  // down, and every request that waits for an answer of it fails, before `closed` is reported.
  virtual void close(std::string reason) = 0;
};

using connection_ptr = std::shared_ptr<connection>;

}  // namespace dlls::runtime::link
