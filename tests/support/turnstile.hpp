// Lets a pool of one thread work only when the test says so: what was queued before waits, and each
// let_through() returns when it has been done and what follows waits again.
//
//   turnstile gate{pool};
//   ...                                // something queues a job
//   CHECK(pool.queued() == 1);
//   gate.let_through();
#pragma once
#include <catch2/catch.hpp>
#include <future>
#include <memory>
#include <utility>

#include "runtime/worker_pool.hpp"

namespace dlls::tests {

class turnstile {
 public:
  explicit turnstile(runtime::worker_pool& pool) : pool_(pool), at_(put_bar()) { at_->wait(); }
  ~turnstile() { at_->opened.set_value(); }
  turnstile(const turnstile&) = delete;
  turnstile& operator=(const turnstile&) = delete;

  void let_through() {
    auto before = std::exchange(at_, put_bar());
    before->opened.set_value();
    at_->wait();
  }

 private:
  struct bar {
    std::promise<void> reached, opened;
    void wait() { reached.get_future().wait(); }
  };
  std::shared_ptr<bar> put_bar() {
    auto made = std::make_shared<bar>();
    REQUIRE(pool_.submit([made] {
      made->reached.set_value();
      made->opened.get_future().wait();
    }));
    return made;
  }

  runtime::worker_pool& pool_;
  std::shared_ptr<bar> at_;
};

}  // namespace dlls::tests
