// What the two threads of a link share: the endpoint's, and CAF's multiplexer.
#pragma once
#include <atomic>
#include <functional>
#include <mutex>

#include "runtime/link/connection.hpp"
#include "runtime/link/detail/tls.hpp"

namespace dlls::runtime::link::detail {

class link_state final : public connection {
 public:
  link_state(std::shared_ptr<session> tls, std::function<void(std::uint64_t)> closer);

  std::uint64_t epoch() const noexcept override { return epoch_; }
  std::string id() const override;
  const peer_identity& peer() const noexcept override { return peer_; }
  const std::string& fingerprint() const noexcept override { return fingerprint_; }
  caf::node_id node() const override;
  link::traffic traffic() const override;
  bool is_open() const noexcept override { return open_; }
  void close(std::string reason) override;

  // Multiplexer thread.
  void bind(const caf::node_id& node);
  void count_frame_in() noexcept { ++frames_in_; }
  void count_frame_out() noexcept { ++frames_out_; }
  // The first reason given counts; is_open() is false from here on.
  void ends(const std::string& reason);
  // The socket is about to be closed.
  void retire_socket();

  std::string reason() const;

 private:
  const std::uint64_t epoch_;
  const peer_identity peer_;
  const std::string fingerprint_;
  const std::function<void(std::uint64_t)> closer_;
  std::atomic<bool> open_{true};
  std::atomic<std::uint64_t> frames_in_{0};
  std::atomic<std::uint64_t> frames_out_{0};

  mutable std::mutex mutex_;
  std::shared_ptr<session> tls_;  // until the socket is closed
  link::traffic last_;            // from then on
  caf::node_id node_;
  std::string reason_;
};

}  // namespace dlls::runtime::link::detail
