// Streams between actors of one process; tests/runtime_link has those across a link.
#include "runtime/stream.hpp"

#include <catch2/catch.hpp>

#include "base/random.hpp"
#include "runtime/race.hpp"
#include "runtime/subscribe.hpp"
#include "runtime/timeout.hpp"
#include "tests/runtime/messages.hpp"

using namespace dlls;
using namespace dlls::tests;

namespace {

using source_door = caf::typed_actor<caf::replies_to<hello>::with<rt::part<int>>>;
using stream_wire = rt::message_list<hello, rt::part<int>>;
static_assert(stream_wire::covers<source_door>);

struct counts {
  int yielded = 0;
  int ended = 0;
  int destroyed = 0;
};

// Yields 0, 1, 2 ...: "N" ends after N, "fail N" throws then, "" never ends. wait_ms: between two.
class source : public rt::co_actor<source_door> {
 public:
  source(caf::actor_config& config, counts* seen) : co_actor(config), seen_(seen) {}
  behavior_type make_behavior() override { return {serve(&source::count)}; }

 private:
  rt::stream<int> count(hello order) {
    struct guard {
      counts* seen;
      explicit guard(counts* s) : seen(s) {}
      ~guard() { ++seen->destroyed; }
    } g{seen_};
    const bool fails = order.name.starts_with("fail ");
    const int most = order.name.empty() ? 1 << 30 : std::stoi(order.name.substr(fails ? 5 : 0));
    for (int i = 0; i < most; ++i) {
      if (order.wait_ms) co_await rt::sleep(this, std::chrono::milliseconds{order.wait_ms});
      co_yield i;
      ++seen_->yielded;
    }
    if (fails) throw base::failure({base::errc::corrupt, "no more", "ask another"});
    ++seen_->ended;
  }
  counts* seen_;
};

}  // namespace

TEST_CASE("a stream brings every value once, in order, and ends") {
  for (std::uint32_t window : {1u, 2u, 3u, 8u, 1000u}) {
    virtual_system world{seed_or(window)};
    CAPTURE(world.seed(), window);
    counts seen;
    auto from = world.spawn<source>(&seen);
    std::vector<int> got;
    bool ended = false;
    world.spawn<runner>([&](runner* self) -> rt::task<void> {
      auto values = rt::subscribe(self, from, 5s, hello{"100"}, window);
      while (auto one = co_await values.next()) got.push_back(*one);
      ended = !co_await values.next();  // and stays ended
    });
    world.run();
    REQUIRE(got.size() == 100);
    for (int i = 0; i < 100; ++i) CHECK(got[static_cast<std::size_t>(i)] == i);
    CHECK(ended);
    CHECK(seen.ended == 1);
    CHECK(seen.destroyed == 1);
  }
  CHECK(rt::live_frames() == 0);
}

TEST_CASE("a stream of nothing just ends, and one that fails brings its values first") {
  virtual_system world;
  counts seen;
  auto from = world.spawn<source>(&seen);
  std::vector<int> got;
  base::error why;
  world.spawn<runner>([&](runner* self) -> rt::task<void> {
    auto none = rt::subscribe(self, from, 5s, hello{"0"});
    const auto nothing = co_await none.next();
    CHECK(!nothing);
    auto some = rt::subscribe(self, from, 5s, hello{"fail 3"});
    for (;;) {
      auto one = co_await some.try_next();
      if (!one) {
        why = one.error();
        break;
      }
      got.push_back(**one);
    }
    CHECK_THROWS_AS(co_await some.next(), base::failure);
  });
  world.run();
  CHECK(got == std::vector<int>{0, 1, 2});
  CHECK(why == base::error{base::errc::corrupt, "no more", "ask another"});
}

