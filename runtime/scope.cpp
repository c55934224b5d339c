#include "runtime/scope.hpp"

#include <fmt/core.h>

#include "runtime/caf_error.hpp"
#include "runtime/detail/core.hpp"

namespace dlls::runtime {
namespace detail {
namespace {

// "actors::node::make_behavior" out of what the compiler says, without the types around it.
std::string_view bare_name(std::string_view function) {
  std::size_t begin = 0, depth = 0;
  for (std::size_t i = 0; i < function.size(); ++i) {
    const char c = function[i];
    if (c == '<') ++depth;
    if (c == '>' && depth > 0) --depth;
    if (depth > 0) continue;
    if (c == ' ') begin = i + 1;
    if (c == '(') return function.substr(begin, i - begin);
  }
  return function;
}

}  // namespace

class scope_child final : public job, public chore, public tagged_hook<scope_tag> {
 public:
  scope_child(scope& owner, task<void> body, time_point deadline, std::source_location where)
      : owner_(owner), body_(std::move(body)), where_(where) {
    deadline_ = deadline;
  }
  void start(run_loop& loop) { loop.start(body_, *this); }
  void finished() noexcept override { owner_.child_finished(*this); }
  void perform() noexcept override { delete this; }
  void take() { body_.frame().promise().take(); }
  std::string name() const override {
    const std::string_view path{where_.file_name()};
    return fmt::format(
        "{}:{} {}", path.substr(path.rfind('/') + 1), where_.line(),
        bare_name(where_.function_name()));
  }

 private:
  scope& owner_;
  task<void> body_;
  std::source_location where_;
};

}  // namespace detail

scope::~scope() { destroy_all(); }

scope::scope(detail::core& c, on_failure rule) : core_(c), rule_(rule) {
  auto* around = c.loop().current_job();
  deadline_ = around ? around->deadline(c.now()) : detail::no_deadline;
}

detail::time_point scope::now() const noexcept { return core_.now(); }

bool scope::spawn(task<void> child, std::source_location where) {
  if (closed_) return false;
  auto owned = std::make_unique<detail::scope_child>(*this, std::move(child), deadline_, where);
  ++size_;
  auto* raw = owned.release();
  children_.push_back(*raw);
  raw->start(core_.loop());
  return true;
}

void scope::cancel() noexcept {
  closed_ = true;
  if (size_ > 0) core_.loop().later(*this);
}

void scope::destroy_all() noexcept {
  closed_ = true;
  while (auto* child = children_.pop_front()) {
    --size_;
    delete child;
  }
  wake();
}

void scope::child_finished(detail::scope_child& child) noexcept {
  try {
    child.take();
  } catch (...) {
    if (rule_ == on_failure::log) {
      detail::log_failure(core_.self(), "a task", current_exception_error());
    } else {
      if (!failure_) failure_ = std::current_exception();
      cancel();
    }
  }
  static_cast<detail::tagged_hook<detail::scope_tag>&>(child).unlink();
  --size_;
  core_.loop().later(child);
  if (size_ == 0) wake();
}

void scope::wake() noexcept {
  while (auto* w = waiting_.pop_front()) core_.loop().make_ready(*w);
}

void scope::rethrow() {
  if (failure_) std::rethrow_exception(failure_);
}

}  // namespace dlls::runtime
