// The same server and client over TLS, with a certificate made for the test.
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <catch2/catch.hpp>
#include <fstream>

#include "gateway/client.hpp"
#include "gateway/server.hpp"
#include "tests/gateway/probe.hpp"
#include "tests/support/temp_folder.hpp"

using namespace dlls;
using test::fake_backend;

namespace {

template <auto Free>
struct freed_by {
  template <class T>
  void operator()(T* p) const {
    Free(p);
  }
};

// A self-signed certificate for 127.0.0.1, valid for an hour, and its key.
void make_certificate(const std::filesystem::path& certificate, const std::filesystem::path& key) {
  const std::unique_ptr<EVP_PKEY, freed_by<EVP_PKEY_free>> pair{EVP_EC_gen("P-256")};
  const std::unique_ptr<X509, freed_by<X509_free>> x{X509_new()};
  X509_set_version(x.get(), X509_VERSION_3);
  ASN1_INTEGER_set(X509_get_serialNumber(x.get()), 1);
  X509_gmtime_adj(X509_getm_notBefore(x.get()), -60);
  X509_gmtime_adj(X509_getm_notAfter(x.get()), 3600);
  X509_set_pubkey(x.get(), pair.get());
  auto* name = X509_get_subject_name(x.get());
  const auto* common = reinterpret_cast<const unsigned char*>("test");
  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, common, -1, -1, 0);
  X509_set_issuer_name(x.get(), name);
  const std::unique_ptr<X509_EXTENSION, freed_by<X509_EXTENSION_free>> names{
      X509V3_EXT_conf_nid(nullptr, nullptr, NID_subject_alt_name, "IP:127.0.0.1")};
  X509_add_ext(x.get(), names.get(), -1);
  REQUIRE(X509_sign(x.get(), pair.get(), EVP_sha256()) > 0);
  auto* out = std::fopen(certificate.c_str(), "w");
  PEM_write_X509(out, x.get());
  std::fclose(out);
  out = std::fopen(key.c_str(), "w");
  PEM_write_PrivateKey(out, pair.get(), nullptr, nullptr, 0, nullptr, nullptr);
  std::fclose(out);
}

struct live {
  test::temp_folder folder;
  std::shared_ptr<fake_backend> backend =
      std::make_shared<fake_backend>(fake_backend::replies::threaded);
  gateway::server_options options;
  std::unique_ptr<gateway::http_server> server;

  live() {
    options.port = 0;
    options.certificate_file = folder.path() / "cert.pem";
    options.key_file = folder.path() / "key.pem";
    options.limits.tls_handshake = std::chrono::milliseconds{200};
    make_certificate(options.certificate_file, options.key_file);
    server = gateway::http_server::start(options, backend).value();
  }
  gateway::client client(const std::string& ca_file) const {
    gateway::client_options to;
    to.base_url = server->url();
    to.key = "sk-alice";
    to.ca_file = ca_file;
    return gateway::client{to};
  }
};

}  // namespace

TEST_CASE("requests, streams and large bodies pass through TLS") {
  live l;
  CHECK(l.server->url().starts_with("https://"));
  const auto c = l.client(l.options.certificate_file);
  CHECK(c.get("/v1/models"));
  std::string last;
  const auto keep = [&](std::string_view data) { return last = data, true; };
  const auto* body = R"({"model":"tiny","stream":true,"messages":[{"role":"user","content":"a"}]})";
  CHECK(c.events("/v1/chat/completions", body, keep));
  CHECK(last == "[DONE]");
  const auto path = l.folder.path() / "train.jsonl";
  const std::string bytes(1'000'000, 'q');
  std::ofstream{path} << bytes;
  const auto sent = c.upload(path, "fine-tune");
  REQUIRE(sent);
  std::string back;
  const auto collect = [&](std::string_view piece) { return back += piece, true; };
  CHECK(c.download("/v1/files/file-1/content", collect));
  CHECK(back == bytes);
}

TEST_CASE("a client that hangs up over TLS cancels its generation") {
  live l;
  const auto* body =
      R"({"model":"silent","stream":true,"messages":[{"role":"user","content":"a"}]})";
  CHECK(l.client(l.options.certificate_file)
            .events("/v1/chat/completions", body, [](std::string_view data) {
              return data.find("Wait") == std::string_view::npos;
            }));
  CHECK(l.backend->wait_cancelled(1));
}

TEST_CASE("the client refuses a certificate that it has no reason to trust") {
  live l;
  CHECK(l.client("").get("/health").error().code == base::errc::unavailable);
  const auto other = l.folder.path() / "other.pem";
  make_certificate(other, l.folder.path() / "other-key.pem");
  CHECK(l.client(other).get("/health").error().code == base::errc::unavailable);
  CHECK(l.client(l.folder.path() / "none.pem").get("/health").error().code == base::errc::corrupt);
}

TEST_CASE("the client refuses a trusted certificate of another host") {
  live l;
  gateway::client_options to;
  to.base_url = "https://localhost:" + std::to_string(l.server->port());
  to.ca_file = l.options.certificate_file;
  CHECK_FALSE(gateway::client{to}.get("/health"));
}

TEST_CASE("a TLS port does not speak plain HTTP and does not wait for ever") {
  live l;
  test::raw_socket plain{l.server->port()};
  plain.send("GET /health HTTP/1.1\r\nHost: x\r\n\r\n");
  const auto got = plain.read_to_end();
  REQUIRE(got);
  CHECK(got->find("HTTP/") == std::string::npos);
  test::raw_socket silent{l.server->port()};
  CHECK(silent.read_to_end());
}

TEST_CASE("a key of another certificate stops the start") {
  live l;
  auto options = l.options;
  options.key_file = l.folder.path() / "other-key.pem";
  make_certificate(l.folder.path() / "other.pem", options.key_file);
  const auto started = gateway::http_server::start(options, l.backend);
  REQUIRE_FALSE(started);
  CHECK(started.error().code == base::errc::corrupt);
  CHECK_FALSE(started.error().hint.empty());
}
