// What one actor does with its coroutines during a turn: resume what is ready, one after the other,
// and tidy up in between. CAF-free.
//
// One invariant carries the whole design: at most one coroutine (with the tasks it awaits) is on
// the stack, because everything that becomes ready is queued and resumed flat from `run`. So
// whoever destroys frames between two resumptions can never destroy a running one.
#pragma once
#include <chrono>
#include <coroutine>
#include <cstdint>
#include <string>

#include "runtime/detail/frames.hpp"

namespace dlls::runtime::detail {

// CAF's clock counts in these.
using time_point = std::chrono::steady_clock::time_point;
// A deadline far away: none.
inline constexpr time_point no_deadline = time_point::max();

// A node of an intrusive, circular, doubly linked list. Leaves its list when it dies.
class hook {
 public:
  hook() noexcept = default;
  hook(const hook&) = delete;
  hook& operator=(const hook&) = delete;
  ~hook() { unlink(); }
  bool linked() const noexcept { return next_ != this; }
  void unlink() noexcept {
    prev_->next_ = next_;
    next_->prev_ = prev_;
    prev_ = next_ = this;
  }
  void insert_before(hook& other) noexcept {
    unlink();
    prev_ = other.prev_;
    next_ = &other;
    prev_->next_ = this;
    other.prev_ = this;
  }
  hook* next() const noexcept { return next_; }

 private:
  hook* prev_ = this;
  hook* next_ = this;
};

// A hook with a purpose, so that one object can stand in several lists.
template <class Tag>
class tagged_hook : public hook {};

template <class T, class Tag>
class hook_list {
 public:
  bool empty() const noexcept { return !head_.linked(); }
  void push_back(T& item) noexcept { as_hook(item).insert_before(head_); }
  void push_front(T& item) noexcept { as_hook(item).insert_before(*head_.next()); }
  // Unlinks and returns the first, or nullptr.
  T* pop_front() noexcept {
    if (empty()) return nullptr;
    auto* first = front();
    as_hook(*first).unlink();
    return first;
  }
  T* front() const noexcept { return as_item(head_.next()); }
  template <class Visitor>
  void for_each(Visitor&& visit) const {
    for (auto* at = head_.next(); at != &head_; at = at->next()) visit(*as_item(at));
  }

 private:
  static T* as_item(hook* at) noexcept {
    return static_cast<T*>(static_cast<tagged_hook<Tag>*>(at));
  }
  static hook& as_hook(T& item) noexcept { return static_cast<tagged_hook<Tag>&>(item); }
  hook head_;
};

class job;
class run_loop;

// A suspended coroutine that waits for its turn. Lives in the coroutine's own frame.
class ready_node : public tagged_hook<class ready_tag> {
 public:
  // Remembers what to resume, and as part of which job. Called on that job's turn.
  void suspend(std::coroutine_handle<> waiting) noexcept;

  std::coroutine_handle<> resume_point;
  job* owner = nullptr;  // outlives this: the frame belongs to it, directly or through other tasks
};

// A wait that no message ends, but another coroutine of the same actor. Listed for inspect().
class quiet_wait : public ready_node, public tagged_hook<class quiet_tag> {
 public:
  explicit quiet_wait(const char* what) noexcept : what(what) {}
  void suspend(std::coroutine_handle<> waiting, time_point now) noexcept;

  const char* what;  // for people; a literal
  time_point since{};
};

// Something to be done while no coroutine is on the stack.
class chore : public tagged_hook<class chore_tag> {
 public:
  virtual void perform() noexcept = 0;

 protected:
  ~chore() = default;
};

// A started task that nobody awaits by `co_await`: a handler, a child of a scope, a gather, a race.
class job : public ready_node, public tagged_hook<class job_tag> {
 public:
  // The task has finished; its result stands in its promise. Its frame may be destroyed from the
  // next chore or resumption on, not in here: see run_loop::retire.
  virtual void finished() noexcept = 0;
  // What `retire` ends with.
  virtual void retired() noexcept {}
  // For people: what this is.
  virtual std::string name() const = 0;

  // When the work it does is of no use any more; what it asks of others inherits it.
  virtual time_point deadline(time_point now) noexcept = 0;
  // Of a gather or a race: who awaits it.
  virtual job* parent() const noexcept { return nullptr; }

  // It waits for something: from the first time on, its time passes.
  void begin(time_point now) noexcept {
    if (began != time_point{}) return;
    began = now;
    deadline(now);
  }

  time_point began{};  // when it first waited for something

 protected:
  job() = default;
  ~job() = default;
};

// A scope, as its core sees it.
class scope_base : public chore, public tagged_hook<class scopes_tag> {
 public:
  virtual void destroy_all() noexcept = 0;

 protected:
  ~scope_base() = default;
};

class run_loop {
 public:
  run_loop() = default;
  run_loop(const run_loop&) = delete;
  run_loop& operator=(const run_loop&) = delete;

  // While one of these lives, this thread is on the turn of the loop's actor.
  class turn {
   public:
    explicit turn(run_loop& loop) noexcept;
    ~turn();
    turn(const turn&) = delete;
    turn& operator=(const turn&) = delete;

   private:
    run_loop* outer_;
  };

  void make_ready(ready_node& node) noexcept { ready_.push_back(node); }
  void make_ready_first(ready_node& node) noexcept { ready_.push_front(node); }
  void later(chore& c) noexcept { chores_.push_back(c); }
  // Calls retired() while no coroutine is on the stack, before any other is resumed.
  void retire(job& j) noexcept { retired_.push_back(j); }
  // Starts a task as `root`, at the next `run`.
  template <class Task>
  void start(Task& t, job& root) noexcept {
    t.frame().promise().set_root(root);
    root.resume_point = t.frame();
    root.owner = &root;
    jobs_.push_back(root);
    make_ready(root);
  }

  // Does all that is ready. Called by the actor at the end of each message; a nested call returns
  // at once, since the outer one goes on.
  void run() noexcept;
  bool running() const noexcept { return running_; }
  // The job whose coroutine is on the stack; null between them.
  job* current_job() const noexcept { return current_job_; }
  // All that have begun and not ended, in that order.
  template <class Visitor>
  void for_each_job(Visitor&& visit) const {
    jobs_.for_each(visit);
  }
  template <class Visitor>
  void for_each_quiet_wait(Visitor&& visit) const {
    quiet_.for_each(visit);
  }

  // The loop whose turn it is on this thread. A bug to ask outside of an actor's turn.
  static run_loop& current() noexcept;

 private:
  friend frame_cache* current_frame_cache() noexcept;
  friend class quiet_wait;
  hook_list<ready_node, ready_tag> ready_;
  hook_list<chore, chore_tag> chores_;
  hook_list<ready_node, ready_tag> retired_;  // jobs; a job waits for its turn or has had it
  hook_list<job, job_tag> jobs_;
  hook_list<quiet_wait, quiet_tag> quiet_;
  frame_cache frames_;
  job* current_job_ = nullptr;
  bool running_ = false;
};

}  // namespace dlls::runtime::detail
