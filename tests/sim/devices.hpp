// What has a thread of its own, made to work only when it is let: the pools of a world, and its
// ledger. While one works, the test's thread waits; so nothing happens at the same time.
#pragma once
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "runtime/worker_pool.hpp"
#include "tests/sim/ordered_ledger.hpp"
#include "tests/support/turnstile.hpp"

namespace dlls::tests {

class device {
 public:
  explicit device(std::string n) : name(std::move(n)) {}
  device(const device&) = delete;
  device& operator=(const device&) = delete;
  virtual ~device() = default;
  virtual bool has_work() const = 0;
  // Does some of what waits.
  virtual void work() = 0;

  const std::string name;
  // Set when work is found waiting, until it is done: not before this virtual time.
  std::optional<std::chrono::microseconds> not_before;
};

class pool_device final : public device {
 public:
  pool_device(std::string n, std::shared_ptr<runtime::worker_pool> pool)
      : device(std::move(n)), pool_(std::move(pool)), gate_(*pool_) {}
  bool has_work() const override { return pool_->queued() > 0; }
  void work() override { gate_.let_through(); }

 private:
  std::shared_ptr<runtime::worker_pool> pool_;
  turnstile gate_;
};

// The ledger of each life of the coordinator.
class ledger_device final : public device {
 public:
  ledger_device() : device("ledger") {}
  bool has_work() const override { return at && at->has_work(); }
  void work() override { at->work(); }
  std::shared_ptr<ledger::ordered_ledger> at;
};

}  // namespace dlls::tests
