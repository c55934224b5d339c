#include "runtime/supervise.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <caf/all.hpp>

#include "base/check.hpp"
#include "base/log.hpp"
#include "runtime/caf_error.hpp"
#include "runtime/completion.hpp"
#include "runtime/detail/supervision.hpp"
#include "runtime/race.hpp"
#include "runtime/sleep.hpp"

namespace dlls::runtime::detail {
namespace {

constexpr std::uint64_t tag_of_watchers = 0x73757076;  // a token subtype that CAF doesn't use

class end_attachable final : public caf::attachable {
 public:
  end_attachable(const void* key, resolver<child_end> done) : key_(key), done_(std::move(done)) {}
  void actor_exited(const caf::error& reason, caf::execution_unit*) override {
    const bool normal = !reason || reason == caf::exit_reason::user_shutdown;
    done_(child_end{normal, from_caf(reason, "it")});
  }
  bool matches(const token& what) override {
    return what.subtype == tag_of_watchers && what.ptr == key_;
  }

 private:
  const void* key_;
  resolver<child_end> done_;
};

// Lives in a coroutine that waits for an actor's end; takes the attachable off again. CAF's monitor
// and its one handler for down messages stay the user's.
class end_notice {
 public:
  explicit end_notice(caf::strong_actor_ptr of) : of_(std::move(of)) {}
  ~end_notice() { of_->get()->detach(caf::attachable::token{tag_of_watchers, this}); }
  end_notice(const end_notice&) = delete;
  end_notice& operator=(const end_notice&) = delete;
  void attach(resolver<child_end> done) {
    of_->get()->attach(std::make_unique<end_attachable>(this, std::move(done)));
  }

