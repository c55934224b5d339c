// What a supervisor does: one coroutine a group of children that stand and fall together (all of
// them, or one each), one that watches each child, and one among its actor's tasks that notices the
// actor's end.
#pragma once
#include <caf/actor_control_block.hpp>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/random.hpp"
#include "runtime/detail/core.hpp"
#include "runtime/scope.hpp"
#include "runtime/supervise.hpp"

namespace dlls::runtime::detail {

// Wakes coroutines of its own actor, all that wait.
class bell {
 public:
  explicit bell(core& c) noexcept : core_(c) {}
  void ring() noexcept {
    while (auto* waiting = waiting_.pop_front()) core_.loop().make_ready(*waiting);
  }
  class [[nodiscard]] rung_awaiter final : public quiet_wait {
   public:
    explicit rung_awaiter(bell& of) noexcept
        : quiet_wait("a change among a supervisor's children"), bell_(of) {}
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> waiting) noexcept {
      suspend(waiting, bell_.core_.now());
      bell_.waiting_.push_back(*this);
    }
    void await_resume() const noexcept {}

   private:
    bell& bell_;
  };
  rung_awaiter rung() noexcept { return rung_awaiter{*this}; }

 private:
  core& core_;
  hook_list<ready_node, ready_tag> waiting_;
};

// How an actor ended.
struct child_end {
  bool normal = false;
  base::error why;
};

class supervision {
 public:
  supervision(core& c, scope& tasks, supervisor_options how);

  static void add(const std::shared_ptr<supervision>& self, std::string name, actor_factory make);
  caf::strong_actor_ptr find_actor(const std::string& name) const;
  static task<caf::strong_actor_ptr> until_up(
      std::shared_ptr<supervision> self, std::string name, caf::actor_addr other_than);
  std::size_t restarts() const noexcept { return restarts_; }
  // Ends everything, at once and for good. None of its coroutines may be on the stack.
  void stop() noexcept;

 private:
  enum class condition { down, up, done };
  struct child {
    std::string name;
    actor_factory make;
    condition is = condition::down;
    caf::strong_actor_ptr actor;  // while it is up
    time_point up_since{};
    std::uint64_t life = 0;  // which one of them
    bool ending = false;     // we have asked it to
  };
  struct group {
    explicit group(core& c) : changed(c) {}
    std::vector<child*> members;
    bell changed;
    std::optional<base::error> failed;
    unsigned failures = 0;  // since the last healthy time
  };
  // What sleep() and completion() ask of an actor.
  struct actor_side {
    detail::core* of;
    detail::core& core() const noexcept { return *of; }
  };

  static task<void> guard(std::shared_ptr<supervision> self);
  task<void> keep(group* g);
  task<void> start(group* g, child* c);
  task<void> watch(group* g, child* c, std::uint64_t life, caf::strong_actor_ptr who);
  task<void> end_all(group* g);
  task<void> has_ended(group* g, child* c);
  task<void> pause(std::chrono::nanoseconds time);

  child* find(const std::string& name) const noexcept;
  child* first_down(const group& g) const noexcept;
  bool is_remote(const caf::strong_actor_ptr& who) const noexcept;
  void child_ended(group& g, child& c, const child_end& end);
  void failed(group& g, child& c, const base::error& why);
  bool may_restart(const base::error& why);
  std::chrono::nanoseconds next_pause(group& g) noexcept;
  void give_up(const base::error& last);

  core& core_;
  actor_side self_;
  scope& tasks_;  // the actor's
  supervisor_options how_;
  base::random_source chance_;
  std::vector<std::unique_ptr<child>> children_;
  std::vector<std::unique_ptr<group>> groups_;
  std::deque<time_point> recent_;  // restarts within the window
  std::size_t restarts_ = 0;
  std::optional<base::error> over_;  // why there will be no more starts
  bool gave_up_ = false;
  bell changed_;
  scope work_;
};

}  // namespace dlls::runtime::detail
