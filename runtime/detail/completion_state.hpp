// What a resolver, on any thread, and a waiting coroutine share.
#pragma once
#include <atomic>
#include <caf/actor_addr.hpp>
#include <caf/message_id.hpp>
#include <exception>
#include <memory>
#include <type_traits>
#include <utility>
#include <variant>

#include "base/error.hpp"
#include "runtime/caf_error.hpp"

namespace dlls::runtime::detail {

// Written once by whoever resolves, before the wake-up message; read on the actor's turn, after it.
template <class T>
class completion_state {
 public:
  using stored = std::conditional_t<std::is_void_v<T>, std::monostate, T>;

  template <class U>
  void put(U&& outcome) {
    using plain = std::remove_cvref_t<U>;
    if constexpr (std::is_same_v<plain, stored>) {
      outcome_.template emplace<1>(std::forward<U>(outcome));
    } else if constexpr (std::is_same_v<plain, base::error>) {
      outcome_.template emplace<2>(std::forward<U>(outcome));
    } else if constexpr (std::is_same_v<plain, std::exception_ptr>) {
      outcome_.template emplace<3>(std::forward<U>(outcome));
    } else if constexpr (std::is_same_v<plain, base::result<T>>) {
      if (!outcome)
        outcome_.template emplace<2>(outcome.error());
      else if constexpr (std::is_void_v<T>)
        outcome_.template emplace<1>();
      else
        outcome_.template emplace<1>(*std::forward<U>(outcome));
    } else {
      outcome_.template emplace<1>(std::forward<U>(outcome));
    }
  }
  T take() {
    if (auto* e = std::get_if<2>(&outcome_)) throw base::failure(std::move(*e));
    if (auto* thrown = std::get_if<3>(&outcome_)) std::rethrow_exception(std::move(*thrown));
    if constexpr (!std::is_void_v<T>) return std::move(std::get<1>(outcome_));
  }
  base::result<T> take_result() {
    try {
      if constexpr (std::is_void_v<T>) {
        take();
        return {};
      } else {
        return take();
      }
    } catch (...) {
      return current_exception_error();
    }
  }

 private:
  std::variant<std::monostate, stored, base::error, std::exception_ptr> outcome_;
};

// Wakes an actor that may be gone by then.
struct completion_waker {
  caf::actor_addr who;
  caf::message_id id;
  void wake() const noexcept;
};

template <class T>
class completion_ticket {
 public:
  completion_ticket(std::shared_ptr<completion_state<T>> state, completion_waker waker)
      : state_(std::move(state)), waker_(std::move(waker)) {}
  completion_ticket(const completion_ticket&) = delete;
  completion_ticket& operator=(const completion_ticket&) = delete;
  ~completion_ticket() {
    if (!called_.load()) {
      resolve(base::error{base::errc::cancelled, "dropped before it was completed"});
    }
  }
  template <class U>
  void resolve(U&& outcome) {
    if (called_.exchange(true)) return;
    try {
      state_->put(std::forward<U>(outcome));
    } catch (...) {
      state_->put(std::current_exception());
    }
    waker_.wake();
  }

 private:
  std::shared_ptr<completion_state<T>> state_;
  completion_waker waker_;
  std::atomic<bool> called_{false};
};

}  // namespace dlls::runtime::detail
