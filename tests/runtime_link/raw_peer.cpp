#include "raw_peer.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <csignal>
#include <stdexcept>

namespace link_test {

struct raw_peer::tls {
  SSL_CTX* context = SSL_CTX_new(TLS_client_method());
  SSL* session = nullptr;
  ~tls() {
    SSL_free(session);
    SSL_CTX_free(context);
  }
};

raw_peer::raw_peer(std::uint16_t port, const raw_options& o) : tls_(std::make_unique<tls>()) {
  std::signal(SIGPIPE, SIG_IGN);  // OpenSSL's own socket layer raises it
  socket_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(port);
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  sockaddr_in from{};
  from.sin_family = AF_INET;
  from.sin_addr.s_addr = htonl(o.from);
  if (::bind(socket_, reinterpret_cast<sockaddr*>(&from), sizeof from) != 0)
    throw std::runtime_error("a raw peer cannot have that address");
  const timeval limit{std::chrono::seconds{patience}.count(), 0};
  ::setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  if (::connect(socket_, reinterpret_cast<sockaddr*>(&to), sizeof to) != 0)
    throw std::runtime_error("a raw peer cannot connect");
  if (o.protocol.empty()) return;  // stays beneath TLS
  auto* context = tls_->context;
  if (o.tls_max) SSL_CTX_set_max_proto_version(context, o.tls_max);
  if (!o.own.certificate.empty() &&
      (SSL_CTX_use_certificate_chain_file(context, o.own.certificate.c_str()) != 1 ||
       SSL_CTX_use_PrivateKey_file(context, o.own.key.c_str(), SSL_FILETYPE_PEM) != 1))
    throw std::runtime_error("a raw peer has no certificate");
  const auto wire = static_cast<char>(o.protocol.size()) + o.protocol;
  SSL_CTX_set_alpn_protos(
      context, reinterpret_cast<const unsigned char*>(wire.data()),
      static_cast<unsigned>(wire.size()));
  tls_->session = SSL_new(context);
  SSL_set_fd(tls_->session, socket_);
  handshake_done_ = SSL_connect(tls_->session) == 1;
  ERR_clear_error();
}

raw_peer::~raw_peer() {
  tls_.reset();
  ::close(socket_);
}

void raw_peer::send(const bytes& data) {
  std::size_t written = 0;
  SSL_write_ex(tls_->session, data.data(), data.size(), &written);
  ERR_clear_error();
}

void raw_peer::send_plain(const std::string& text) {
  ::send(socket_, text.data(), text.size(), MSG_NOSIGNAL);
}

bool raw_peer::receive(char* into, std::size_t size) {
  for (std::size_t got = 0; got < size;) {
    const auto n = tls_->session ? SSL_read(tls_->session, into + got, static_cast<int>(size - got))
                                 : static_cast<int>(::recv(socket_, into + got, size - got, 0));
    ERR_clear_error();
    if (n <= 0) return false;
    got += static_cast<std::size_t>(n);
  }
  return true;
}

bool raw_peer::is_closed_by_peer() {
  char one = 0;
  errno = 0;
  while (receive(&one, 1)) {
  }
  return errno != EAGAIN;
}

namespace {
std::uint64_t number(const bytes& of, std::size_t at, std::size_t count) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < count; ++i)
    value = value << 8 | static_cast<unsigned char>(of[at + i]);
  return value;
}
}  // namespace

std::optional<received> read_message(raw_peer& from) {
  bytes head(caf::io::basp::header_size);
  while (from.receive(head.data(), head.size())) {
    bytes payload(number(head, 4, 4));
    if (!from.receive(payload.data(), payload.size())) break;
    if (static_cast<caf::io::basp::message_type>(head[0]) ==
        caf::io::basp::message_type::direct_message)
      return received{number(head, 8, 8), number(head, 16, 8), number(head, 24, 8)};
  }
  return std::nullopt;
}

std::optional<greeting> read_greeting(raw_peer& from, caf::actor_system& system) {
  bytes welcome(4), head(caf::io::basp::header_size);
  if (!from.receive(welcome.data(), welcome.size()) || number(welcome, 0, 4) != 0)
    return std::nullopt;
  if (!from.receive(head.data(), head.size())) return std::nullopt;
  bytes payload(number(head, 4, 4));
  if (!from.receive(payload.data(), payload.size())) return std::nullopt;
  caf::scoped_execution_unit unit{&system};
  caf::binary_deserializer source{&unit, payload};
  greeting said;
  std::vector<std::string> ids;
  if (source(said.node, ids, said.door)) return std::nullopt;
  return said;
}

bytes message_frame(
    caf::actor_system& system, std::uint64_t source, std::uint64_t destination,
    const caf::message& content, std::uint64_t id, std::uint8_t flags) {
  return frame(
      system, caf::io::basp::message_type::direct_message, flags, id, source, destination,
      std::vector<caf::strong_actor_ptr>{}, content);
}

bytes client_handshake(caf::actor_system& system, const caf::node_id& as) {
  return frame(system, caf::io::basp::message_type::client_handshake, 0, 0, 0, 0, as);
}

caf::node_id made_up_node(std::uint32_t process) {
  return *caf::make_node_id(process, "0011223344556677889900112233445566778899");
}

}  // namespace link_test
