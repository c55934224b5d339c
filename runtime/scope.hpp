// scope: owns tasks that run beside the one that started them, and never outlive it.
//
//   runtime::scope uploads{this};
//   for (auto& part : parts) uploads.spawn(send(part));
//   co_await uploads.join();    // all done, or the first failure rethrown
//
// Lives in a coroutine's frame or in its actor; used on that actor's turns only. Its destructor
// cancels (destroys) what still runs, so a child can never touch a dead parent. A scope that is
// made inside of a handler's coroutine gives its children the handler's deadline (ask.hpp).
#pragma once
#include <boost/assert/source_location.hpp>
#include <cstddef>
#include <exception>

#include "runtime/detail/run_loop.hpp"
#include "runtime/task.hpp"

namespace dlls::runtime {

namespace detail {
class core;
class scope_child;
class scope_tag;
}  // namespace detail

class scope final : private detail::scope_base {
 public:
  // What the failure of one child does to its siblings.
  enum class on_failure {
    cancel,  // they are cancelled; join() rethrows the failure
    log,     // nothing; the failure is logged (for scopes that nobody joins)
  };

  // `self` is the co_actor whose turns this scope lives on.
  template <class Self>
  explicit scope(Self* self, on_failure rule = on_failure::cancel) : scope(self->core(), rule) {}
  scope(const scope&) = delete;
  scope& operator=(const scope&) = delete;
  ~scope();

  // Starts the task when the current coroutine suspends next, or its handler returns. A closed (or
  // failed and cancelled) scope destroys it unstarted and says false. `where` is what `dlls
  // inspect` calls it.
  bool spawn(task<void> child, boost::source_location where = BOOST_CURRENT_LOCATION);
  std::size_t size() const noexcept { return size_; }
  bool closed() const noexcept { return closed_; }

  // Until no child runs. Rethrows the first failure.
  auto join() noexcept { return join_awaiter{*this}; }
  // Cancels every child, refuses new ones, and waits until their frames are gone. A child may close
  // the scope it belongs to; it is cancelled at this await. Never throws.
  auto close() noexcept {
    cancel();
    return close_awaiter{*this};
  }
  // The same without waiting: children go as soon as the current coroutine suspends.
  void cancel() noexcept;

  // For the owner's end, when none of its coroutines is running: cancels and closes at once.
  void destroy_all() noexcept override;
  // For a scope that is made inside of a handler and outlives it: its children have no deadline.
  void unlimited() noexcept { deadline_ = detail::no_deadline; }

 private:
  friend class detail::scope_child;
  class waiter : public detail::quiet_wait {
   public:
    explicit waiter(scope& s) noexcept : quiet_wait("the tasks of a scope"), scope_(s) {}
    void await_suspend(std::coroutine_handle<> waiting) noexcept {
      suspend(waiting, scope_.now());
      scope_.waiting_.push_back(*this);
    }

   protected:
    scope& scope_;
  };
  class [[nodiscard]] join_awaiter : public waiter {
   public:
    using waiter::waiter;
    bool await_ready() const noexcept { return scope_.size_ == 0; }
    void await_resume() { scope_.rethrow(); }
  };
  class [[nodiscard]] close_awaiter : public waiter {
   public:
    using waiter::waiter;
    bool await_ready() const noexcept { return scope_.size_ == 0; }
    void await_resume() const noexcept {}
  };

  detail::time_point now() const noexcept;
  void perform() noexcept override { destroy_all(); }
  void wake() noexcept;
  void rethrow();
  void child_finished(detail::scope_child& child) noexcept;

  scope(detail::core& c, on_failure rule);

  detail::core& core_;
  on_failure rule_;
  detail::time_point deadline_;
  bool closed_ = false;
  std::size_t size_ = 0;
  detail::hook_list<detail::scope_child, detail::scope_tag> children_;
  std::exception_ptr failure_;
  detail::hook_list<detail::ready_node, detail::ready_tag> waiting_;
};

}  // namespace dlls::runtime
