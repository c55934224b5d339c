// The HTTP server: OpenAI's contract and DLLS's own routes (docs/http-api.md) over a backend.
#pragma once
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "base/clock.hpp"
#include "base/error.hpp"
#include "gateway/backend.hpp"

namespace dlls::gateway {

// Every limit of the HTTP side, with unit and reason; defaults suit half a gigabyte of memory.
struct server_limits {
  std::size_t header_bytes_max = 16u << 10;
  // A chat or job body. A prompt must fit a frame of the link.
  std::size_t json_bytes_max = 512u << 10;
  // The file, plus the multipart framing around it.
  std::uint64_t upload_bytes_max = (512ull << 20) + (64u << 10);
  // Bytes queued for a client that reads slowly, before it is cut off.
  std::size_t stream_backlog_bytes_max = 256u << 10;
  std::size_t connections_max = 256;
  std::size_t connections_per_address_max = 64;
  std::size_t requests_per_connection_max = 10'000;
  std::chrono::milliseconds tls_handshake{5'000};
  std::chrono::milliseconds header{10'000};  // from the first byte of a request to its last header
  std::chrono::milliseconds body_idle{30'000};
  // After the first `body_idle`, a body slower than this on average is cut off.
  std::uint64_t body_bytes_per_s_min = 1024;
  std::chrono::milliseconds keep_alive{75'000};  // between requests
  std::chrono::milliseconds write_stall{30'000};
  std::chrono::milliseconds event_stream_ping{
      15'000};  // a comment line to the watcher, not the link
  // A backend that doesn't answer: 504. Generations and transfers are exempt.
  std::chrono::milliseconds backend_answer{60'000};
};

struct server_options {
  std::string address = "127.0.0.1";  // an IP address; anything but loopback needs TLS or a proxy
  std::uint16_t port = 8080;          // 0: the system picks one, see port()
  // Both or neither; PEM. With them the server speaks TLS 1.2 or newer, and nothing else.
  std::filesystem::path certificate_file, key_file;
  // A reverse proxy ends TLS on this machine or network: plain HTTP on any address, and the
  // client's address for throttling is the last entry of X-Forwarded-For.
  bool behind_proxy = false;
  server_limits limits;
  const base::clock* clock = &base::system_clock();  // stamps and throttles; outlives the server
};

// Owns one thread, on which it calls the backend. Construct and destroy anywhere but there.
class http_server {
 public:
  // Binds, listens and serves. invalid_argument: not an IP address; permission_denied: the address
  // isn't loopback and there is neither TLS nor a proxy; already_exists: the port is in use;
  // not_found or corrupt: the certificate or key.
  static base::result<std::unique_ptr<http_server>> start(
      server_options options, std::shared_ptr<backend> to);
  // As stop().
  ~http_server();
  http_server(const http_server&) = delete;
  http_server& operator=(const http_server&) = delete;

  std::uint16_t port() const noexcept;
  // "http://127.0.0.1:8080"
  std::string url() const;
  std::size_t connections() const noexcept;

  // Stops accepting, lets requests in flight finish for `grace`, then cancels them and closes.
  // Blocks; idempotent. Afterwards the backend is called no more and its reference is dropped;
  // late replies are harmless.
  void stop(std::chrono::milliseconds grace = std::chrono::milliseconds{2'000});

 private:
  class state;
  explicit http_server(std::unique_ptr<state> s);
  std::unique_ptr<state> state_;
};

}  // namespace dlls::gateway
