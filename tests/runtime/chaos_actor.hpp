// An actor that runs random programs: every step draws what it does next, and with whom. All draws
// come from one source, so that on virtual time a seed replays the whole run.
#pragma once
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "base/random.hpp"
#include "runtime/race.hpp"
#include "runtime/stream.hpp"
#include "runtime/subscribe.hpp"
#include "runtime/timeout.hpp"
#include "tests/runtime/messages.hpp"

namespace dlls::tests {

// Answered with its token, by a program of that depth.
struct work {
  int depth = 0;
  int token = 0;
  work() = default;
  work(int d, int t) : depth(d), token(t) {}
};
// The same, detached.
struct stubborn {
  int depth = 0;
  int token = 0;
  stubborn() = default;
  stubborn(int d, int t) : depth(d), token(t) {}
};
// Answered with a stream of numbers, from the token up.
struct flow {
  int count = 0;
  int depth = 0;
  int token = 0;
  flow() = default;
  flow(int c, int d, int t) : count(c), depth(d), token(t) {}
};
struct poke {
  int what = 0;
  poke() = default;
  explicit poke(int w) : what(w) {}
};
template <class Inspector>
typename Inspector::result_type inspect(Inspector& f, work& x) {
  return f(caf::meta::type_name("work"), x.depth, x.token);
}
template <class Inspector>
typename Inspector::result_type inspect(Inspector& f, stubborn& x) {
  return f(caf::meta::type_name("stubborn"), x.depth, x.token);
}
template <class Inspector>
typename Inspector::result_type inspect(Inspector& f, flow& x) {
  return f(caf::meta::type_name("flow"), x.count, x.depth, x.token);
}
template <class Inspector>
typename Inspector::result_type inspect(Inspector& f, poke& x) {
  return f(caf::meta::type_name("poke"), x.what);
}

// What all actors of one run share. Virtual time has one thread.
struct chaos {
  explicit chaos(std::uint64_t seed) : chance(seed) {}
  base::random_source chance;
  std::vector<caf::actor> actors;
  std::vector<caf::actor_addr> everybody;
  std::vector<rt::resolver<int>> resolvers;
  int budget = 0;  // steps that may still be begun
  int actors_alive = 0, steps_alive = 0;
  int answered = 0, failed = 0, wrong = 0, values = 0;

  int below(int n) { return static_cast<int>(chance.below(static_cast<std::uint64_t>(n))); }
  caf::actor any() {  // or nobody
    if (actors.empty()) return {};
    return actors[static_cast<std::size_t>(below(static_cast<int>(actors.size())))];
  }
  void resolve_some() {
    if (resolvers.empty()) return;
    const auto which = resolvers.begin() + below(static_cast<int>(resolvers.size()));
    if (below(4) > 0) (*which)(7);
    resolvers.erase(which);
  }
};

class chaos_actor final : public rt::co_actor<caf::actor> {
 public:
  chaos_actor(caf::actor_config& config, std::shared_ptr<chaos> in)
      : co_actor(config), in_(std::move(in)) {
    ++in_->actors_alive;
  }
  ~chaos_actor() override { --in_->actors_alive; }
  caf::behavior make_behavior() override {
    return {
        serve(&chaos_actor::do_work), serve(&chaos_actor::do_stubborn, detached),
        serve(&chaos_actor::do_flow), serve(&chaos_actor::do_poke)};
  }

 private:
  struct presence {
    explicit presence(std::shared_ptr<chaos> w) : in(std::move(w)) { ++in->steps_alive; }
    presence(const presence&) = delete;
    ~presence() { --in->steps_alive; }
    std::shared_ptr<chaos> in;
  };
  std::chrono::milliseconds draw_time(int most) {
    return std::chrono::milliseconds{in_->below(most)};
  }

