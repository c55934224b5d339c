// A ledger before the real one: each operation waits until work(), runs there, and is answered
// there, on the caller's thread.
#pragma once
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tests/ledger/ledger_fixture.hpp"

namespace dlls::ledger {

// What was asked of one job, for whoever audits it.
struct asked_edge {
  std::string id;
  std::optional<std::uint64_t> fence;  // under which it was asked
  std::optional<std::string> node;
  bool grants = false;
  std::optional<edge> written;  // of `advance`
};
// The job before it, and what came of it.
using edge_auditor = std::function<void(
    const asked_edge& asked, const base::result<job>& before, const base::result<job>& after)>;

class ordered_ledger final : public ledger {
 public:
  // `is_full` is asked before each operation: true refuses it, as a queue that is full.
  ordered_ledger(std::shared_ptr<ledger> real, edge_auditor auditor, std::function<bool()> is_full)
      : real_(std::move(real)), auditor_(std::move(auditor)), is_full_(std::move(is_full)) {}

  bool has_work() const { return !waiting_.empty(); }
  // Does one operation.
  void work() {
    auto next = std::move(waiting_.front());
    waiting_.pop_front();
    next();
  }
  // As a process that ends: nobody is answered.
  void drop_all() { waiting_.clear(); }

  void submit(new_job job, reply<submission> done) override { pass(done, &ledger::submit, job); }
  void find_submitted(new_job like, reply<job> done) override {
    pass(done, &ledger::find_submitted, like);
  }
  void find_job(owner_scope owner, std::string id, reply<job> done) override {
    pass(done, &ledger::find_job, owner, id);
  }
  void list_jobs(job_filter filter, reply<page<job>> done) override {
    pass(done, &ledger::list_jobs, filter);
  }
  void count_jobs(reply<job_counts> done) override { pass(done, &ledger::count_jobs); }
  void advance(edge step, reply<job> done) override {
    move({step.id, step.fence, step.node, false, step}, done, &ledger::advance, step);
  }
  void grant(std::string id, std::string node, std::optional<std::uint64_t> fence, reply<job> done)
      override {
    move({id, fence, {}, true, {}}, done, &ledger::grant, id, node, fence);
  }
  void pause(std::string node, std::string reason, reply<std::vector<job>> done) override {
    pass(done, &ledger::pause, node, reason);
  }
  void pause_job(
      std::string id, std::uint64_t fence, std::string reason, reply<job> done) override {
    move({id, fence, {}, false, {}}, done, &ledger::pause_job, id, fence, reason);
  }
  void resume(std::string id, std::string node, std::uint64_t fence, reply<job> done) override {
    move({id, fence, node, false, {}}, done, &ledger::resume, id, node, fence);
  }
  void add_event(
      std::string id, std::optional<std::uint64_t> fence, new_event line,
      reply<event> done) override {
    pass(done, &ledger::add_event, id, fence, line);
  }
  void events(
      owner_scope owner, std::string job, std::int64_t after, std::uint32_t limit, order by,
      reply<page<event>> done) override {
    pass(done, &ledger::events, owner, job, after, limit, by);
  }
  void forget(std::int64_t before_ms, std::uint32_t limit, reply<std::uint64_t> done) override {
    pass(done, &ledger::forget, before_ms, limit);
  }
  void unused_blobs(
      std::vector<std::string> sha256, reply<std::vector<std::string>> done) override {
    pass(done, &ledger::unused_blobs, sha256);
  }
  void claim_due(
      std::int64_t now_ms, std::int64_t hold_ms, std::uint32_t limit,
      reply<std::vector<outbox_row>> done) override {
    pass(done, &ledger::claim_due, now_ms, hold_ms, limit);
  }
  void mark_sent(std::string id, reply<bool> done) override { pass(done, &ledger::mark_sent, id); }
  void mark_failed(
      std::string id, std::optional<std::int64_t> next_attempt_ms, std::string why,
      reply<bool> done) override {
    pass(done, &ledger::mark_failed, id, next_attempt_ms, why);
  }
  void next_due(reply<std::optional<std::int64_t>> done) override { pass(done, &ledger::next_due); }
  void get_setting(std::string key, reply<std::optional<std::string>> done) override {
    pass(done, &ledger::get_setting, key);
  }
  void set_setting(std::string key, std::string value, reply<bool> done) override {
    pass(done, &ledger::set_setting, key, value);
  }

  // Nothing of the job protocol: as the real one does them.
  base::result<> room_for_upload(std::uint64_t n) const override {
    return real_->room_for_upload(n);
  }
  void add_file(file f, reply<file> done) override { real_->add_file(f, done); }
  void find_file(owner_scope owner, std::string id, reply<file> done) override {
    real_->find_file(owner, id, done);
  }
  void list_files(file_filter f, reply<page<file>> done) override { real_->list_files(f, done); }
  void delete_file(owner_scope owner, std::string id, reply<file> done) override {
    real_->delete_file(owner, id, done);
  }
  void add_api_key(api_key key, reply<api_key> done) override { real_->add_api_key(key, done); }
  void find_api_key(std::string hash, reply<api_key> done) override {
    real_->find_api_key(hash, done);
  }
  void list_api_keys(reply<std::vector<api_key>> done) override { real_->list_api_keys(done); }
  void revoke_api_key(std::string id, reply<api_key> done) override {
    real_->revoke_api_key(id, done);
  }
  void add_node(std::string name, std::string fingerprint, reply<node> done) override {
    real_->add_node(name, fingerprint, done);
  }
  void list_nodes(reply<std::vector<node>> done) override { real_->list_nodes(done); }
  void revoke_node(std::string name, reply<node> done) override { real_->revoke_node(name, done); }
  void add_token(
      std::string hash, std::int64_t expires_ms, std::string node, reply<bool> done) override {
    real_->add_token(hash, expires_ms, node, done);
  }
  void redeem_token(redemption what, reply<node> done) override { real_->redeem_token(what, done); }
  ledger_stats stats() const override { return real_->stats(); }
  void close() override { real_->close(); }

 private:
  template <class T, class Method, class... Ts>
  base::result<T> run(Method method, const Ts&... arguments) {
    return wait_for<T>([&](auto done) { ((*real_).*method)(arguments..., std::move(done)); });
  }
  template <class T, class Method, class... Ts>
  void pass(reply<T> done, Method method, Ts... arguments) {
    waiting_.push_back([=, this] {
      if (is_full_()) return done(full());
      done(run<T>(method, arguments...));
    });
  }
  // An edge of one job, seen by the auditor.
  template <class Method, class... Ts>
  void move(asked_edge asked, reply<job> done, Method method, Ts... arguments) {
    waiting_.push_back([=, this] {
      if (is_full_()) return done(full());
      const auto before = run<job>(&ledger::find_job, any_owner_, asked.id);
      auto after = run<job>(method, arguments...);
      if (auditor_) auditor_(asked, before, after);
      done(std::move(after));
    });
  }

  static base::error full() { return {base::errc::resource_exhausted, "the queue is full"}; }

  const owner_scope any_owner_;
  std::shared_ptr<ledger> real_;
  edge_auditor auditor_;
  std::function<bool()> is_full_;
  std::deque<std::function<void()>> waiting_;
};

}  // namespace dlls::ledger
