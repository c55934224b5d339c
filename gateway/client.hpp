// A small blocking HTTP client for the command line: one server, one key, one request at a time.
#pragma once
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.hpp"

namespace dlls::gateway {

struct client_options {
  std::string base_url = "http://127.0.0.1:8080";  // http or https, no path
  std::string key;                                 // sent as a bearer; empty: none
  std::chrono::milliseconds connect_timeout{5'000};
  std::chrono::milliseconds idle_timeout{120'000};  // no byte for this long
  std::string ca_file;                              // for https; empty: the system's certificates
};

// Each call opens a connection, so one client may serve several threads. Paths start with "/".
// Results are the body of a 2xx. Any other status becomes the error that the server meant: the
// code by the status, the message from the envelope; no server: unavailable with a hint.
class client {
 public:
  explicit client(client_options options) : options_(std::move(options)) {}

  base::result<std::string> get(std::string_view path) const;
  base::result<std::string> del(std::string_view path) const;
  // `headers`: extra ones, such as Idempotency-Key.
  using header_list = std::vector<std::pair<std::string, std::string>>;
  base::result<std::string> post(
      std::string_view path, std::string_view json, const header_list& headers = {}) const;
  base::result<std::string> put(std::string_view path, std::string_view json) const;

  // POST /v1/files in pieces of 64 KiB; `progress(sent, total)` after each.
  using progress = std::function<void(std::uint64_t, std::uint64_t)>;
  base::result<std::string> upload(
      const std::filesystem::path& file, std::string_view purpose, const progress& tell = {}) const;

  // Passes the body on as it arrives; `take` returns false to stop (then: cancelled).
  using taker = std::function<bool(std::string_view bytes)>;
  base::result<> download(
      std::string_view path, const taker& take, const progress& tell = {}) const;

  // Server-sent events: `take` gets each event's data ("[DONE]" included) and returns false to
  // hang up, which is a success. POST with a body, GET without. An `error` object in the stream
  // becomes the error. `unavailable` when the stream breaks off before [DONE].
  base::result<> events(
      std::string_view path, std::string_view json_or_empty, const taker& take) const;

 private:
  client_options options_;
};

}  // namespace dlls::gateway
