// The gateway over the fake backend, for the SDK's test: prints its URL and serves until its
// standard input ends. Not installed.
#include <cstdio>
#include <memory>

#include "gateway/server.hpp"
#include "tests/gateway/fake_backend.hpp"

int main() {
  using namespace dlls;
  const auto backend = std::make_shared<test::fake_backend>(test::fake_backend::replies::threaded);
  gateway::server_options options;
  options.port = 0;
  auto server = gateway::http_server::start(options, backend);
  if (!server) {
    std::fprintf(stderr, "%s\n", server.error().text().c_str());
    return 1;
  }
  std::printf("%s\n", (*server)->url().c_str());
  std::fflush(stdout);
  while (std::getchar() != EOF) {
  }
  (*server)->stop();
  return 0;
}
