// Tokens, and the joining side.
#include "runtime/link/enrol.hpp"

#include <fmt/core.h>

#include <array>
#include <atomic>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>

#include "base/encoding.hpp"
#include "base/file.hpp"
#include "base/random.hpp"
#include "base/sha256.hpp"
#include "runtime/link/detail/conversation.hpp"
#include "runtime/link/detail/tls.hpp"

namespace dlls::runtime::link {

using base::errc;
using base::error;
namespace asio = boost::asio;

namespace {

constexpr std::string_view token_prefix = "dlls-join.";
constexpr std::size_t secret_bytes = 32, secret_characters = 43, fingerprint_characters = 64;
constexpr std::string_view base64url =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

}  // namespace

join_token join_token::make(const authority& ca) {
  std::array<std::byte, secret_bytes> secret{};
  base::secure_random(secret);
  return {base::to_base64url(secret), ca.fingerprint()};
}

base::result<join_token> join_token::parse(std::string_view text) {
  constexpr std::string_view space = " \t\r\n";
  const error bad{
      errc::invalid_argument, "that is no join token",
      "copy the whole line that `dlls enroll` printed: dlls-join.SECRET.FINGERPRINT"};
  if (const auto first = text.find_first_not_of(space); first != text.npos)
    text = text.substr(first, text.find_last_not_of(space) - first + 1);
  if (!text.starts_with(token_prefix)) return bad;
  text.remove_prefix(token_prefix.size());
  if (text.size() != secret_characters + 1 + fingerprint_characters ||
      text[secret_characters] != '.')
    return bad;
  join_token token{
      std::string(text.substr(0, secret_characters)),
      std::string(text.substr(secret_characters + 1))};
  if (token.secret.find_first_not_of(base64url) != token.secret.npos ||
      token.ca_fingerprint.find_first_not_of("0123456789abcdef") != token.ca_fingerprint.npos)
    return bad;
  return token;
}

std::string join_token::text() const {
  return fmt::format("{}{}.{}", token_prefix, secret, ca_fingerprint);
}

std::string join_token::secret_hash() const { return base::sha256_hex(secret); }

namespace {

struct joined {
  std::string certificate;
  std::string ca;
};

asio::awaitable<base::result<joined>> ask(
    std::shared_ptr<detail::conversation> talk, std::string host, std::uint16_t port,
    join_token token, std::string name, std::string request) {
  if (auto there = co_await talk->connect(host, port); !there) co_return there.error();
  auto rules = std::make_shared<detail::tls_rules>();
  rules->peer_role = "coordinator";
  rules->ca_fingerprint = token.ca_fingerprint;
  if (auto shaken = co_await talk->handshake(detail::join_context(), rules, false); !shaken)
    co_return shaken.error();
  detail::fields sent{token.secret, std::move(name), std::move(request)};
  if (auto written = co_await talk->write(detail::write_record(sent)); !written)
    co_return written.error();
  auto answer = co_await talk->read_record(join_record_bytes_max);
  if (!answer) co_return answer.error();
  if (answer->size() != 1) co_return detail::read_refusal(*answer);
  joined got;
  got.certificate = answer->front();
  got.ca = talk->tls()->authority_pem();
  co_return got;
}

// Runs the conversation on a loop of its own, in the caller's thread.
base::result<joined> converse(
    const std::string& host, std::uint16_t port, const join_token& token, const std::string& name,
    const std::string& request, std::chrono::milliseconds timeout) {
  asio::io_context io{1};
  std::optional<base::result<joined>> result;
  auto talk = std::make_shared<detail::conversation>(asio::ip::tcp::socket{io});
  talk->start_deadline(timeout);
  asio::co_spawn(
      io, ask(talk, host, port, token, name, request),
      [&](const std::exception_ptr& failed, base::result<joined> got) {
        result = failed ? error{errc::internal, "joining failed"} : std::move(got);
        talk->stop_deadline();
        io.stop();
      });
  io.run();
  talk.reset();
  if (!result) return error{errc::internal, "joining ended without a result"};
  return std::move(*result);
}

}  // namespace

base::result<credentials> join(
    const std::string& host, std::uint16_t port, const join_token& token,
    const std::filesystem::path& folder, const std::string& name,
    std::chrono::milliseconds timeout) {
  if (auto good = check_node_name(name); !good) return good.error();
  // Before the token is spent: what can fail here should not cost one.
  if (auto made = base::make_folder(folder); !made) return made.error();
  const auto request = make_certificate_request();
  auto got = converse(host, port, token, name, request.der, timeout);
  if (!got) {
    auto why = got.error();
    why.message = fmt::format("{}:{}: {}", host, port, why.message);
    return why;
  }
  const auto path = folder / (name + ".pem"), ca_path = folder / "ca.pem";
  if (auto fits = check_issued(got->certificate, request, got->ca, name); !fits)
    return fits.error();
  if (auto w = base::write_file_durably(ca_path, got->ca); !w) return w.error();
  if (auto w = base::write_file_durably(path, got->certificate + request.key_pem, 0600); !w)
    return w.error();
  return credentials{path, path, ca_path};
}

base::result<credentials> joined_before(
    const std::filesystem::path& folder, const std::string& name) {
  if (auto good = check_node_name(name); !good) return good.error();
  credentials found{folder / (name + ".pem"), folder / (name + ".pem"), folder / "ca.pem"};
  for (const auto& file : {found.certificate, found.ca}) {
    std::error_code unreadable;
    if (!std::filesystem::exists(file, unreadable))
      return error{
          errc::not_found, fmt::format("{} is missing", file.string()), "join with a token first"};
  }
  return found;
}

enrolment admit_once(std::shared_ptr<authority> signer, const join_token& token) {
  enrolment admits;
  admits.signer = std::move(signer);
  admits.redeem = [hash = token.secret_hash(), spent = std::make_shared<std::atomic<bool>>(false)](
                      const std::string& secret_hash, const std::string&, const std::string&,
                      const std::function<void(base::result<>)>& done) {
    const bool fits = base::equal_constant_time(secret_hash, hash) && !spent->exchange(true);
    if (fits) return done({});
    done(error{errc::unauthenticated, "the token is unknown or used", "get a new one"});
  };
  return admits;
}

}  // namespace dlls::runtime::link
