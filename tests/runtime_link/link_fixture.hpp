// Two actor systems in one process, each with an endpoint, and certificates of one authority.
#pragma once
#include <caf/all.hpp>
#include <caf/io/all.hpp>
#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <future>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/limits.hpp"
#include "base/random.hpp"
#include "runtime/caf_error.hpp"
#include "runtime/link/endpoint.hpp"
#include "runtime/part.hpp"

namespace link_test {

namespace link = dlls::runtime::link;
namespace base = dlls::base;
using namespace std::chrono_literals;

// The ALPN name of a link.
inline const std::string link_protocol =
    "dlls-link/" + std::to_string(base::limits::protocol_version);

// Far beyond what anything here takes, on a loaded machine and under a sanitizer too.
inline constexpr auto patience = 60s;

using ping_atom = caf::atom_constant<caf::atom("ping")>;
using hello_atom = caf::atom_constant<caf::atom("hello")>;
using add_atom = caf::atom_constant<caf::atom("add")>;
using hang_atom = caf::atom_constant<caf::atom("hang")>;
using fail_atom = caf::atom_constant<caf::atom("fail")>;
using large_atom = caf::atom_constant<caf::atom("large")>;

struct chunk {
  std::uint64_t offset = 0;
  std::string bytes;
  chunk() = default;
  chunk(std::uint64_t o, std::string b) : offset(o), bytes(std::move(b)) {}
};
template <class Inspector>
typename Inspector::result_type inspect(Inspector& f, chunk& x) {
  return f(caf::meta::type_name("chunk"), x.offset, x.bytes);
}

// What a peer may say to a door, and a door to a node.
using door_interface = caf::typed_actor<
    caf::replies_to<ping_atom, int>::with<int>, caf::replies_to<chunk>::with<std::uint64_t>,
    caf::replies_to<hello_atom>::with<int>, caf::replies_to<hang_atom>::with<int>,
    caf::replies_to<fail_atom>::with<int>, caf::replies_to<large_atom, int>::with<std::string>>;
// For the tests of streams: `offset` chunks of the size that `bytes` says.
using stream_interface = caf::typed_actor<
    caf::replies_to<chunk>::with<dlls::runtime::part<chunk>>,
    caf::replies_to<ping_atom, int>::with<int>>;
using node_interface = caf::typed_actor<caf::replies_to<add_atom, int, int>::with<int>>;
// Local only: makes the exported actor say hello to a door, so that the door knows its proxy.
using greet_atom = caf::atom_constant<caf::atom("greet")>;
using worker_interface =
    node_interface::extend<caf::replies_to<greet_atom, door_interface>::with<int>>;

struct config : caf::actor_system_config {
  config() {
    load<caf::io::middleman>();
    add_message_type<chunk>("chunk");
    add_message_type<dlls::runtime::part<chunk>>("part<chunk>");
    dlls::runtime::announce_errors(*this);
    set("scheduler.max-threads", 2);
  }
};

// A folder that goes away with the test.
class temporary_folder {
 public:
  temporary_folder()
      : path(std::filesystem::temp_directory_path() / base::random_id("dlls-link-test-")) {
    std::filesystem::create_directories(path);
  }
  ~temporary_folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
  const std::filesystem::path path;
};

// An authority, and certificates of any role and name.
class certificates {
 public:
  certificates();
  link::credentials of(const std::string& role, const std::string& name);

  temporary_folder folder;
  std::shared_ptr<link::authority> authority;
};

link::options test_options();
// An event that threads wait for.
class flag {
 public:
  void raise();
  bool wait() const;  // false when patience ran out

 private:
  mutable std::mutex mutex_;
  mutable std::condition_variable raised_;
  bool is_raised_ = false;
};

// The listening side: one door a peer, and what happened to each.
class coordinator_side {
 public:
  explicit coordinator_side(
      certificates& from, link::options opts = test_options(),
      std::optional<link::enrolment> enrolment = std::nullopt);
  ~coordinator_side();

  // Blocks until at least `count` links have closed, or connections were refused; the reasons.
  std::vector<std::string> closed(std::size_t count);
  std::vector<std::string> refused(std::size_t count);
  std::vector<link::connection_ptr> connections();

  config settings;
  caf::actor_system system{settings};
  std::unique_ptr<link::endpoint> endpoint;
  std::uint16_t port = 0;

  std::mutex mutex;
  std::set<std::string> revoked_names;
  bool gives_doors = true;

 private:
  link::acceptor_events events();

  std::condition_variable changed_;
  std::vector<std::string> closed_;
  std::vector<std::string> refused_;
  std::vector<link::connection_ptr> connections_;
};

// The dialing side.
class node_side {
 public:
  explicit node_side(link::options opts = test_options());
  ~node_side();

  struct dialed {
    base::result<link::linked> result = base::error{};
    std::shared_ptr<flag> closed = std::make_shared<flag>();
    door_interface door() const;
  };
  // Blocks until the dial is answered.
  dialed dial(
      std::uint16_t port, const link::credentials& own, std::string want_role = "coordinator",
      std::string host = "127.0.0.1");
  // Asks and blocks; an error as CAF renders it.
  template <class R, class Handle, class... Ts>
  base::result<R> ask(const Handle& to, Ts&&... message) {
    caf::scoped_actor self{system};
    base::result<R> answer = base::error{};
    self->request(to, caf::infinite, std::forward<Ts>(message)...)
        .receive(
            [&](R& value) { answer = std::move(value); },
            [&](caf::error& why) {
              answer = base::error{base::errc::unavailable, system.render(why)};
            });
    return answer;
  }

  config settings;
  caf::actor_system system{settings};
  worker_interface worker;  // exported on each link
  std::unique_ptr<link::endpoint> endpoint;
};

}  // namespace link_test
