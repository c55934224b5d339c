// The ledger's operations as awaitables: `auto job = co_await ledger_.advance(step);` gives a
// base::result on the actor's turn. Owned by its actor; what each operation means and fails with
// stands in ledger/ledger.hpp.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "ledger/ledger.hpp"
#include "runtime/completion.hpp"

namespace dlls::actors {

template <class Actor>
class ledger_calls {
 public:
  ledger_calls(Actor* self, std::shared_ptr<ledger::ledger> jobs)
      : self_(self), jobs_(std::move(jobs)) {}

  auto find_job(std::string id, ledger::owner_scope owner = ledger::any_owner) {
    return call<ledger::job>([=](ledger::ledger& to, auto done) { to.find_job(owner, id, done); });
  }
  auto list_jobs(ledger::job_filter filter) {
    return call<ledger::page<ledger::job>>(
        [=](ledger::ledger& to, auto done) { to.list_jobs(filter, done); });
  }
  auto advance(ledger::edge step) {
    return call<ledger::job>([=](ledger::ledger& to, auto done) { to.advance(step, done); });
  }
  auto grant(const ledger::job& job, std::string node) {
    return call<ledger::job>([=, id = job.id, fence = job.fence](ledger::ledger& to, auto done) {
      to.grant(id, node, fence, done);
    });
  }
  auto pause(std::string node, std::string why) {
    return call<std::vector<ledger::job>>(
        [=](ledger::ledger& to, auto done) { to.pause(node, why, done); });
  }
  auto pause_job(const ledger::job& job, std::string why) {
    return call<ledger::job>([=, id = job.id, fence = job.fence](ledger::ledger& to, auto done) {
      to.pause_job(id, fence, why, done);
    });
  }
  auto resume(const ledger::job& job, std::string node) {
    return call<ledger::job>([=, id = job.id, fence = job.fence](ledger::ledger& to, auto done) {
      to.resume(id, node, fence, done);
    });
  }
  auto forget(std::int64_t before_ms, std::uint32_t limit) {
    return call<std::uint64_t>(
        [=](ledger::ledger& to, auto done) { to.forget(before_ms, limit, done); });
  }
  auto unused_blobs(std::vector<std::string> sha256) {
    return call<std::vector<std::string>>(
        [=](ledger::ledger& to, auto done) { to.unused_blobs(sha256, done); });
  }
  auto get_setting(std::string key) {
    return call<std::optional<std::string>>(
        [=](ledger::ledger& to, auto done) { to.get_setting(key, done); });
  }
  auto set_setting(std::string key, std::string value) {
    return call<bool>([=](ledger::ledger& to, auto done) { to.set_setting(key, value, done); });
  }
  auto claim_due(std::int64_t now_ms, std::int64_t hold_ms, std::uint32_t limit) {
    return call<std::vector<ledger::outbox_row>>(
        [=](ledger::ledger& to, auto done) { to.claim_due(now_ms, hold_ms, limit, done); });
  }
  auto mark_sent(std::string id) {
    return call<bool>([=](ledger::ledger& to, auto done) { to.mark_sent(id, done); });
  }
  auto mark_failed(std::string id, std::optional<std::int64_t> next_ms, std::string why) {
    return call<bool>(
        [=](ledger::ledger& to, auto done) { to.mark_failed(id, next_ms, why, done); });
  }
  auto next_due() {
    return call<std::optional<std::int64_t>>(
        [](ledger::ledger& to, auto done) { to.next_due(done); });
  }

  ledger::ledger& direct() { return *jobs_; }

 private:
  // No coroutine: the closures below live in ordinary functions, where GCC 12 compiles them right.
  template <class T, class Operation>
  auto call(Operation operation) {
    auto start = [jobs = jobs_, operation](runtime::resolver<T> done) {
      ledger::reply<T> answer = [done](base::result<T> outcome) { done(std::move(outcome)); };
      operation(*jobs, answer);
    };
    return runtime::try_completion<T>(self_, start);
  }

  Actor* self_;
  std::shared_ptr<ledger::ledger> jobs_;
};

}  // namespace dlls::actors
