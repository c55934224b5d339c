#include "gateway/client.hpp"

#include <fcntl.h>
#include <fmt/core.h>

#include <algorithm>
#include <array>

#include "base/file.hpp"
#include "base/random.hpp"
#include "gateway/detail/outbound.hpp"
#include "gateway/json_document.hpp"

namespace dlls::gateway {
namespace {

using std::chrono::steady_clock;

constexpr std::size_t piece_bytes = 64u << 10;
// An answer that is collected; downloads and events are not.
constexpr std::size_t answer_bytes_max = 64u << 20;
constexpr std::size_t error_bytes_max = 64u << 10;
constexpr std::size_t event_bytes_max = 16u << 20;

base::errc code_of(unsigned status, std::string_view code) {
  using base::errc;
  switch (status) {
    case 401:
      return errc::unauthenticated;
    case 403:
      return errc::permission_denied;
    case 404:
      return errc::not_found;
    case 408:
    case 504:
      return errc::deadline_exceeded;
    case 409:
      if (code == "already_exists") return errc::already_exists;
      if (code == "stale") return errc::stale;
      return code == "cancelled" ? errc::cancelled : errc::failed_precondition;
    case 429:
      return errc::resource_exhausted;
    case 503:
      return errc::unavailable;
    case 507:
      return errc::storage_full;
    default:
      break;
  }
  if (code == "context_length_exceeded") return errc::too_long;
  if (status / 100 == 4) return code == "unsupported" ? errc::unsupported : errc::invalid_argument;
  return errc::internal;
}

// In a stream there is no status: the envelope's code has to do (gateway/detail/errors.cpp).
unsigned status_of(std::string_view code) {
  constexpr std::array<std::pair<std::string_view, unsigned>, 9> known{
      {{"invalid_value", 400},
       {"unsupported", 400},
       {"context_length_exceeded", 400},
       {"model_not_found", 404},
       {"not_found", 404},
       {"rate_limit_exceeded", 429},
       {"unavailable", 503},
       {"timeout", 504},
       {"storage_full", 507}}};
  for (const auto& [name, status] : known)
    if (code == name) return status;
  return code == "cancelled" || code == "wrong_state" ? 409 : 500;
}

base::error error_of(unsigned status, std::string_view body) {
  const auto parsed = json_document::parse(body);
  const auto text = [&](std::string_view member) -> std::string {
    return parsed ? parsed->text(member).value_or("") : "";
  };
  auto message = text("/error/message");
  if (message.empty()) message = fmt::format("the server answered with status {}", status);
  base::error out{code_of(status, text("/error/code")), std::move(message)};
  if (status == 401)
    out.hint =
        "give the key that the coordinator showed at its first start; if it is lost, start the "
        "coordinator once with --make-key";
  return out;
}

base::error stream_error(std::string_view data) {
  const auto parsed = json_document::parse(data);
  return error_of(status_of(parsed ? parsed->text("/error/code").value_or("") : ""), data);
}

// Nothing that could end a header line.
bool is_clean(std::string_view text) {
  return std::none_of(text.begin(), text.end(), [](char c) {
    const auto u = static_cast<unsigned char>(c);
    return u < 0x20 || u == 0x7f;
  });
}

// One request under way. Every step gets the idle timeout anew.
class call {
 public:
  static base::result<call> open(const client_options& options) {
    const auto where = detail::parse_url(options.base_url);
    if (!where) return where.error();
    const auto addresses = detail::resolve(where->host);
    if (!addresses) return addresses.error();
    auto made = detail::outbound::connect(
        *where, *addresses, options.ca_file, steady_clock::now() + options.connect_timeout);
    if (!made) {
      auto why = made.error();
      why.hint = "is the coordinator running, and is this its address?";
      return why;
    }
    return call{options, where->host_field(), *std::move(made)};
  }