TEST_CASE("a slow consumer holds the producer back: no more values than the window") {
  virtual_system world;
  counts seen;
  auto from = world.spawn<source>(&seen);
  int taken = 0, ahead_max = 0;
  constexpr std::uint32_t window = 6;
  auto consumer = world.spawn<runner>([&](runner* self) -> rt::task<void> {
    auto values = rt::subscribe(self, from, 5s, hello{""}, window);
    while (co_await values.next()) {
      ++taken;
      co_await rt::sleep(self, 1s);
      ahead_max = std::max(ahead_max, seen.yielded - taken);
    }
  });
  world.advance(1min);
  CHECK(taken == 61);  // at 0 s, 1 s, ... 60 s
  CHECK(ahead_max == window);
  world.kill(consumer);
  world.run();
  CHECK(seen.destroyed == 1);  // a consumer that vanishes ends the producer
  CHECK(rt::live_frames() == 0);
}

TEST_CASE("a subscription that is dropped stops its producer") {
  virtual_system world;
  counts seen;
  auto from = world.spawn<source>(&seen);
  world.spawn<runner>([&](runner* self) -> rt::task<void> {
    {
      auto values = rt::subscribe(self, from, 5s, hello{"", 10});
      const auto first = co_await values.next();
      CHECK(first == 0);
    }
    co_await rt::sleep(self, 1s);
    CHECK(seen.destroyed == 1);
    CHECK(seen.yielded <= 2);
    { auto never_begun = rt::subscribe(self, from, 5s, hello{"", 10}); }
    co_await rt::sleep(self, 1s);
    CHECK(seen.destroyed == 1);  // nothing was sent
  });
  world.advance(1min);
}

TEST_CASE("a producer that goes silent fails the subscription at its limit, and is stopped") {
  virtual_system world;
  counts seen;
  auto from = world.spawn<source>(&seen);
  base::error why;
  world.spawn<runner>([&](runner* self) -> rt::task<void> {
    auto values = rt::subscribe(self, from, 2s, hello{"", 3000});
    auto one = co_await values.try_next();
    if (!one) why = one.error();
    const auto still = co_await values.try_next();
    CHECK(!still);
  });
  world.advance(2s);
  CHECK(why.code == base::errc::deadline_exceeded);
  CHECK(seen.destroyed == 1);
}

TEST_CASE("a producer that dies fails the subscription at once, after what it had sent") {
  virtual_system world;
  counts seen;
  auto from = world.spawn<source>(&seen);
  std::vector<int> got;
  base::error why;
  world.spawn<runner>([&](runner* self) -> rt::task<void> {
    auto values = rt::subscribe(self, from, 1h, hello{"", 1000});
    while (true) {
      auto one = co_await values.try_next();
      if (!one) {
        why = one.error();
        co_return;
      }
      got.push_back(**one);
    }
  });
  world.advance(2500ms);
  world.kill(from);
  world.run();
  CHECK(got == std::vector<int>{0, 1});
  CHECK(why.code == base::errc::unavailable);
  CHECK(world.elapsed() == 2500ms);
}

TEST_CASE("a next() that is cancelled loses no value") {
  virtual_system world;
  counts seen;
  auto from = world.spawn<source>(&seen);
  std::vector<int> got;
  int lost_races = 0;
  world.spawn<runner>([&](runner* self) -> rt::task<void> {
    auto values = rt::subscribe(self, from, 5s, hello{"50", 10});
    for (;;) {
      auto won = co_await rt::race(values.next(), rt::sleep(self, 7ms));
      if (won.index() == 1) {
        ++lost_races;
        continue;
      }
      auto& one = std::get<0>(won);
      if (!one) break;
      got.push_back(*one);
    }
  });
  world.advance(1min);
  REQUIRE(got.size() == 50);
  for (int i = 0; i < 50; ++i) CHECK(got[static_cast<std::size_t>(i)] == i);
  CHECK(lost_races > 10);
}

