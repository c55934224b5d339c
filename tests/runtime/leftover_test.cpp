// What an actor holds in its members rather than in a coroutine ends with it all the same.
#include <catch2/catch.hpp>

#include <memory>
#include <optional>

#include "runtime/detail/frames.hpp"
#include "runtime/stream.hpp"
#include "runtime/subscribe.hpp"
#include "tests/runtime/messages.hpp"

using namespace dlls;
using namespace dlls::tests;

namespace {

struct life {
  int holders = 0, producers = 0, woken = 0;
  base::errc code = base::errc::internal;
};

class producer final : public rt::co_actor<caf::actor> {
 public:
  producer(caf::actor_config& config, life* l) : co_actor(config), life_(l) {}
  caf::behavior make_behavior() override { return {serve(&producer::count)}; }

 private:
  rt::stream<int> count(int pause_ms) {
    const presence here{life_->producers};
    for (int i = 0;; ++i) {
      if (pause_ms > 0) co_await rt::sleep(this, std::chrono::milliseconds{pause_ms});
      co_yield i;
    }
  }
  struct presence {
    explicit presence(int& c) : count(c) { ++count; }
    ~presence() { --count; }
    int& count;
  };
  life* life_;
};

// Keeps a subscription and a scope as members.
class holder final : public rt::co_actor<caf::actor> {
 public:
  holder(caf::actor_config& config, life* l, caf::actor from)
      : co_actor(config), life_(l), from_(std::move(from)) {
    ++life_->holders;
  }
  ~holder() override { --life_->holders; }
  caf::behavior make_behavior() override {
    return {
        serve(&holder::begin), serve(&holder::take), serve(&holder::drop),
        serve(&holder::side_work)};
  }

 private:
  rt::task<int> begin(int pause_ms) {
    values_.emplace(rt::subscribe<int>(this, from_, 1h, pause_ms));
    const auto first = co_await values_->next();
    co_return *first;
  }
  rt::task<bool> take(bool throwing) {
    (void)throwing;
    const auto next = co_await values_->try_next();
    ++life_->woken;
    if (!next) life_->code = next.error().code;
    co_return true;
  }
  void drop(std::string) { values_.reset(); }
  void side_work(float) { side_.spawn(nested()); }
  rt::task<void> nested() {
    rt::scope inner{this};
    inner.spawn(pause());
    const auto both = co_await rt::gather(pause_one(), pause_one());
    (void)both;
  }
  rt::task<void> pause() { co_await rt::sleep(this, 1h); }
  rt::task<int> pause_one() {
    co_await rt::sleep(this, 1h);
    co_return 1;
  }

  life* life_;
  caf::actor from_;
  std::optional<rt::subscription<int>> values_;
  rt::scope side_{this};
};

}  // namespace

TEST_CASE("an actor that ends with an open subscription as a member stops its producer") {
  const auto frames_before = rt::live_frames();
  life l;
  {
    virtual_system world;
    const auto from = world.spawn<producer>(&l);
    auto to = world.spawn<holder>(&l, from);
    REQUIRE(world.ask<int>(to, 1s, 0).value() == 0);
    CHECK(l.producers == 1);
    world.kill(to);
    to = nullptr;
    world.advance(1s);
    CHECK(l.producers == 0);
    CHECK(l.holders == 0);
  }
  CHECK(rt::live_frames() == frames_before);
}

TEST_CASE("an actor that ends with tasks in a scope of its own destroys them and itself") {
  const auto frames_before = rt::live_frames();
  life l;
  {
    virtual_system world;
    const auto from = world.spawn<producer>(&l);
    auto to = world.spawn<holder>(&l, from);
    caf::anon_send(to, 1.0f);
    caf::anon_send(to, 2.0f);
    world.advance(1s);
    CHECK(rt::live_frames() > frames_before);
    world.kill(to);
    to = nullptr;
    world.advance(1s);
    CHECK(l.holders == 0);
    CHECK(rt::live_frames() == frames_before);
  }
}

TEST_CASE("a subscription dropped while its next value is awaited wakes who waits") {
  life l;
  virtual_system world;
  const auto from = world.spawn<producer>(&l);
  const auto to = world.spawn<holder>(&l, from);
  REQUIRE(world.ask<int>(to, 1min, 50).value() == 0);
  caf::anon_send(to, true);
  world.run();
  caf::anon_send(to, std::string("drop it"));
  world.run();
  CHECK(l.woken == 1);
  CHECK(l.code == base::errc::cancelled);
  world.advance(1h);
  CHECK(l.producers == 0);
}

namespace {

// Waits for what never comes, without a call that would keep it alive.
class stuck final : public rt::co_actor<caf::actor> {
 public:
  using co_actor::co_actor;
  caf::behavior make_behavior() override {
    tasks().spawn(wait());
    return {serve(&stuck::hang, detached)};
  }

 private:
  rt::task<void> wait() { co_await tasks().join(); }
  rt::task<int> hang(int x) {
    co_await tasks().join();
    co_return x;
  }
};

}  // namespace

TEST_CASE("an actor that nobody can reach any more answers what it owes, and dies once") {
  const auto frames_before = rt::live_frames();
  {
    virtual_system world;
    auto to = world.spawn<stuck>();
    base::result<int> late{0}, asked{0};
    const auto asker = world.spawn<runner>([&](runner* self) -> rt::task<void> {
      late = co_await rt::try_ask<int>(self, to, 1s, 1);
      to = nullptr;
      co_await rt::sleep(self, 1s);
    });
    world.advance(1min);
    CHECK(late.error().code == base::errc::deadline_exceeded);
    CHECK(rt::live_frames() == frames_before);
  }
  CHECK(rt::live_frames() == frames_before);
}