  base::result<> send_head(
      std::string_view method, std::string_view path, const client::header_list& headers,
      std::uint64_t body_bytes) {
    bool clean = is_clean(path) && is_clean(options_->key);
    for (const auto& [name, value] : headers) clean = clean && is_clean(name) && is_clean(value);
    if (!clean || path.find(' ') != std::string_view::npos)
      return base::error{
          base::errc::invalid_argument,
          "a key, path or header must not hold line breaks or control characters",
          "a key read from a file may end in a line break"};
    auto head = fmt::format(
        "{} {} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\ncontent-length: {}\r\n", method, path,
        host_, body_bytes);
    if (!options_->key.empty()) head += fmt::format("authorization: Bearer {}\r\n", options_->key);
    for (const auto& [name, value] : headers) head += fmt::format("{}: {}\r\n", name, value);
    return write(head + "\r\n");
  }

  base::result<> write(std::string_view bytes) {
    renew();
    return connection_->write(bytes);
  }

  // The head of a 2xx; any other status as its error.
  base::result<detail::answer_head> read_head() {
    renew();
    auto head = connection_->read_head();
    if (!head || head->status / 100 == 2) return head;
    const auto body = read_all(error_bytes_max);
    return error_of(head->status, body ? *body : std::string_view{});
  }

  base::result<std::string> read_piece() {
    renew();
    return connection_->read_body();
  }

  base::result<std::string> read_all(std::size_t bytes_max) {
    std::string whole;
    for (;;) {
      const auto piece = read_piece();
      if (!piece) return piece.error();
      if (piece->empty()) return whole;
      whole += *piece;
      if (whole.size() > bytes_max)
        return base::error{base::errc::resource_exhausted, "the server's answer is too large"};
    }
  }

 private:
  call(const client_options& options, std::string host, std::unique_ptr<detail::outbound> made)
      : options_(&options), host_(std::move(host)), connection_(std::move(made)) {}
  void renew() { connection_->set_deadline(steady_clock::now() + options_->idle_timeout); }

