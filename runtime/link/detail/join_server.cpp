#include "runtime/link/detail/join_server.hpp"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "base/log.hpp"
#include "base/sha256.hpp"

namespace dlls::runtime::link::detail {

using base::errc;
using base::error;

namespace {

constexpr std::chrono::seconds redeem_within{10};

struct join_request {
  std::string secret_hash;
  std::string name;
  std::string der;
};

base::result<join_request> read_request(const fields& all, const authority& signer) {
  if (all.size() != 3) return error{errc::invalid_argument, "a malformed request to join"};
  if (!is_name(all[1]))
    return error{
        errc::invalid_argument, "that is no name for a node",
        "1 to 63 of a-z, 0-9 and -, neither first nor last a hyphen"};
  if (auto sound = signer.check_request(all[2]); !sound) return sound.error();
  return join_request{base::sha256_hex(all[0]), all[1], all[2]};
}

// The redeemer's answer, and the timer that it wakes; both on the conversation's thread.
struct pending_answer {
  explicit pending_answer(const asio::any_io_executor& executor) : wake(executor, redeem_within) {}
  asio::steady_timer wake;
  std::optional<base::result<>> answer;
};

asio::awaitable<base::result<>> spend_token(
    std::shared_ptr<conversation> talk, std::shared_ptr<const enrolment> with, poster post,
    join_request request, std::string fingerprint) {
  auto pending = std::make_shared<pending_answer>(talk->socket().get_executor());
  with->redeem(
      request.secret_hash, request.name, fingerprint,
      [post, weak = std::weak_ptr(pending)](base::result<> answer) {
        post([weak, answer = std::move(answer)] {
          const auto waiting = weak.lock();
          if (!waiting || waiting->answer) return;
          waiting->answer = answer;
          waiting->wake.cancel();
        });
      });
  co_await pending->wake.async_wait(asio::as_tuple(asio::use_awaitable));
  if (!pending->answer)
    co_return error{
        errc::deadline_exceeded, "the coordinator did not check the token in time",
        "try again with the same token"};
  co_return *pending->answer;
}

asio::awaitable<base::result<std::string>> certificate_for(
    std::shared_ptr<conversation> talk, std::shared_ptr<const enrolment> with, poster post) {
  auto sent = co_await talk->read_record(join_record_bytes_max);
  if (!sent) co_return sent.error();
  auto request = read_request(*sent, *with->signer);
  if (!request) co_return request.error();
  // Signed first, handed over last: the redeemer binds this very certificate to the name.
  peer_identity who{with->role, request->name};
  auto signed_pem = with->signer->sign(request->der, who);
  if (!signed_pem) co_return signed_pem.error();
  auto fingerprint = link::fingerprint_of(*signed_pem);
  if (!fingerprint) co_return fingerprint.error();
  auto spent = co_await spend_token(talk, with, post, *request, *fingerprint);
  if (!spent) co_return spent.error();
  base::log_info("link", "{} joins", who.text());
  co_return *signed_pem;
}

}  // namespace

asio::awaitable<base::result<>> serve_join(
    std::shared_ptr<conversation> talk, std::shared_ptr<const enrolment> with, poster post) {
  auto certificate = co_await certificate_for(talk, with, post);
  std::string answer =
      write_record(certificate ? fields{*certificate} : refusal(certificate.error()));
  auto written = co_await talk->write(std::move(answer));
  if (!certificate) co_return certificate.error();
  co_return written;
}

}  // namespace dlls::runtime::link::detail
