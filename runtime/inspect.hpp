// What the actors of a system do right now: their tasks, and what each suspended one waits for.
//
//   for (const auto& actor : runtime::inspect(system)) ...      // blocks, up to a second
//   std::puts(runtime::to_text(runtime::inspect(system)).c_str());
//
//   actor 7  dlls::actors::node
//     handler of dlls::actors::offer, asked by actor 12: 3.2 s, 26.8 s left
//       waits 3.1 s for the answer of actor 9
//
// co_actors only: a plain CAF actor keeps no account of what it waits for. Those of a system that
// make_system made are listed; for one of your own, call list_actors with its configuration before
// you make it. Two systems in a process never see each other's.
//
// An actor is asked by a message of the runtime and answers on its own turn, so what is shown of it
// is consistent. One that does not answer in time is `busy`: it computes, or blocks, or has a long
// queue. The question is no message for behaviors and handlers; but like any message it lets a
// CAF receive timeout (`after`) begin anew.
//
// Texts name types, source lines and ids, never the content of a message. Ages are on the actor
// system's clock. Costs two short locks in the life of an actor, nothing else, until somebody asks;
// then one turn of each actor.
#pragma once
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace caf {
class actor_system;
class actor_system_config;
}  // namespace caf

namespace dlls::runtime {

struct wait_view {
  std::string what;  // "the answer of actor 9", "a time to come", ...
  std::chrono::nanoseconds age{};
};

// A handler's coroutine, a task of a scope, or a part of a gather or a race.
struct task_view {
  std::string what;
  // A part of a gather, a race or a timeout: one more than the task that awaits it, which stands
  // before it. Else 0.
  std::size_t depth = 0;
  std::optional<std::chrono::nanoseconds> age;        // since it first waited; none: it has not yet
  std::optional<std::chrono::nanoseconds> time_left;  // of its deadline (ask.hpp); not negative
  std::vector<wait_view> waits;  // empty: for something that is not of this library
};

enum class actor_condition {
  answered,  // it takes its turns; without tasks it waits for messages
  busy,      // it has not answered in time
  starting,  // its first turn is still to come
};

struct actor_view {
  std::uint64_t id = 0;
  std::string name;  // its name() when it has one of its own, else its class; empty while starting
  actor_condition condition = actor_condition::busy;
  std::vector<task_view> tasks;    // in the order of their start, parts after their whole
  std::size_t tasks_left_out = 0;  // beyond inspect_options::tasks_max
};

struct inspect_options {
  std::chrono::nanoseconds within = std::chrono::seconds{1};  // real time
  std::size_t tasks_max = 1000;                               // that are shown of each actor
};

// By id. Blocks until all have answered, or the time is over. From any thread that is none of the
// actor system's: not on an actor's turn, where a snapshot is the way.
std::vector<actor_view> inspect(caf::actor_system& system, inspect_options how = {});

// The same in steps: asks when it is made, and is looked at when the caller likes.
class snapshot {
 public:
  explicit snapshot(caf::actor_system& system, std::size_t tasks_max = 1000);
  // Blocks; true when all have answered.
  bool wait(std::chrono::nanoseconds within);
  // By id; whoever has not answered so far is busy, whoever has ended meanwhile is left out.
  std::vector<actor_view> take() const;

 private:
  std::shared_ptr<class snapshot_state> state_;
};

// A tree, for people. One object, {"actors": [...]}, for programs: id, name, condition, tasks with
// what, depth, age_ms, left_ms (null: none) and waits, tasks_left_out.
std::string to_text(const std::vector<actor_view>& actors);
std::string to_json(const std::vector<actor_view>& actors);

// Lets the co_actors of the system that will be made with it be listed. make_system does it.
void list_actors(caf::actor_system_config& config);

}  // namespace dlls::runtime