 private:
  caf::strong_actor_ptr of_;
};

void send_exit(const caf::strong_actor_ptr& to, caf::exit_reason why) {
  caf::anon_send_exit(caf::actor_cast<caf::actor>(to), why);
}

}  // namespace

supervision::supervision(core& c, scope& tasks, supervisor_options how)
    : core_(c),
      self_{&c},
      tasks_(tasks),
      how_(std::move(how)),
      chance_(how_.seed ? how_.seed : base::secure_random_u64()),
      changed_(c),
      work_(&self_, scope::on_failure::log) {
  work_.unlimited();
}

supervision::child* supervision::find(const std::string& name) const noexcept {
  for (const auto& c : children_)
    if (c->name == name) return c.get();
  return nullptr;
}

supervision::child* supervision::first_down(const group& g) const noexcept {
  for (auto* c : g.members)
    if (c->is == condition::down) return c;
  return nullptr;
}

bool supervision::is_remote(const caf::strong_actor_ptr& who) const noexcept {
  return who->nid != core_.self().node();
}

caf::strong_actor_ptr supervision::find_actor(const std::string& name) const {
  const auto* found = find(name);
  return found ? found->actor : nullptr;
}

void supervision::add(
    const std::shared_ptr<supervision>& self, std::string name, actor_factory make) {
  auto& s = *self;
  if (s.over_) return;
  base::check(!s.find(name), "a supervisor's children have names of their own");
  if (s.children_.empty())
    s.tasks_.spawn(guard({self.get(), [self](supervision* guarded) { guarded->stop(); }}));
  s.children_.push_back(std::make_unique<child>());
  auto* c = s.children_.back().get();
  c->name = std::move(name);
  c->make = std::move(make);
  if (s.groups_.empty() || s.how_.rule == restart_rule::one_for_one) {
    s.groups_.push_back(std::make_unique<group>(s.core_));
    s.work_.spawn(s.keep(s.groups_.back().get()));
  }
  s.groups_.back()->members.push_back(c);
  s.groups_.back()->changed.ring();
}

// --- starting ------------------------------------------------------------------------------------

task<void> supervision::keep(group* g) {
  for (;;) {
    while (!g->failed) {
      if (auto* c = first_down(*g))
        co_await start(g, c);
      else
        co_await g->changed.rung();
    }
    if (how_.rule == restart_rule::all_for_one) co_await end_all(g);
    const auto why = *std::exchange(g->failed, std::nullopt);
    if (!may_restart(why)) co_return;
    const auto wait = next_pause(*g);
    base::log_warning(
        "runtime", "{}; started again in {} ms", why.text(),
        std::chrono::duration_cast<std::chrono::milliseconds>(wait).count());
    co_await sleep(&self_, wait);
  }
}

task<void> supervision::start(group* g, child* c) {
  try {
    auto made = co_await c->make();
    if (!made) throw base::failure({base::errc::unavailable, "the factory gave no actor"});
    c->actor = std::move(made);
    c->is = condition::up;
    c->up_since = core_.now();
    work_.spawn(watch(g, c, ++c->life, c->actor));
    changed_.ring();
  } catch (...) {
    failed(*g, *c, current_exception_error());
  }
}

task<void> supervision::pause(std::chrono::nanoseconds time) { co_await sleep(&self_, time); }

std::chrono::nanoseconds supervision::next_pause(group& g) noexcept {
  auto whole = std::max(how_.backoff_first, std::chrono::nanoseconds{0});
  for (auto n = g.failures; n > 1 && whole < how_.backoff_most; --n) whole *= 2;
  whole = std::min(whole, how_.backoff_most);
  const auto half = whole.count() / 2;
  return std::chrono::nanoseconds{
      half +
      static_cast<std::int64_t>(static_cast<double>(whole.count() - half) * chance_.uniform())};
}

// --- ends ----------------------------------------------------------------------------------------

task<void> supervision::watch(group* g, child* c, std::uint64_t life, caf::strong_actor_ptr who) {
  end_notice notice{std::move(who)};
  auto start = [&](resolver<child_end> done) { notice.attach(std::move(done)); };
  auto end = co_await try_completion<child_end>(&self_, start);
  if (c->life == life) child_ended(*g, *c, end ? *end : child_end{false, end.error()});
}

void supervision::child_ended(group& g, child& c, const child_end& end) {
  c.actor = nullptr;
  if (std::exchange(c.ending, false)) {
    c.is = condition::down;
  } else if (end.normal && !how_.restart_normal_ends) {
    c.is = condition::done;
  } else {
    if (core_.now() - c.up_since >= how_.healthy_after) g.failures = 0;
    failed(g, c, end.why);
  }
  g.changed.ring();
  changed_.ring();
}

void supervision::failed(group& g, child& c, const base::error& why) {
  c.is = condition::down;
  if (g.failed) return;
  ++g.failures;
  g.failed.emplace(why.code, fmt::format("child '{}': {}", c.name, why.message), why.hint);
}

task<void> supervision::has_ended(group* g, child* c) {
  while (c->actor) co_await g->changed.rung();
}

task<void> supervision::end_all(group* g) {
  for (auto i = g->members.size(); i > 0; --i) {
    auto* c = g->members[i - 1];
    if (!c->actor) continue;
    if (is_remote(c->actor)) {
      ++c->life;
      c->actor = nullptr;
      c->is = condition::down;
      changed_.ring();
      continue;
    }
    c->ending = true;
    send_exit(c->actor, caf::exit_reason::user_shutdown);
    auto won = co_await race(has_ended(g, c), pause(how_.end_within));
    if (won.index() == 0) continue;
    if (c->actor) send_exit(c->actor, caf::exit_reason::kill);
    co_await has_ended(g, c);
  }
}

bool supervision::may_restart(const base::error& why) {
  const auto now = core_.now();
  while (!recent_.empty() && now - recent_.front() > how_.within) recent_.pop_front();
  if (how_.restarts_max != supervisor_options::without_limit) {
    if (recent_.size() >= how_.restarts_max) {
      give_up(why);
      return false;
    }
    recent_.push_back(now);
  }
  ++restarts_;
  return true;
}

void supervision::give_up(const base::error& last) {
  if (over_) return;
  gave_up_ = true;
  over_.emplace(
      base::errc::unavailable,
      fmt::format("given up after {} restarts: {}", recent_.size(), last.message), last.hint);
  changed_.ring();
}

// In tasks(), so that the actor's end destroys it, begun or not, and with it what was started.
task<void> supervision::guard(std::shared_ptr<supervision> self) {
  while (!self->over_) co_await self->changed_.rung();
  self->stop();
  if (!self->gave_up_) co_return;
  base::log_error(
      "runtime", "a supervisor of actor {}: {}", self->core_.self().id(), self->over_->text());
  if (self->how_.on_give_up)
    self->how_.on_give_up(*self->over_);
  else
    self->core_.self().quit(to_caf(*self->over_));
}

void supervision::stop() noexcept {
  if (!over_) over_.emplace(base::errc::cancelled, "the supervisor has gone");
  work_.destroy_all();
  for (auto i = children_.size(); i > 0; --i) {
    auto& c = *children_[i - 1];
    if (c.actor && !is_remote(c.actor)) send_exit(c.actor, caf::exit_reason::user_shutdown);
    c.actor = nullptr;
    if (c.is == condition::up) c.is = condition::down;
  }
  changed_.ring();
}

// --- waiting -------------------------------------------------------------------------------------

task<caf::strong_actor_ptr> supervision::until_up(
    std::shared_ptr<supervision> self, std::string name, caf::actor_addr other_than) {
  for (;;) {
    const auto* c = self->find(name);
    if (!c) throw base::failure({base::errc::not_found, fmt::format("no child '{}'", name)});
    if (c->actor && c->actor.get() != other_than.get()) co_return c->actor;
    if (self->over_) throw base::failure(*self->over_);
    if (c->is == condition::done)
      throw base::failure(
          {base::errc::failed_precondition, fmt::format("child '{}' has done its work", name)});
    co_await self->changed_.rung();
  }
}

std::shared_ptr<supervision> make_supervision(core& c, scope& tasks, supervisor_options how) {
  return std::make_shared<supervision>(c, tasks, std::move(how));
}
void add_child(const std::shared_ptr<supervision>& to, std::string name, actor_factory make) {
  supervision::add(to, std::move(name), std::move(make));
}
caf::strong_actor_ptr child_of(const supervision& of, const std::string& name) {
  return of.find_actor(name);
}
task<caf::strong_actor_ptr> child_up(
    std::shared_ptr<supervision> of, std::string name, caf::actor_addr other_than) {
  return supervision::until_up(std::move(of), std::move(name), std::move(other_than));
}
std::size_t restarts_of(const supervision& of) noexcept { return of.restarts(); }
void stop(supervision& what) noexcept { what.stop(); }

}  // namespace dlls::runtime::detail
