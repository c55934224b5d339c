// What the cases of compile_fail_test.py share: an interface, a message, an actor's handle.
#pragma once
#include "runtime/ask.hpp"
#include "runtime/co_actor.hpp"
#include "runtime/offload.hpp"
#include "runtime/stream.hpp"
#include "runtime/subscribe.hpp"

namespace cases {

namespace rt = dlls::runtime;
using namespace std::chrono_literals;

struct question {
  std::string text;
  question() = default;
  explicit question(std::string t) : text(std::move(t)) {}
};
template <class Inspector>
typename Inspector::result_type inspect(Inspector& f, question& x) {
  return f(caf::meta::type_name("question"), x.text);
}
struct aggregate {
  std::string text;
};
template <class Inspector>
typename Inspector::result_type inspect(Inspector& f, aggregate& x) {
  return f(caf::meta::type_name("aggregate"), x.text);
}

using door = caf::typed_actor<
    caf::replies_to<question>::with<int>, caf::replies_to<aggregate>::with<int>,
    caf::replies_to<std::string>::with<rt::part<int>>>;

class asker : public rt::co_actor<caf::actor> {
 public:
  using co_actor::co_actor;
  caf::behavior make_behavior() override {
    return {[](caf::unit_t) {}};
  }
  rt::task<int> use(door to, rt::worker_pool& pool, std::string text);
  rt::task<int> by_reference(const question& q);
  rt::task<int> by_value(question q);
  rt::stream<int> values(question q);
};

}  // namespace cases
