#include "tests/gateway/probe.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>

#include "base/check.hpp"
#include "gateway/detail/errors.hpp"
#include "gateway/detail/routes.hpp"

namespace dlls::test {
using namespace gateway;
using namespace gateway::detail;

void recorder::post(std::function<void()> job) {
  const std::lock_guard lock{mutex_};
  posted_.push_back(std::move(job));
}

void recorder::send(response whole) {
  base::check(head.status == 0, "one answer");
  head = std::move(whole);
  ended = true;
}

void recorder::send_content(response h, std::shared_ptr<content> body) {
  base::check(head.status == 0, "one answer");
  head = std::move(h);
  body->read(0, body->size(), [this](base::result<std::string> got) { head.body = got.value(); });
  ended = true;
}

void recorder::start_events() {
  base::check(head.status == 0, "one answer");
  head.status = 200;
  head.content_type = "text/event-stream";
}

void recorder::event(std::string_view data) {
  base::check(head.content_type == "text/event-stream" && !ended, "events in a stream");
  events.emplace_back(data);
}

void recorder::drain() {
  for (;;) {
    std::function<void()> job;
    {
      const std::lock_guard lock{mutex_};
      if (posted_.empty()) return;
      job = std::move(posted_.front());
      posted_.pop_front();
    }
    job();
  }
}

json_document answered::json() const { return json_document::parse(body).value(); }
json_document answered::event(std::size_t i) const {
  return json_document::parse(whole->events.at(i)).value();
}
std::string answered::header(std::string_view name) const {
  for (const auto& [key, value] : whole->head.headers)
    if (key == name) return value;
  return "";
}
std::string answered::error(std::string_view member) const {
  return json().text("/error/" + std::string{member}).value_or("null");
}

answered ask(fake_backend& to, std::string_view method, std::string_view target, asked with) {
  request in;
  const auto mark = std::min(target.find('?'), target.size());
  in.method = method;
  in.path = target.substr(0, mark);
  in.query = parse_query(target.substr(std::min(mark + 1, target.size()))).value();
  in.content_type = with.content_type;
  in.idempotency_key = with.idempotency_key;
  in.who = {with.owner, "test"};
  in.arrived = 1'750'000'000;
  answered out{std::make_shared<recorder>(), 0, {}};
  auto match = find_route(method, in.path);
  if (!match.found) {
    out.status = match.allowed.empty() ? 404 : 405;
    return out;
  }
  in.parameters = match.parameters;
  if (match.found->open) {
    auto sink = match.found->open(in, to, 1u << 20);
    auto ok = sink ? base::result<>{} : base::result<>{sink.error()};
    if (ok) ok = (*sink)->write(with.body);
    if (ok)
      (*sink)->finish(out.whole);
    else
      out.whole->send(to_response(ok.error()));
  } else {
    in.body = with.body;
    match.found->handle(std::move(in), to, out.whole);
  }
  out.whole->drain();
  out.status = out.whole->head.status;
  out.body = out.whole->head.body;
  return out;
}

form make_form(
    const std::vector<std::pair<std::string, std::string>>& fields, const std::string& filename) {
  form out;
  out.content_type = "multipart/form-data; boundary=x-Boundary-1";
  for (const auto& [name, value] : fields) {
    out.body += "--x-Boundary-1\r\nContent-Disposition: form-data; name=\"" + name + "\"";
    if (name == "file")
      out.body += "; filename=\"" + filename + "\"\r\nContent-Type: application/octet-stream";
    out.body += "\r\n\r\n" + value + "\r\n";
  }
  out.body += "--x-Boundary-1--\r\n";
  return out;
}

raw_socket::raw_socket(std::uint16_t port) : fd_(::socket(AF_INET, SOCK_STREAM, 0)) {
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(port);
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const timeval patience{10, 0};
  ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  ::setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  base::check(::connect(fd_, reinterpret_cast<sockaddr*>(&to), sizeof to) == 0, "connects");
}

raw_socket::~raw_socket() { ::close(fd_); }

bool raw_socket::send(std::string_view bytes) {
  while (!bytes.empty()) {
    const auto sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
  return true;
}

void raw_socket::end_sending() { ::shutdown(fd_, SHUT_WR); }

void raw_socket::set_receive_buffer(int bytes) {
  ::setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
}

// False at the end of the stream and when the time is up.
bool raw_socket::fill() {
  char piece[16384];
  const auto n = ::recv(fd_, piece, sizeof piece, 0);
  if (n <= 0) {
    ended_ = n == 0 || (errno != EAGAIN && errno != EWOULDBLOCK);
    return false;
  }
  got_.append(piece, static_cast<std::size_t>(n));
  return true;
}

std::optional<std::string> raw_socket::read_to_end() {
  while (fill()) {
  }
  if (!ended_) return std::nullopt;
  return std::exchange(got_, {});
}

std::optional<std::string> raw_socket::read_until(std::string_view mark) {
  while (got_.find(mark) == std::string::npos)
    if (!fill()) return std::nullopt;
  return std::exchange(got_, {});
}

std::optional<std::string> raw_socket::read_answer() {
  std::size_t end;
  while ((end = got_.find("\r\n\r\n")) == std::string::npos)
    if (!fill()) return std::nullopt;
  constexpr std::string_view field = "content-length: ";
  const auto at = got_.find(field);
  if (at == std::string::npos || at > end) return std::nullopt;
  const auto whole = end + 4 + std::stoul(got_.substr(at + field.size()));
  while (got_.size() < whole)
    if (!fill()) return std::nullopt;
  auto answer = got_.substr(0, whole);
  got_.erase(0, whole);
  return answer;
}

}  // namespace dlls::test
