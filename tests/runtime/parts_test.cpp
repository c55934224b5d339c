// The smaller parts: completion, errors, the message list, the system, virtual time itself.
#include <caf/io/middleman.hpp>
#include <catch2/catch.hpp>
#include <thread>

#include "runtime/detail/frames.hpp"
#include "tests/runtime/messages.hpp"

using namespace dlls;
using namespace dlls::tests;

namespace {

struct not_on_the_list {};
template <class Inspector>
typename Inspector::result_type inspect(Inspector& f, not_on_the_list&) {
  return f(caf::meta::type_name("not_on_the_list"));
}
using bad_request = caf::typed_actor<caf::reacts_to<not_on_the_list>>;
using bad_answer = caf::typed_actor<caf::replies_to<hello>::with<int, not_on_the_list>>;
using vectors = caf::typed_actor<caf::replies_to<std::vector<hello>, std::string>::with<bool>>;

}  // namespace

TEST_CASE("the message list sees a type that an interface names and nobody announces") {
  STATIC_REQUIRE(wire::covers<door>);
  STATIC_REQUIRE(wire::covers<vectors>);
  STATIC_REQUIRE_FALSE(wire::covers<bad_request>);
  STATIC_REQUIRE_FALSE(wire::covers<bad_answer>);
  STATIC_REQUIRE_FALSE(rt::message_list<hello>::covers<door>);
  STATIC_REQUIRE(rt::wire_name<hello>() == "dlls::tests::hello");
}

TEST_CASE("announced types have their wire name in the actor system") {
  auto host = rt::make_system({.workers = 2, .announce = wire::announce});
  const auto types = host->actors().message_types<door>();
  CHECK(types.count("caf::replies_to<dlls::tests::hello>::with<dlls::tests::welcome>") == 1);
}

TEST_CASE("errors survive the way to CAF and back, and foreign ones are translated") {
  for (int code = 1; code <= static_cast<int>(base::errc::too_long); ++code) {
    base::error e{static_cast<base::errc>(code), "message " + std::to_string(code), "hint"};
    CHECK(rt::from_caf(rt::to_caf(e)) == e);
    e.retry_after_s = 7;
    CHECK(rt::from_caf(rt::to_caf(e)) == e);
    CHECK(rt::from_caf(rt::to_caf(e.about("tools[3]"))) == e.about("tools[3]"));
  }
  CHECK(rt::from_caf(rt::to_caf({base::errc::ok, "m"})).code == base::errc::internal);
  CHECK(rt::from_caf(caf::error{200, caf::atom("dlls")}).code == base::errc::internal);
  CHECK(rt::from_caf(caf::sec::request_timeout).code == base::errc::deadline_exceeded);
  CHECK(rt::from_caf(caf::sec::request_receiver_down).code == base::errc::unavailable);
  CHECK(
      rt::from_caf(caf::exit_reason::remote_link_unreachable, "node n1") ==
      base::error{base::errc::unavailable, "node n1 vanished: remote_link_unreachable"});
  CHECK(rt::from_caf(caf::sec::unexpected_message).code == base::errc::unsupported);
}

TEST_CASE("the spawn and configuration servers cannot be found in a system of ours") {
  auto host = rt::make_system({.workers = 2, .network = true});
  CHECK(host->actors().registry().get(caf::atom("SpawnServ")) == nullptr);
  CHECK(host->actors().registry().get(caf::atom("ConfigServ")) == nullptr);
}

TEST_CASE("temporaries that GCC 12 would destroy twice inside co_await are refused") {
  struct aggregate {
    std::string text;
  };
  auto owning = [text = std::string{"x"}] { return text; };
  auto numbers = [n = 1] { return n; };
  using owner = decltype(owning);
  STATIC_REQUIRE_FALSE(rt::detail::safe_function<owner>);  // a temporary, or moved
  STATIC_REQUIRE(rt::detail::safe_function<owner&>);       // named
  STATIC_REQUIRE(rt::detail::safe_function<rt::taken<owner>>);
  STATIC_REQUIRE(rt::detail::safe_function<decltype(numbers)>);
  STATIC_REQUIRE_FALSE(rt::detail::safe_message<aggregate>);
  STATIC_REQUIRE(rt::detail::safe_message<aggregate&>);
  STATIC_REQUIRE(rt::detail::safe_message<hello>);
  CHECK(owning() == "x");
  CHECK(numbers() == 1);
}

