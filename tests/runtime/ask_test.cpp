#include <catch2/catch.hpp>

#include "tests/runtime/messages.hpp"

using namespace dlls;
using namespace dlls::tests;

TEST_CASE("an ask from outside is answered after virtual time has passed") {
  virtual_system world;
  auto p = world.spawn<porter>();
  auto r = world.ask(p, 10s, hello{"you", 3000});
  REQUIRE(r);
  CHECK(r->text == "hello you");
  CHECK(world.elapsed() == 3000ms);
}

TEST_CASE("a coroutine asks another actor and goes on with the answer") {
  virtual_system world;
  auto p = world.spawn<porter>();
  std::string got;
  world.spawn<runner>([&](runner* self) -> rt::task<void> {
    auto w = co_await rt::ask(self, p, 5s, hello{"a name long enough for the heap, 1"});
    got = w.text;
  });
  world.run();
  CHECK(got == "hello a name long enough for the heap, 1");
}