  // --- handlers
  rt::task<int> do_work(work w) {
    co_await program(w.depth);
    co_return w.token;
  }
  rt::task<int> do_stubborn(stubborn w) {
    co_await program(w.depth);
    co_return w.token;
  }
  rt::stream<int> do_flow(flow f) {
    for (int i = 0; i < f.count; ++i) {
      if (in_->below(4) == 0) co_await program(f.depth);
      co_yield f.token + i;
    }
  }
  void do_poke(poke p) {
    switch (p.what) {
      case 0:
      case 1:
        kept_.reset();
        break;
      case 2:
        in_->resolve_some();
        break;
      case 3:
        side_.cancel();
        break;
      case 4:
        if (in_->below(6) == 0) quit();
        break;
      default:
        tasks().spawn(program(2));
    }
  }

  // --- programs
  rt::task<void> program(int depth) {
    for (int steps = 1 + in_->below(3); steps > 0 && in_->budget > 0; --steps) {
      --in_->budget;
      co_await step(depth);
    }
  }
  rt::task<int> counted(int depth, int result) {
    co_await program(depth);
    co_return result;
  }

  rt::task<void> step(int depth) {
    const presence here{in_};
    if (depth <= 0) {
      co_await rt::sleep(this, draw_time(30));
      co_return;
    }
    switch (in_->below(18)) {
      case 0:
      case 1:
      case 2:
        co_return co_await ask_one(depth);
      case 3:
        co_return co_await race_some(depth);
      case 4:
        co_return co_await gather_some(depth);
      case 5:
        (void)co_await rt::try_timeout(this, draw_time(40), program(depth - 1));
        co_return;
      case 6:
        co_return co_await use_scope(depth);
      case 7:
      case 8:
        co_return co_await take_stream(depth);
      case 9:
        co_return co_await keep_stream(depth);
      case 10:
        co_return co_await wait_for_completion();
      case 11:
        tasks().spawn(program(depth - 1));
        co_return;
      case 12:
        side_.spawn(program(depth - 1));
        co_return;
      case 13:
        co_return poke_one();
      case 14:
        throw_something();
      case 15:
        co_return co_await several_askers(depth);
      case 16:
        co_return end_somebody();
      default:
        co_await rt::sleep(this, draw_time(60));
    }
  }

  void poke_one() {
    if (const auto to = in_->any()) send(to, poke{in_->below(6)});
  }
  [[noreturn]] void throw_something() {
    if (in_->below(2) == 0) throw std::runtime_error("chaos");
    throw base::failure({base::errc::stale, "chaos"});
  }
  void end_somebody() {
    if (in_->below(3) > 0) return;
    const auto reason = in_->below(2) == 0 ? caf::exit_reason::kill : caf::exit_reason::normal;
    if (in_->below(4) == 0) {
      quit();
      throw std::runtime_error("this one has quit");
    }
    if (const auto who = in_->any()) caf::anon_send_exit(who, reason);
  }

