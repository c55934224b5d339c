#include "runtime/scope.hpp"

#include <fmt/core.h>

#include "runtime/caf_error.hpp"
#include "runtime/detail/core.hpp"

namespace dlls::runtime {
namespace detail {

class scope_child final : public job, public tagged_hook<scope_tag> {
 public:
  scope_child(scope& owner, task<void> body, const boost::source_location& where) noexcept
      : owner_(owner), file_(where.file_name()), line_(where.line()) {
    owner.core_.loop().start(body, *this);
    body.release();  // its frame is resume_point from here on
  }
  ~scope_child() { resume_point.destroy(); }
  void finished() noexcept override { owner_.child_finished(*this); }
  void retired() noexcept override { delete this; }
  void take() { task<void>::frame_handle::from_address(resume_point.address()).promise().take(); }
  std::string name() const override {
    const std::string_view path{file_};
    return fmt::format("task of {}:{}", path.substr(path.rfind('/') + 1), line_);
  }
  time_point deadline(time_point) noexcept override { return owner_.deadline_; }

 private:
  scope& owner_;
  const char* file_;
  std::uint_least32_t line_;
};

}  // namespace detail

scope::~scope() { destroy_all(); }

scope::scope(detail::core& c, on_failure rule) : core_(c), rule_(rule) {
  c.own(*this);
  auto* around = c.loop().current_job();
  deadline_ = around ? around->deadline(c.now()) : detail::no_deadline;
}

detail::time_point scope::now() const noexcept { return core_.now(); }

bool scope::spawn(task<void> child, boost::source_location where) {
  if (closed_) return false;
  auto owned = std::make_unique<detail::scope_child>(*this, std::move(child), where);
  ++size_;
  children_.push_back(*owned.release());
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
  core_.loop().retire(child);
  if (size_ == 0) wake();
}

void scope::wake() noexcept {
  while (auto* w = waiting_.pop_front()) core_.loop().make_ready(*w);
}

void scope::rethrow() {
  if (failure_) std::rethrow_exception(failure_);
}

}  // namespace dlls::runtime
