// Two runtimes in one process: each on its own, and joined as an embedder joins two of them.
#include <caf/all.hpp>
#include <catch2/catch.hpp>

#include "link_fixture.hpp"
#include "runtime/announce.hpp"
#include "runtime/ask.hpp"
#include "runtime/co_actor.hpp"
#include "runtime/gather.hpp"
#include "runtime/link/dial.hpp"
#include "runtime/outside.hpp"
#include "runtime/race.hpp"
#include "runtime/sleep.hpp"
#include "runtime/supervise.hpp"
#include "runtime/system.hpp"
#include "tests/support/catch_result.hpp"

using namespace link_test;
using base::errc;
using Catch::Matchers::Contains;
namespace runtime = dlls::runtime;

namespace {

// Known to both sides, to the near one alone, and to the far one alone.
struct shared_word {
  std::string text;
  shared_word() = default;
  explicit shared_word(std::string t) : text(std::move(t)) {}
};
struct near_word : shared_word {
  using shared_word::shared_word;
};
struct far_word : shared_word {
  using shared_word::shared_word;
};
template <class Inspector>
typename Inspector::result_type inspect(Inspector& f, shared_word& x) {
  return f(caf::meta::type_name("shared_word"), x.text);
}

using echo_actor = caf::typed_actor<caf::replies_to<shared_word>::with<shared_word>>;
using near_actor = caf::typed_actor<caf::replies_to<near_word>::with<near_word>>;
using far_actor = caf::typed_actor<caf::replies_to<far_word>::with<far_word>>;
using near_types = runtime::message_list<shared_word, near_word>;
using far_types = runtime::message_list<shared_word, far_word>;
static_assert(near_types::covers<echo_actor> && !near_types::covers<far_actor>);

// Answers with its own name before the word, over a coroutine and a task of it.
template <class Handle, class Word>
class echo : public runtime::co_actor<Handle> {
 public:
  echo(caf::actor_config& config, std::string name)
      : runtime::co_actor<Handle>(config), name_(std::move(name)) {}
  typename Handle::behavior_type make_behavior() override { return {this->serve(&echo::answer)}; }

 private:
  runtime::task<Word> answer(Word word) {
    if (word.text == "fail") throw base::failure({errc::stale, "as asked", "ask otherwise"});
    if (word.text == "hang") co_await runtime::sleep(this, 24h);
    co_return Word{co_await prefix() + word.text};
  }
  runtime::task<std::string> prefix() { co_return name_ + ":"; }
  std::string name_;
};

// Runs the coroutine that a test gives it, and says when it has ended.
class runner : public runtime::co_actor<caf::actor> {
 public:
  using body = std::function<runtime::task<>(runner*)>;
  runner(caf::actor_config& config, body b, std::shared_ptr<flag> done)
      : co_actor(config), body_(std::move(b)), done_(std::move(done)) {}
  caf::behavior make_behavior() override {
    tasks().spawn(run());
    return {[](caf::unit_t) {}};
  }

 private:
  runtime::task<> run() {
    try {
      co_await body_(this);
    } catch (...) {
      FAIL_CHECK(runtime::current_exception_error().text());
    }
    done_->raise();
  }
  body body_;
  std::shared_ptr<flag> done_;
};

void run_in(caf::actor_system& system, runner::body body) {
  auto done = std::make_shared<flag>();
  auto actor = system.spawn<runner>(std::move(body), done);
  const bool ended = done->wait();  // nothing is checked on two threads at a time
  CHECK(ended);
  caf::anon_send_exit(actor, caf::exit_reason::user_shutdown);
}

link::options echo_options() {
  link::options o;
  o.rules.allow_interface<echo_actor>();
  o.protocol_version = 7;
  return o;
}

// A listening runtime with an echo a link.
struct far_side {
  explicit far_side(const std::string& role = "node") {
    link::acceptor_events events;
    events.make_door = [this](link::connection_ptr at) {
      if (on_door) on_door();
      std::lock_guard lock{mutex};
      last = std::move(at);
      return caf::actor_cast<caf::strong_actor_ptr>(
          host->actors().spawn<echo<echo_actor, shared_word>>("far"));
    };
    events.closed = [this](link::connection_ptr, std::string) { closed.raise(); };
    const auto own = issued.authority->coordinator("far").value();
    endpoint = std::make_unique<link::endpoint>(host->actors(), echo_options());
    port =
        endpoint
            ->listen("127.0.0.1", 0, own, role, events, link::admit_once(issued.authority, token))
            .value();
  }
  link::connection_ptr connection() {
    std::lock_guard lock{mutex};
    return last;
  }