  rt::task<void> ask_one(int depth) {
    const int token = in_->below(1 << 30);
    const auto within = in_->below(2) == 0 ? draw_time(20) : std::chrono::milliseconds{5'000};
    base::result<int> got{0};
    if (in_->below(3) == 0)
      got = co_await rt::try_ask<int>(this, in_->any(), within, stubborn{depth - 1, token});
    else
      got = co_await rt::try_ask<int>(this, in_->any(), within, work{depth - 1, token});
    note(got, token);
    if (!got && in_->below(4) == 0) throw base::failure(std::move(got).error());
  }
  void note(const base::result<int>& got, int token) {
    if (!got)
      ++in_->failed;
    else if (*got == token)
      ++in_->answered;
    else
      ++in_->wrong;
  }

  rt::task<void> race_some(int depth) {
    if (in_->below(2) == 0) {
      const auto won = co_await rt::race(counted(depth - 1, 1), rt::sleep(this, draw_time(40)));
      if (won.index() == 0 && std::get<0>(won) != 1) ++in_->wrong;
      co_return;
    }
    std::vector<rt::task<int>> runners;
    for (int i = 0, n = 1 + in_->below(4); i < n; ++i) runners.push_back(counted(depth - 1, i));
    const auto won = co_await rt::race(std::move(runners));
    if (won.value != static_cast<int>(won.index)) ++in_->wrong;
  }
  rt::task<void> gather_some(int depth) {
    if (in_->below(2) == 0) {
      const auto both = co_await rt::gather(counted(depth - 1, 1), counted(depth - 1, 2));
      if (std::get<0>(both) != 1 || std::get<1>(both) != 2) ++in_->wrong;
      co_return;
    }
    std::vector<rt::task<int>> all;
    const int n = in_->below(4);
    for (int i = 0; i < n; ++i) all.push_back(counted(depth - 1, i));
    const auto got = co_await rt::gather(std::move(all));
    for (int i = 0; i < n; ++i)
      if (got[static_cast<std::size_t>(i)] != i) ++in_->wrong;
  }
  rt::task<void> several_askers(int depth) {
    const int token = in_->below(1 << 30);
    auto first = rt::try_ask<int>(this, in_->any(), draw_time(50), work{depth - 1, token});
    auto second = rt::try_ask<int>(this, in_->any(), draw_time(50), stubborn{depth - 1, token + 1});
    const auto won = co_await rt::race(std::move(first), std::move(second));
    if (won.index() == 0)
      note(std::get<0>(won), token);
    else
      note(std::get<1>(won), token + 1);
  }

  rt::task<void> use_scope(int depth) {
    rt::scope own{
        this, in_->below(2) == 0 ? rt::scope::on_failure::cancel : rt::scope::on_failure::log};
    for (int i = 0, n = in_->below(4); i < n; ++i) own.spawn(program(depth - 1));
    co_await rt::sleep(this, draw_time(10));
    switch (in_->below(4)) {
      case 0:
        co_await own.join();
        break;
      case 1:
        co_await own.close();
        break;
      case 2:
        own.cancel();
        co_await program(depth - 1);
        break;
      default:
        break;
    }
  }

  rt::subscription<int> open_stream(int depth, int token) {
    const auto window =
        in_->below(10) == 0 ? ~std::uint32_t{0} : static_cast<std::uint32_t>(in_->below(6));
    const auto within = in_->below(2) == 0 ? draw_time(20) : std::chrono::milliseconds{2'000};
    return rt::subscribe<int>(
        this, in_->any(), within, flow{in_->below(30), depth - 1, token}, window);
  }
  rt::task<void> take_stream(int depth) {
    const int token = in_->below(1 << 20);
    auto values = open_stream(depth, token);
    for (int i = 0, n = in_->below(30); i < n; ++i) {
      const auto one = co_await values.try_next();
      if (!one || !*one) break;
      ++in_->values;
      if (**one != token + i) ++in_->wrong;
      if (in_->below(6) == 0) co_await program(depth - 1);
    }
  }
  // Into the actor, where a handler may drop it; even while somebody waits for its next value.
  rt::task<void> keep_stream(int depth) {
    kept_.emplace(open_stream(depth, 0));
    kept_begun_ = false;
    const auto ours = ++kept_number_;
    for (int i = 0, n = in_->below(6); i < n && kept_ && kept_number_ == ours; ++i) {
      kept_begun_ = true;
      const auto one = co_await kept_->try_next();
      if (one && *one && **one != i) ++in_->wrong;
    }
  }
  // A subscription not begun is nothing but a handle: a member of that kind may close a circle.
  void on_exit() override {
    if (!kept_begun_) kept_.reset();
  }

  rt::task<void> wait_for_completion() {
    const auto keep = [this](rt::resolver<int> done) { in_->resolvers.push_back(std::move(done)); };
    const auto got = co_await rt::completion<int>(this, 200ms, keep);
    if (got != 7) ++in_->wrong;
  }

  std::shared_ptr<chaos> in_;
  std::optional<rt::subscription<int>> kept_;
  bool kept_begun_ = false;
  int kept_number_ = 0;
  rt::scope side_{this, rt::scope::on_failure::log};
};

}  // namespace dlls::tests
