// What one actor does with its coroutines during a turn: resume what is ready, one after the other,
// and tidy up in between. CAF-free.
//
// One invariant carries the whole design: at most one coroutine (with the tasks it awaits) is on
// the stack, because everything that becomes ready is queued and resumed flat from `run`. So
// whoever destroys frames between two resumptions can never destroy a running one.
#pragma once
#include <coroutine>

namespace dlls::runtime::detail {

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
  T* front() const noexcept {
    return static_cast<T*>(static_cast<tagged_hook<Tag>*>(head_.next()));
  }

 private:
  static hook& as_hook(T& item) noexcept { return static_cast<tagged_hook<Tag>&>(item); }
  hook head_;
};

// A suspended coroutine that waits for its turn. Lives in the coroutine's own frame.
class ready_node : public tagged_hook<class ready_tag> {
 public:
  std::coroutine_handle<> resume_point;
};

// Something to be done while no coroutine is on the stack.
class chore : public tagged_hook<class chore_tag> {
 public:
  virtual void perform() noexcept = 0;

 protected:
  ~chore() = default;
};

class job : public ready_node {
 public:
  // The task has finished; its result stands in its promise. Its frame may be destroyed from the
  // next chore or resumption on, not in here.
  virtual void finished() noexcept = 0;

 protected:
  ~job() = default;
};

class run_loop {
 public:
  run_loop() = default;
  run_loop(const run_loop&) = delete;
  run_loop& operator=(const run_loop&) = delete;

  void make_ready(ready_node& node) noexcept { ready_.push_back(node); }
  void make_ready_first(ready_node& node) noexcept { ready_.push_front(node); }
  void later(chore& c) noexcept { chores_.push_back(c); }
  // Starts a task as `root`, at the next `run`.
  template <class Task>
  void start(Task& t, job& root) noexcept {
    t.frame().promise().root = &root;
    root.resume_point = t.frame();
    make_ready(root);
  }

  // Does all that is ready. Called by the actor at the end of each message; a nested call returns
  // at once, since the outer one goes on.
  void run() noexcept;
  bool running() const noexcept { return running_; }
  // The loop that runs on this thread right now. A bug to ask outside of a coroutine.
  static run_loop& current() noexcept;

 private:
  hook_list<ready_node, ready_tag> ready_;
  hook_list<chore, chore_tag> chores_;
  bool running_ = false;
};

}  // namespace dlls::runtime::detail