  certificates issued;
  const link::join_token token = link::join_token::make(*issued.authority);
  std::function<void()> on_door;
  std::mutex mutex;
  link::connection_ptr last;
  flag closed;
  std::unique_ptr<runtime::system_host> host =
      runtime::make_system({.workers = 2, .network = true, .announce = far_types::announce});
  std::unique_ptr<link::endpoint> endpoint;
  std::uint16_t port = 0;
};

// A runtime that dials it.
struct near_side {
  link::dial_request to(far_side& far) {
    link::dial_request request;
    request.host = "127.0.0.1";
    request.port = far.port;
    request.own = far.issued.of("node", "near");
    request.want_role = "coordinator";
    return request;
  }
  std::unique_ptr<runtime::system_host> host =
      runtime::make_system({.workers = 2, .network = true, .announce = near_types::announce});
  std::unique_ptr<link::endpoint> endpoint =
      std::make_unique<link::endpoint>(host->actors(), echo_options());
};

bool knows(caf::actor_system& system, const std::string& type) {
  return system.types().make_value(type) != nullptr;
}

void end(const caf::actor& actor) { caf::anon_send_exit(actor, caf::exit_reason::user_shutdown); }

}  // namespace

TEST_CASE("two runtimes in one process share neither types, names nor actors") {
  auto near_host =
      runtime::make_system({.workers = 2, .network = true, .announce = near_types::announce});
  auto far_host =
      runtime::make_system({.workers = 2, .network = true, .announce = far_types::announce});
  auto &a = near_host->actors(), &b = far_host->actors();
  const std::string near_name{runtime::wire_name<near_word>()};
  const std::string far_name{runtime::wire_name<far_word>()};
  CHECK((knows(a, near_name) && !knows(a, far_name)));
  CHECK((knows(b, far_name) && !knows(b, near_name)));

  auto in_a = a.spawn<echo<near_actor, near_word>>("a");
  auto in_b = b.spawn<echo<far_actor, far_word>>("b");
  a.registry().put(caf::atom("echo"), in_a);
  CHECK(a.registry().get(caf::atom("echo")));
  CHECK_FALSE(b.registry().get(caf::atom("echo")));
  CHECK(a.node() != b.node());

  // Both at work at once, on threads of their own.
  runtime::outside out_a{a}, out_b{b};
  auto many = std::async(std::launch::async, [&] {
    int right = 0;
    for (int i = 0; i < 500; ++i)
      right += out_b.ask_wait(in_b, patience, far_word{"x"}).value().text == "b:x";
    return right;
  });
  int right = 0;
  for (int i = 0; i < 500; ++i)
    right += out_a.ask_wait(in_a, patience, near_word{"x"}).value().text == "a:x";
  CHECK(right == 500);
  CHECK(many.get() == 500);
  CHECK(a.registry().running() == b.registry().running());

  a.registry().erase(caf::atom("echo"));
  end(caf::actor_cast<caf::actor>(in_b));
}

TEST_CASE("one runtime ends, and the other in the process goes on") {
  auto stays = runtime::make_system({.workers = 2, .announce = near_types::announce});
  auto actor = stays->actors().spawn<echo<near_actor, near_word>>("a");
  runtime::outside out{stays->actors()};
  for (int i = 0; i < 3; ++i) {
    far_side passing;
    runtime::outside other{passing.host->actors()};
    CHECK(out.ask_wait(actor, patience, near_word{"1"}).value().text == "a:1");
  }
  CHECK(out.ask_wait(actor, patience, near_word{"2"}).value().text == "a:2");
}

