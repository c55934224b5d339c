// The question: does an ask cost the same with 10, 1,000 and 100,000 actors, and pending asks?
//
//   bench_ask_many [round trips per measurement] [rounds]
//
// First one actor that keeps N asks pending with another. Then N actors in a ring: each asks the
// next and answers the one before, one ask pending each, on CAF's scheduler that shares work. The
// default one, which steals it, isn't asked about 100,000 busy actors: a thief walks the victim's
// whole queue, and the last to be queued runs first, so that some get no turn for seconds and their
// deadlines pass. The same with CAF's request(...).then, for what a rise owes to the machine's
// caches and to CAF. What is timed comes after a warm-up.
#include <atomic>
#include <semaphore>

#include "benchmarks/runtime/echo.hpp"
#include "runtime/system.hpp"

namespace {

using namespace dlls::bench;
using go_atom = caf::atom_constant<caf::atom("go")>;
using member = caf::typed_actor<
    caf::replies_to<int>::with<int>, caf::reacts_to<go_atom, int>,
    caf::reacts_to<caf::strong_actor_ptr>>;

// Counts the actors that have made the asks they were told to make.
struct finish {
  std::atomic<int> left;
  std::binary_semaphore all{0};
  explicit finish(int actors) : left(actors) {}
  void one() {
    if (--left == 0) all.release();
  }
};

class co_member : public rt::co_actor<member> {
 public:
  co_member(caf::actor_config& config, finish* f) : co_actor(config), finish_(f) {}
  behavior_type make_behavior() override {
    return {serve(&co_member::answer), serve(&co_member::go), serve(&co_member::meet)};
  }

 private:
  rt::task<int> answer(int x) { co_return x + 1; }
  void go(go_atom, int asks) { tasks().spawn(run(asks)); }
  void meet(caf::strong_actor_ptr next) { next_ = caf::actor_cast<member>(next); }
  rt::task<void> run(int asks) {
    for (int i = 0; i < asks; ++i) {
      if (!co_await rt::try_ask(this, next_, deadline, 1)) std::abort();
    }
    finish_->one();
  }
  finish* finish_;
  member next_;
};

class raw_member : public member::base {
 public:
  raw_member(caf::actor_config& config, finish* f, kind what)
      : member::base(config), finish_(f), what_(what) {}
  behavior_type make_behavior() override {
    return {
        [](int x) { return x + 1; },
        [this](go_atom, int asks) {
          left_ = asks;
          next();
        },
        [this](const caf::strong_actor_ptr& next) { next_ = caf::actor_cast<member>(next); }};
  }

 private:
  void next() {
    if (left_-- == 0) return finish_->one();
    request(next_, within(what_), 1)
        .then([this](int) { next(); }, [](caf::error&) { std::abort(); });
  }
  finish* finish_;
  kind what_;
  int left_ = 0;
  member next_;
};

// Nanoseconds an ask.
double ring(kind what, int actors, int count, rt::idle_workers idle) {
  auto host = rt::make_system({.workers = 2, .idle = idle});
  finish f{actors};
  std::vector<member> members;
  for (int i = 0; i < actors; ++i) {
    members.push_back(
        what == kind::coroutine ? host->actors().spawn<co_member>(&f)
                                : host->actors().spawn<raw_member>(&f, what));
  }
  for (std::size_t i = 0; i < members.size(); ++i) {
    const auto& next = members[(i + 1) % members.size()];
    caf::anon_send(members[i], caf::actor_cast<caf::strong_actor_ptr>(next));
  }
  const auto run = [&](int asks_each) {
    f.left = actors;
    for (const auto& m : members) caf::anon_send(m, go_atom::value, asks_each);
    f.all.acquire();
  };
  run(3);
  const auto began = std::chrono::steady_clock::now();
  run(count / actors);
  const auto took = seconds_since(began);
  for (const auto& m : members) caf::anon_send_exit(m, caf::exit_reason::kill);
  return took / count * 1e9;
}

double ring_polling(kind what, int actors, int count) {
  return ring(what, actors, count, rt::idle_workers::poll);
}
double ring_sleeping(kind what, int actors, int count) {
  return ring(what, actors, count, rt::idle_workers::sleep);
}

double one_asker(kind what, int lanes, int count) {
  auto host = rt::make_system({.workers = 2, .idle = rt::idle_workers::poll});
  int warm = 2 * lanes;
  if (what != kind::coroutine && lanes > 10'000) {  // a few show how long CAF's own take then
    warm = 0;
    count = lanes;
  }
  return ask_between_two(host->actors(), what, {count + warm, lanes, count}) / count * 1e9;
}

void compare(const char* what, double (*measure)(kind, int, int), int many, int count, int rounds) {
  std::vector<double> coroutine, with, without;
  for (int i = 0; i < rounds; ++i) {
    coroutine.push_back(measure(kind::coroutine, many, count));
    with.push_back(measure(kind::raw_with_deadline, many, count));
    without.push_back(measure(kind::raw_without, many, count));
  }
  const double c = median(coroutine), w = median(with), n = median(without);
  fmt::print(
      "{:6} {}: coroutine ask {:5.0f} ns   raw with deadline {:5.0f} ns (ratio {:.2f})   raw "
      "without {:5.0f} ns (ratio {:.2f})\n",
      many, what, c, w, w / c, n, n / c);
}

}  // namespace

int main(int argc, char** argv) {
  const int count = argc > 1 ? std::atoi(argv[1]) : 1'000'000;
  const int rounds = argc > 2 ? std::atoi(argv[2]) : 3;
  print_conditions(count, rounds);
  for (int many : {10, 1'000, 100'000}) {
    compare("asks of one actor", one_asker, many, count, rounds);
  }
  for (int many : {10, 1'000, 100'000}) {
    compare("actors, idle workers sleep", ring_sleeping, many, count, rounds);
  }
  for (int many : {10, 1'000})
    compare("actors, idle workers poll", ring_polling, many, count, rounds);
}
