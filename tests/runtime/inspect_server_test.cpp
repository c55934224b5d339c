// Over a real socket, with real threads: the system's end is the only thing waited for.
#include "runtime/inspect_server.hpp"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <catch2/catch.hpp>
#include <cstring>
#include <fstream>

#include "base/local_socket.hpp"
#include "tests/runtime/messages.hpp"
#include "tests/support/catch_result.hpp"
#include "tests/support/temp_folder.hpp"

using namespace dlls;
using namespace dlls::tests;
using Catch::Matchers::Contains;
using dlls::test::temp_folder;
namespace fs = std::filesystem;

namespace {

std::string ask(const fs::path& path, std::string_view request) {
  auto socket = base::connect_local(path, 60s);
  REQUIRE(socket);
  CHECK(::send(socket->get(), request.data(), request.size(), MSG_NOSIGNAL) >= 0);
  ::shutdown(socket->get(), SHUT_WR);
  std::string all;
  char piece[4096];
  for (ssize_t got; (got = ::recv(socket->get(), piece, sizeof piece, 0)) > 0;)
    all.append(piece, static_cast<std::size_t>(got));
  return all;
}

// What a process that was killed leaves behind.
void leave_socket(const fs::path& path) {
  const auto gone = base::listen_local(path);
  REQUIRE(gone);
}

}  // namespace

TEST_CASE("the socket answers JSON and text, to its own user alone by its mode") {
  temp_folder folder;
  const auto path = folder.path() / "inspect.sock";
  auto host = rt::make_system({.workers = 2});
  auto p = host->actors().spawn<porter>();
  REQUIRE(rt::outside{host->actors()}.ask_wait(p, 60s, hello{"x"}));  // it has begun
  {
    auto served = rt::inspect_server::open(host->actors(), path);
    REQUIRE(served);
    struct stat info {};
    REQUIRE(::stat(path.c_str(), &info) == 0);
    CHECK((info.st_mode & 0777) == 0600);
    CHECK_THAT(ask(path, "json\n"), Contains(R"("name":"dlls::tests::porter")"));
    CHECK(ask(path, "").front() == '{');
    CHECK_THAT(ask(path, "text"), Contains("1 actors, 0 tasks") && Contains("porter"));
    CHECK_THAT(ask(path, "what"), Contains("error"));
    CHECK(ask(path, std::string(100, 'x')).empty());
    CHECK(base::connect_local(path));  // says nothing and goes
    CHECK_THAT(ask(path, "text"), Contains("porter"));

    auto second = rt::inspect_server::open(host->actors(), path);
    CHECK(second.error().code == base::errc::already_exists);
    CHECK_THAT(ask(path, "text"), Contains("porter"));
  }
  CHECK_FALSE(fs::exists(path));
  CHECK(base::connect_local(path).error().code == base::errc::not_found);
  caf::anon_send_exit(p, caf::exit_reason::kill);
}

TEST_CASE("a socket left behind is replaced, a file is not, a missing folder is an error") {
  temp_folder folder;
  const auto path = folder.path() / "inspect.sock";
  auto host = rt::make_system({.workers = 2});
  leave_socket(path);
  CHECK(base::connect_local(path).error().code == base::errc::unavailable);
  CHECK(rt::inspect_server::open(host->actors(), path));

  std::ofstream{path} << "precious";
  CHECK(rt::inspect_server::open(host->actors(), path).error().code == base::errc::already_exists);
  CHECK(fs::file_size(path) == 8);
  const auto nowhere = folder.path() / "none" / "inspect.sock";
  CHECK(rt::inspect_server::open(host->actors(), nowhere).error().code == base::errc::not_found);
}

TEST_CASE("a path longer than a socket's address works all the same") {
  temp_folder folder;
  const auto deep = folder.path() / std::string(120, 'd') / std::string(120, 'e');
  fs::create_directories(deep);
  auto host = rt::make_system({.workers = 2});
  auto served = rt::inspect_server::open(host->actors(), deep / "inspect.sock");
  REQUIRE(served);
  CHECK_THAT(ask(deep / "inspect.sock", "text"), Contains("0 actors"));
  CHECK(fs::exists(deep / "inspect.sock"));
}

TEST_CASE("the server ends although somebody is connected and says nothing") {
  temp_folder folder;
  const auto path = folder.path() / "inspect.sock";
  auto host = rt::make_system({.workers = 2});
  auto served = rt::inspect_server::open(host->actors(), path);
  REQUIRE(served);
  const auto silent = base::connect_local(path), other = base::connect_local(path);
  CHECK(silent);
  CHECK(other);
  served->reset();
  CHECK_FALSE(fs::exists(path));
}