TEST_CASE("a time limit on one next() is none on the stream") {
  virtual_system world;
  counts seen;
  auto from = world.spawn<source>(&seen);
  int got = 0;
  world.spawn<runner>([&](runner* self) -> rt::task<void> {
    auto values = rt::subscribe(self, from, 30s, hello{"10", 300});
    auto first = co_await rt::try_timeout(self, 1s, values.next());
    if (first && *first) ++got;
    while (co_await values.next()) ++got;
  });
  world.advance(1min);
  CHECK(got == 10);
}

TEST_CASE("what an actor keeps in its members ends with it: scopes and subscriptions") {
  virtual_system world;
  counts seen;
  auto from = world.spawn<source>(&seen);
  auto asked = world.spawn<porter>();
  class keeper : public rt::co_actor<caf::actor> {
   public:
    keeper(caf::actor_config& config, source_door from, door asked)
        : co_actor(config), from_(std::move(from)), asked_(std::move(asked)) {}
    caf::behavior make_behavior() override {
      tasks().spawn(begin());
      return {[](caf::unit_t) {}};
    }

   private:
    rt::task<void> begin() {
      auto values = rt::subscribe(this, from_, 1h, hello{""});
      co_await values.next();
      kept_.emplace(std::move(values));
      own_.spawn(ask_long());
    }
    rt::task<void> ask_long() { co_await rt::ask(this, asked_, 1h, hello{"x", 60'000}); }
    source_door from_;
    door asked_;
    rt::scope own_{this};
    std::optional<rt::subscription<int>> kept_;
  };
  auto k = world.spawn<keeper>(from, asked);
  world.advance(1s);
  CHECK(seen.destroyed == 0);
  world.kill(k);
  world.run();
  CHECK(seen.destroyed == 1);
  CHECK(rt::live_frames() == 0);
}

TEST_CASE("a subscription that goes before the one who waits for it ends his wait") {
  virtual_system world;
  counts seen;
  auto from = world.spawn<source>(&seen);
  base::error why;
  world.spawn<runner>([&](runner* self) -> rt::task<void> {
    rt::scope beside{self};
    auto wait = [](rt::subscription<int>* values, base::error* into) -> rt::task<void> {
      auto one = co_await values->try_next();
      if (!one) *into = one.error();
    };
    std::optional<rt::subscription<int>> values{rt::subscribe(self, from, 1h, hello{"", 5000})};
    beside.spawn(wait(&*values, &why));
    co_await rt::sleep(self, 1s);
    values.reset();
    co_await beside.join();
  });
  world.advance(2s);
  CHECK(why.code == base::errc::cancelled);
}

TEST_CASE("asking for a stream, and subscribing to a single answer, say so") {
  virtual_system world;
  counts seen;
  auto from = world.spawn<source>(&seen);
  auto p = world.spawn<porter>();
  base::error asked, subscribed, nobody;
  world.spawn<runner>([&](runner* self) -> rt::task<void> {
    auto one = co_await rt::try_ask<int>(self, caf::actor_cast<caf::actor>(from), 5s, hello{"5"});
    if (!one) asked = one.error();
    auto as_stream = rt::subscribe<int>(self, caf::actor_cast<caf::actor>(p), 5s, hello{"5"});
    auto two = co_await as_stream.try_next();
    if (!two) subscribed = two.error();
    auto empty = rt::subscribe(self, source_door{}, 5s, hello{"5"});
    auto three = co_await empty.try_next();
    if (!three) nobody = three.error();
  });
  world.run();
  CHECK(asked.code == base::errc::unsupported);
  CHECK(subscribed.code == base::errc::unsupported);
  CHECK(nobody.code == base::errc::unavailable);
  CHECK(seen.destroyed == 0);
}

TEST_CASE("a stream that brings more than was granted is refused") {
  virtual_system world;
  // A plain actor that pretends to be a producer and knows no credit.
  // (With an argument: without one CAF binds a null reference, which UBSan reports.)
  const auto rude_body = [](caf::event_based_actor* self, int) -> caf::behavior {
    return {[self](hello&) {
      auto* request = self->current_mailbox_element();
      for (int i = 0; i < 5; ++i)
        request->sender->enqueue(
            self->ctrl(), request->mid.response_id(), caf::make_message(rt::part<int>{i}), nullptr);
      return caf::delegated<rt::part<int>>{};
    }};
  };
  auto rude = world.actors().spawn(rude_body, 0);
  int got = 0;
  base::error why;
  world.spawn<runner>([&](runner* self) -> rt::task<void> {
    auto values = rt::subscribe<int>(self, rude, 5s, hello{}, 3);
    for (;;) {
      auto one = co_await values.try_next();
      if (!one) {
        why = one.error();
        co_return;
      }
      ++got;
      co_await rt::sleep(self, 1ms);
    }
  });
  world.advance(1s);
  CHECK(got == 3);
  CHECK(why.code == base::errc::resource_exhausted);
  world.kill(rude);
  world.run();
}

TEST_CASE("a stream inside a handler has no more time than whoever asked the handler") {
  virtual_system world;
  counts seen;
  auto from = world.spawn<source>(&seen);
  class summing : public rt::co_actor<door> {
   public:
    summing(caf::actor_config& config, source_door from) : co_actor(config), from_(from) {}
    behavior_type make_behavior() override {
      return {serve(&summing::greet), serve(&summing::note)};
    }

   private:
    rt::task<welcome> greet(hello order) {
      int sum = 0;
      auto values = rt::subscribe(this, from_, 1h, std::move(order));
      while (auto one = co_await values.next()) sum += *one;
      co_return welcome{std::to_string(sum)};
    }
    void note(progress) {}
    source_door from_;
  };
  auto s = world.spawn<summing>(from);
  const auto sum = world.ask(s, 5s, hello{"10", 100});
  REQUIRE(sum);
  CHECK(sum->text == "45");
  CHECK(!world.ask(s, 5s, hello{"", 100}));
  world.run();
  CHECK(seen.destroyed == 2);
  CHECK(rt::live_frames() == 0);
}

TEST_CASE("random consumers and producers: nothing is lost, doubled or leaked") {
  for (std::uint64_t run = 0; run < 60; ++run) {
    const auto seed = seed_or(1000 + run);
    base::random_source chance{seed};
    virtual_system world{seed};
    CAPTURE(seed);
    counts seen;
    auto from = world.spawn<source>(&seen);
    int wrong = 0, begun = 0;
    auto consume = [&](runner* self, int most, int pause, int delay,
                       std::uint32_t window) -> rt::task<void> {
      auto values = rt::subscribe(self, from, 1h, hello{std::to_string(most), delay}, window);
      for (int i = 0;; ++i) {
        auto one = co_await values.next();
        if (!one) {
          if (i != most) ++wrong;
          co_return;
        }
        if (*one != i) ++wrong;
        if (pause) co_await rt::sleep(self, std::chrono::milliseconds{pause});
      }
    };
    std::vector<caf::actor> consumers;
    for (int i = 0; i < 6; ++i) {
      const int most = static_cast<int>(chance.below(40)),
                pause = static_cast<int>(chance.below(3));
      const int delay = static_cast<int>(chance.below(3));
      const auto window = static_cast<std::uint32_t>(1 + chance.below(9));
      ++begun;
      consumers.push_back(world.spawn<runner>([&consume, most, pause, delay, window](runner* self) {
        return consume(self, most, pause, delay, window);
      }));
    }
    world.advance(std::chrono::milliseconds{chance.below(30)});
    world.kill(consumers[chance.below(consumers.size())]);
    if (chance.below(4) == 0) world.kill(from);
    world.advance(1min);
    CHECK(wrong == 0);
    CHECK(seen.destroyed == begun);
  }
  CHECK(rt::live_frames() == 0);
}
