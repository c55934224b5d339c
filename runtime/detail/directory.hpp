// The co_actors of one actor system, so that inspect() finds them. The list hangs on the system's
// configuration, as a thread hook that does nothing: found without a lock, no state of the process,
// and no peer can name it.
#pragma once
#include <array>
#include <atomic>
#include <caf/actor_control_block.hpp>
#include <caf/allowed_unsafe_message_type.hpp>
#include <caf/thread_hook.hpp>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "runtime/detail/run_loop.hpp"

namespace caf {
class actor_system;
class actor_system_config;
class scheduled_actor;
}  // namespace caf

namespace dlls::runtime::detail {

class core;
class directory;

// One actor's line on the list, part of the actor. Costs nothing where there is no list.
class listing final : public tagged_hook<class listing_tag> {
 public:
  explicit listing(caf::scheduled_actor& self);
  ~listing() { leave(); }
  listing(const listing&) = delete;
  listing& operator=(const listing&) = delete;
  // Before its first turn an actor may not be constructed yet, and is only counted.
  void begun() noexcept;
  // On the actor's last turn, or where it is destroyed.
  void leave() noexcept;

 private:
  friend class directory;
  caf::scheduled_actor& self_;
  directory* home_;  // outlives the actor system; null: not on a list
  std::atomic<const char*> name_{nullptr};
};

// What a snapshot wants of an actor, on that actor's turn. An actor that has ended destroys it
// unvisited.
class probe {
 public:
  virtual ~probe() = default;
  virtual void visit(core& of) noexcept = 0;
};
// Its message. Never announced, so it can't come from another node.
struct probe_signal {
  std::shared_ptr<probe> who;
  friend bool operator==(const probe_signal&, const probe_signal&) = default;
};

// Held for a few pointers' time; half the price of a mutex, at every actor's beginning and end.
class brief_lock {
 public:
  void lock() noexcept {
    while (taken_.exchange(true, std::memory_order_acquire)) std::this_thread::yield();
  }
  void unlock() noexcept { taken_.store(false, std::memory_order_release); }

 private:
  std::atomic<bool> taken_{false};
};

class directory final : public caf::thread_hook {
 public:
  struct entry {
    std::uint64_t id = 0;
    std::string name;             // empty: its first turn is still to come
    caf::strong_actor_ptr actor;  // null then
  };

  static void install(caf::actor_system_config& config);  // before the system
  // All that are there now. The caller drops the handles outside of any lock.
  static std::vector<entry> of(caf::actor_system& system);
  // To be visited on the actor's turn.
  static void send(const caf::strong_actor_ptr& to, std::shared_ptr<probe> who);

  void init(caf::actor_system&) override {}
  void thread_started() override {}
  void thread_terminates() override {}

 private:
  friend class listing;
  struct alignas(64) shard {
    brief_lock mutex;
    hook_list<listing, listing_tag> actors;
  };
  static directory* find(caf::actor_system& system) noexcept;  // null: none was installed
  shard& shard_of(std::uint64_t id) noexcept { return shards_[id % shards_.size()]; }
  static void list(shard& from, const caf::actor_system& of, std::vector<entry>& into);

  std::array<shard, 32> shards_;
};

}  // namespace dlls::runtime::detail

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(dlls::runtime::detail::probe_signal)