TEST_CASE("a completion takes a value, an error or a result from any thread, once") {
  virtual_system world;
  std::vector<std::string> log;
  std::vector<std::thread> threads;
  rt::resolver<std::string>* kept = nullptr;
  auto r = world.spawn<runner>([&](runner* self) -> rt::task<void> {
    log.push_back(co_await rt::completion<std::string>(self, [&](rt::resolver<std::string> done) {
      threads.emplace_back([done] { done("from a thread"), done("ignored"); });
      threads.back().join();
    }));
    auto e = co_await rt::try_completion<int>(self, [](rt::resolver<int> done) {
      done(base::error{base::errc::io, "an error"});
    });
    log.push_back(e.error().message);
    log.push_back(std::to_string(co_await rt::completion<int>(
        self, [](rt::resolver<int> done) { done(base::result<int>{7}); })));
    co_await rt::completion<void>(self, [](rt::resolver<void> done) { done(base::result<>{}); });
    co_await rt::completion<void>(self, [](rt::resolver<void> done) { done(); });
    auto dropped = co_await rt::try_completion<int>(self, [](rt::resolver<int>) {});
    log.push_back(std::string{name(dropped.error().code)});
    try {
      co_await rt::completion<int>(
          self, [](rt::resolver<int>) { throw std::logic_error("start"); });
    } catch (const std::logic_error& thrown) {
      log.push_back(thrown.what());
    }
    try {
      co_await rt::completion<std::string>(self, 1s, [&](rt::resolver<std::string> done) {
        kept = new rt::resolver<std::string>{std::move(done)};
      });
    } catch (const base::failure& f) {
      log.push_back(std::string{name(f.why().code)});
    }
  });
  world.advance(2s);
  CHECK(
      log == std::vector<std::string>{
                 "from a thread", "an error", "7", "cancelled", "start", "deadline_exceeded"});
  REQUIRE(kept);
  (*kept)("too late");
  delete kept;
  world.run();
}

TEST_CASE("a resolver may be called after the actor has gone") {
  const auto frames = rt::live_frames();
  std::optional<rt::resolver<std::string>> kept;
  {
    virtual_system world;
    auto r = world.spawn<runner>([&](runner* self) -> rt::task<void> {
      co_await rt::completion<std::string>(
          self, [&](rt::resolver<std::string> done) { kept = std::move(done); });
    });
    world.run();
    world.kill(r);
    world.run();
    (*kept)("to nobody");
  }
  kept.reset();
  CHECK(rt::live_frames() == frames);
}

TEST_CASE("the same seed gives the same order of turns, another seed another one") {
  const auto run = [](std::uint64_t seed) {
    virtual_system world{seed};
    std::string order;
    auto p = world.spawn<porter>();
    std::vector<caf::actor> all;
    for (int i = 0; i < 10; ++i) {
      all.push_back(world.spawn<runner>([&order, p, i](runner* self) -> rt::task<void> {
        for (int k = 0; k < 5; ++k) {
          co_await rt::ask(self, p, 5s, hello{"x", k % 2});
          order += static_cast<char>('a' + i);
        }
      }));
    }
    world.advance(10s);
    return std::pair{order, world.trace()};
  };
  CHECK(run(7) == run(7));
  CHECK(run(7).first != run(8).first);
}

TEST_CASE("ninety virtual minutes of sleeping take no time to speak of") {
  virtual_system world;
  int minutes = 0;
  world.spawn<runner>([&](runner* self) -> rt::task<void> {
    for (; minutes < 90; ++minutes) co_await rt::sleep(self, 1min);
  });
  world.advance(90min);
  CHECK(minutes == 90);
  CHECK(world.elapsed() == 90min);
  CHECK(world.base_clock().steady() == 90min);
}

TEST_CASE("a system ends at once although deadlines of hours were set and met") {
  const auto began = std::chrono::steady_clock::now();
  {
    auto host = rt::make_system({.workers = 2});
    rt::outside out{host->actors()};
    auto p = host->actors().spawn<porter>();
    auto asker = host->actors().spawn<runner>(
        [p](runner* self) -> rt::task<void> { co_await rt::ask(self, p, 24h, hello{"x"}); });
    CHECK(out.ask_wait(p, 24h, hello{"x"}));
    CHECK(out.ask_wait<void>(asker, 24h, caf::unit).error().code != base::errc::cancelled);
  }
  CHECK(std::chrono::steady_clock::now() - began < 30s);
}
