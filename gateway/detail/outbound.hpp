// Outgoing HTTP for the webhook sender and the command line's client: one blocking connection, one
// request, an answer read in pieces, a deadline on everything.
#pragma once
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "gateway/detail/text.hpp"

namespace dlls::gateway::detail {

// The addresses of a host as text ("192.0.2.1", "2001:db8::1"), in the resolver's order, at least
// one. unavailable: the name has none, or resolving failed. Blocks as long as the system's resolver
// does.
base::result<std::vector<std::string>> resolve(const std::string& host);

struct answer_head {
  unsigned status = 0;
  std::string retry_after;
  std::optional<std::uint64_t> content_length;
};

// One thread. Errors: deadline_exceeded; unavailable when the other side refuses, breaks off or
// isn't who its certificate should say; corrupt when it doesn't speak HTTP.
class outbound {
 public:
  using time_point = std::chrono::steady_clock::time_point;
  // Connects to the first of `addresses` that answers. With TLS the certificate must be valid for
  // `to.host`. `ca_file` empty: the system's.
  static base::result<std::unique_ptr<outbound>> connect(
      const url& to, const std::vector<std::string>& addresses, const std::string& ca_file,
      time_point deadline);
  ~outbound();

  // For everything that follows.
  void set_deadline(time_point deadline);
  base::result<> write(std::string_view bytes);
  // Call once, after the request. Interim (1xx) answers are skipped.
  base::result<answer_head> read_head();
  // The next piece of the body, decoded; empty at its end.
  base::result<std::string> read_body();

 private:
  class state;
  explicit outbound(std::unique_ptr<state> s);
  std::unique_ptr<state> state_;
};

}  // namespace dlls::gateway::detail