TEST_CASE("a coroutine dials, asks over the link, and learns that it is gone") {
  far_side far;
  near_side near;
  const auto where = near.to(far);
  run_in(near.host->actors(), [&](runner* self) -> runtime::task<> {
    auto there = co_await link::dial<echo_actor>(self, *near.endpoint, where);
    CHECK(there.link().peer() == link::peer_identity{"coordinator", "far"});
    CHECK(there.link().epoch() > 0);
    CHECK(near.endpoint->protocol_version() == 7);
    auto first = runtime::ask(self, there.door(), patience, shared_word{"1"});
    auto second = runtime::ask(self, there.door(), patience, shared_word{"2"});
    auto both = co_await runtime::gather(std::move(first), std::move(second));
    CHECK(std::get<0>(both).text == "far:1");
    CHECK(std::get<1>(both).text == "far:2");
    const auto before = there.link().traffic();
    auto error = co_await runtime::try_ask(self, there.door(), patience, shared_word{"fail"});
    CHECK(error.error() == base::error{errc::stale, "as asked", "ask otherwise"});
    CHECK(there.link().traffic().bytes_out > before.bytes_out);

    auto cancelled = there.lost(self);
    cancelled.reset();
    far.connection()->close("for a test");
    auto why = co_await there.lost(self);
    CHECK_FALSE(why.empty());
    CHECK(co_await there.lost(self) == why);
    auto late = co_await runtime::try_ask(self, there.door(), patience, shared_word{"3"});
    CHECK(late.error().code == errc::unavailable);
    auto again = co_await link::dial<echo_actor>(self, *near.endpoint, where);
    CHECK(again.link().epoch() > there.link().epoch());
    CHECK((co_await runtime::ask(self, again.door(), patience, shared_word{"4"})).text == "far:4");
  });
}

TEST_CASE("a supervised remote child comes back on a new link, and open asks fail at once") {
  far_side far;
  near_side near;
  const auto where = near.to(far);
  std::vector<std::uint64_t> epochs;
  run_in(near.host->actors(), [&](runner* self) -> runtime::task<> {
    runtime::supervisor_options how;
    how.backoff_first = 1ms;
    how.restarts_max = runtime::supervisor_options::without_limit;
    runtime::supervisor children{self, how};
    auto dial = [&] {
      return [](runner* me, near_side* side, const link::dial_request* to,
                std::vector<std::uint64_t>* out) -> runtime::task<echo_actor> {
        auto made = co_await link::dial<echo_actor>(me, *side->endpoint, *to);
        out->push_back(made.link().epoch());
        co_return made.door();
      }(self, &near, &where, &epochs);
    };
    children.add("far", dial);
    auto door = co_await children.up<echo_actor>("far");
    for (int i = 0; i < 3; ++i) {
      CHECK((co_await runtime::ask(self, door, patience, shared_word{"1"})).text == "far:1");
      auto hanging = runtime::try_ask(self, door, 24h, shared_word{"hang"});
      auto cut = [](far_side* side) -> runtime::task<> {
        side->connection()->close("for a test");
        co_return;
      }(&far);
      auto both = co_await runtime::gather(std::move(hanging), std::move(cut));
      CHECK(std::get<0>(both).error().code == errc::unavailable);
      const auto lost = door;
      door = co_await children.up("far", lost);
      auto late = co_await runtime::try_ask(self, lost, 24h, shared_word{"2"});
      CHECK(late.error().code == errc::unavailable);
      CHECK(children.get<echo_actor>("far") == door);
    }
    CHECK(children.restarts() == 3);
  });
  CHECK(epochs.size() == 4);
  CHECK(std::is_sorted(epochs.begin(), epochs.end()));
  CHECK(std::adjacent_find(epochs.begin(), epochs.end()) == epochs.end());
}