  const client_options* options_;
  std::string host_;
  std::unique_ptr<detail::outbound> connection_;
};

base::result<std::string> simple(
    const client_options& options, std::string_view method, std::string_view path,
    std::string_view json, client::header_list headers) {
  auto opened = call::open(options);
  if (!opened) return opened.error();
  if (!json.empty()) headers.emplace_back("content-type", "application/json");
  if (const auto ok = opened->send_head(method, path, headers, json.size()); !ok) return ok.error();
  if (const auto ok = opened->write(json); !ok) return ok.error();
  const auto head = opened->read_head();
  if (!head) return head.error();
  return opened->read_all(answer_bytes_max);
}

// Takes the next event's data off the front of `text`; none when it is not complete. Comments and
// other fields are skipped (WHATWG HTML, 9.2.6).
std::optional<std::string> next_event(std::string& text) {
  for (;;) {
    const auto end = text.find("\n\n");
    if (end == std::string::npos) return std::nullopt;
    const auto block = text.substr(0, end + 1);
    text.erase(0, end + 2);
    std::string data;
    bool any = false;
    for (std::size_t at = 0; at < block.size();) {
      const auto line_end = block.find('\n', at);
      auto line = std::string_view{block}.substr(at, line_end - at);
      at = line_end + 1;
      if (!line.starts_with("data:")) continue;
      line.remove_prefix(line.starts_with("data: ") ? 6 : 5);
      if (std::exchange(any, true)) data += '\n';
      data += line;
    }
    if (any) return data;
  }
}

}  // namespace

base::result<std::string> client::get(std::string_view path) const {
  return simple(options_, "GET", path, "", {});
}
base::result<std::string> client::del(std::string_view path) const {
  return simple(options_, "DELETE", path, "", {});
}
base::result<std::string> client::post(
    std::string_view path, std::string_view json, const header_list& headers) const {
  return simple(options_, "POST", path, json, headers);
}
base::result<std::string> client::put(std::string_view path, std::string_view json) const {
  return simple(options_, "PUT", path, json, {});
}

base::result<std::string> client::upload(
    const std::filesystem::path& file, std::string_view purpose, const progress& tell) const {
  const base::unique_fd fd{::open(file.c_str(), O_RDONLY | O_CLOEXEC)};
  if (!fd) return base::errno_error("open " + file.string());
  std::error_code ec;
  const auto size = std::filesystem::file_size(file, ec);
  if (ec) return base::error{base::errc::io, file.string() + ": " + ec.message()};
  auto label = file.filename().string();
  for (auto& c : label)
    if (c == '"' || c == '\\' || static_cast<unsigned char>(c) < 0x20) c = '_';
  const auto boundary = base::random_id("dlls");
  const auto before = fmt::format(
      "--{0}\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\n{1}\r\n--{0}\r\n"
      "Content-Disposition: form-data; name=\"file\"; filename=\"{2}\"\r\n"
      "Content-Type: application/octet-stream\r\n\r\n",
      boundary, purpose, label);
  const auto after = fmt::format("\r\n--{}--\r\n", boundary);

  auto opened = call::open(options_);
  if (!opened) return opened.error();
  const header_list headers{{"content-type", "multipart/form-data; boundary=" + boundary}};
  auto sent = opened->send_head("POST", "/v1/files", headers, before.size() + size + after.size());
  if (sent) sent = opened->write(before);
  std::string piece(piece_bytes, '\0');
  for (std::uint64_t at = 0; at < size && sent;) {
    const auto wanted = static_cast<std::size_t>(std::min<std::uint64_t>(piece.size(), size - at));
    const auto got =
        base::read_at(fd.get(), at, std::as_writable_bytes(std::span{piece.data(), wanted}));
    if (!got) return got.error();
    if (*got != wanted)
      return base::error{base::errc::io, file.string() + " became shorter while it was sent"};
    sent = opened->write(std::string_view{piece}.substr(0, wanted));
    at += wanted;
    if (sent && tell) tell(at, size);
  }
  if (sent) sent = opened->write(after);
  // A server that refuses early has answered; that answer says more than the broken pipe.
  const auto head = opened->read_head();
  if (!head)
    return sent                                           ? head.error()
           : head.error().code == base::errc::unavailable ? sent.error()
                                                          : head.error();
  return opened->read_all(answer_bytes_max);
}

base::result<> client::download(
    std::string_view path, const taker& take, const progress& tell) const {
  auto opened = call::open(options_);
  if (!opened) return opened.error();
  if (const auto ok = opened->send_head("GET", path, {}, 0); !ok) return ok;
  const auto head = opened->read_head();
  if (!head) return head.error();
  std::uint64_t total = 0;
  for (;;) {
    const auto piece = opened->read_piece();
    if (!piece) return piece.error();
    if (piece->empty()) return {};
    if (!take(*piece)) return base::error{base::errc::cancelled, "the download was stopped"};
    total += piece->size();
    if (tell) tell(total, head->content_length.value_or(0));
  }
}

base::result<> client::events(
    std::string_view path, std::string_view json_or_empty, const taker& take) const {
  auto opened = call::open(options_);
  if (!opened) return opened.error();
  const std::string_view method = json_or_empty.empty() ? "GET" : "POST";
  const header_list headers{{"accept", "text/event-stream"}, {"content-type", "application/json"}};
  auto sent = opened->send_head(method, path, headers, json_or_empty.size());
  if (sent) sent = opened->write(json_or_empty);
  if (!sent) return sent;
  const auto head = opened->read_head();
  if (!head) return head.error();
  std::string text;
  bool done = false;
  for (;;) {
    const auto piece = opened->read_piece();
    if (!piece) return piece.error();
    if (piece->empty()) break;
    text += *piece;
    while (const auto data = next_event(text)) {
      if (data->starts_with("{\"error\":")) return stream_error(*data);
      done = done || *data == "[DONE]";
      if (!take(*data)) return {};
    }
    if (text.size() > event_bytes_max)
      return base::error{base::errc::corrupt, "an event of the server has no end"};
  }
  if (!done) return base::error{base::errc::unavailable, "the stream broke off"};
  return {};
}

}  // namespace dlls::gateway
