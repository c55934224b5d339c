#include "runtime/link/detail/link_state.hpp"

#include <fmt/core.h>

namespace dlls::runtime::link::detail {

namespace {
std::uint64_t next_epoch() {
  static std::atomic<std::uint64_t> last{0};
  return ++last;
}
}  // namespace

link_state::link_state(std::shared_ptr<session> tls, std::function<void(std::uint64_t)> closer)
    : epoch_(next_epoch()),
      peer_(tls->peer()),
      fingerprint_(tls->fingerprint()),
      closer_(std::move(closer)),
      tls_(std::move(tls)) {}

std::string link_state::id() const { return fmt::format("{}#{}", peer_.text(), epoch_); }

caf::node_id link_state::node() const {
  std::lock_guard lock{mutex_};
  return node_;
}

link::traffic link_state::traffic() const {
  std::lock_guard lock{mutex_};
  auto now = last_;
  if (tls_) {
    now.bytes_in = tls_->counts().in;
    now.bytes_out = tls_->counts().out;
    read_packets(tls_->fd(), now);
  }
  now.frames_in = frames_in_;
  now.frames_out = frames_out_;
  return now;
}

void link_state::close(std::string reason) {
  if (!is_open()) return;
  ends(reason);
  closer_(epoch_);
}

void link_state::bind(const caf::node_id& node) {
  std::lock_guard lock{mutex_};
  node_ = node;
}

void link_state::ends(const std::string& reason) {
  open_ = false;
  std::lock_guard lock{mutex_};
  if (reason_.empty()) reason_ = reason;
}

void link_state::retire_socket() {
  auto last = traffic();
  std::lock_guard lock{mutex_};
  last_ = last;
  tls_.reset();
}

std::string link_state::reason() const {
  std::lock_guard lock{mutex_};
  return reason_;
}

}  // namespace dlls::runtime::link::detail