TEST_CASE("a dial that fails says which way") {
  far_side far{"guest"};
  near_side near;
  auto refused = near.to(far), nobody = refused, foreign = refused;
  foreign.want_role = "stranger";
  far_side closed;
  nobody.port = closed.port;
  closed.endpoint.reset();
  run_in(near.host->actors(), [&](runner* self) -> runtime::task<> {
    auto a = co_await link::try_dial<echo_actor>(self, *near.endpoint, refused);
    CHECK(a.error().code == errc::permission_denied);
    auto b = co_await link::try_dial<echo_actor>(self, *near.endpoint, nobody);
    CHECK(b.error().code == errc::unavailable);
    auto c = co_await link::try_dial<echo_actor>(self, *near.endpoint, foreign);
    CHECK(c.error().code == errc::permission_denied);
    auto thrown = errc::ok;
    try {
      co_await link::dial<echo_actor>(self, *near.endpoint, nobody);
    } catch (const base::failure& f) {
      thrown = f.why().code;
    }
    CHECK(thrown == errc::unavailable);
  });
}

TEST_CASE("a door with another interface is a version mismatch") {
  far_side far;
  near_side near;
  auto there = link::dial_wait<near_actor>(near.host->actors(), *near.endpoint, near.to(far));
  REQUIRE_FALSE(there);
  CHECK(there.error().code == errc::version_mismatch);
}

TEST_CASE("a link that comes up after its dialer was cancelled is closed") {
  far_side far;
  near_side near;
  const auto where = near.to(far);
  flag given_up;
  std::optional<runtime::resolver<void>> at_the_door;
  std::mutex mutex;
  far.on_door = [&] {  // on the far endpoint's thread, before the near one can know of the link
    std::unique_lock lock{mutex};
    if (!at_the_door) return;
    (*at_the_door)();
    at_the_door.reset();
    lock.unlock();
    given_up.wait();
  };
  run_in(near.host->actors(), [&](runner* self) -> runtime::task<> {
    auto keep = [&](runtime::resolver<void> done) {
      std::lock_guard lock{mutex};
      at_the_door = std::move(done);
    };
    auto door_reached = runtime::completion<void>(self, keep);
    auto dialing = link::dial<echo_actor>(self, *near.endpoint, where);
    auto won = co_await runtime::race(std::move(door_reached), std::move(dialing));
    CHECK(won.index() == 0);
    given_up.raise();
  });
  CHECK(far.closed.wait());
}

TEST_CASE("whoever stops waiting for a link's end is not told") {
  const link::detail::link_end end;
  std::string told, kept;
  {
    auto dropped = end.then([&](const std::string& why) { told = why; });
    auto stays = end.then([&](const std::string& why) { kept = why; });
    dropped = {};
    end.report("first");
    end.report("second");
  }
  CHECK(told.empty());
  CHECK(kept == "first");
  auto late = end.then([&](const std::string& why) { told = why; });
  CHECK(told == "first");
}

TEST_CASE("a token made on the spot joins two systems, once") {
  far_side far;
  near_side near;
  temporary_folder folder;
  CHECK(link::joined_before(folder.path, "near").error().code == errc::not_found);
  CHECK(link::joined_before(folder.path, "../near").error().code == errc::invalid_argument);
  auto forged = far.token;
  forged.secret[0] = forged.secret[0] == 'a' ? 'b' : 'a';
  const auto join = [&](const link::join_token& token, const std::string& name) {
    return link::join("127.0.0.1", far.port, token, folder.path, name);
  };
  CHECK(join(forged, "near").error().code == errc::unauthenticated);
  REQUIRE(join(far.token, "near"));
  CHECK(join(far.token, "second").error().code == errc::unauthenticated);

  auto where = near.to(far);
  where.own = link::joined_before(folder.path, "near").value();
  auto there = link::dial_wait<echo_actor>(near.host->actors(), *near.endpoint, where);
  REQUIRE(there);
  runtime::outside out{near.host->actors()};
  CHECK(out.ask_wait(there->door(), patience, shared_word{"hi"}).value().text == "far:hi");
  CHECK(far.connection()->peer() == link::peer_identity{"node", "near"});
}
