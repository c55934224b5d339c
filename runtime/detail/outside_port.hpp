// The address to which answers for threads outside of the actor system come.
#pragma once
#include <caf/actor_control_block.hpp>
#include <caf/monitorable_actor.hpp>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_set>
#include <utility>

#include "base/error.hpp"
#include "runtime/detail/answer.hpp"
#include "runtime/detail/pending_calls.hpp"

namespace dlls::runtime::detail {

// One ask and its callback. The outcome is stored under the port's lock, delivered outside of it.
class outside_call_base : public operation {
 public:
  virtual ~outside_call_base() = default;
  virtual void fail(base::error why) = 0;
  virtual void deliver() = 0;
  void expired() override { fail(late_answer(*callee)); }
  void callee_lost(const base::error& why) override { fail(why); }
  std::string describe() const override { return "an answer for a thread"; }

  caf::strong_actor_ptr callee;
  std::uint64_t call_number = 0;  // known when it is closed, too
};

template <class R, class Then>
class outside_call final : public outside_call_base {
 public:
  explicit outside_call(Then then) : then_(std::move(then)) {}
  void fail(base::error why) override {
    outcome_.emplace(boost::system::in_place_error, std::move(why));
  }
  after_answer answered(caf::type_erased_tuple& content) override {
    outcome_.emplace(read_answer<R>(content, *callee));
    return after_answer::closed;
  }
  void deliver() override { then_(std::move(*outcome_)); }

 private:
  Then then_;
  std::optional<base::result<R>> outcome_;
};

// Not scheduled: it handles what it gets on the sender's thread.
class outside_port final : public caf::monitorable_actor {
 public:
  explicit outside_port(caf::actor_config& config);
  ~outside_port() override;

  void send(
      caf::strong_actor_ptr callee, caf::actor_clock::duration_type within,
      caf::mailbox_element_ptr request, std::unique_ptr<outside_call_base> call);
  // See ~outside.
  void close();

  void enqueue(caf::mailbox_element_ptr message, caf::execution_unit* host) override;
  const char* name() const override { return "outside"; }

 private:
  // Tells the callee that nobody waits for this call any more. Not under the lock.
  void cancel_call(const outside_call_base& call) noexcept;
  // Calls back and counts, so that close() can wait.
  void deliver(std::unique_ptr<outside_call_base> call);

  std::mutex mutex_;
  std::condition_variable idle_;
  pending_calls calls_;
  std::unordered_set<outside_call_base*> open_;  // owned
  std::size_t delivering_ = 0;
  bool closed_ = false;
};

// Owns the port and gives access to it.
class outside_port_ptr {
 public:
  explicit outside_port_ptr(caf::strong_actor_ptr port) noexcept : port_(std::move(port)) {}
  outside_port* operator->() const noexcept;

 private:
  caf::strong_actor_ptr port_;
};

outside_port_ptr make_outside_port(caf::actor_system& system);

}  // namespace dlls::runtime::detail
