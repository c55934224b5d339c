// The way back to the HTTP thread for everybody else.
#pragma once
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <functional>
#include <mutex>
#include <utility>

namespace dlls::gateway::detail {

// Outlives the server in the hands of late replies. Thread-safe.
class home {
 public:
  explicit home(boost::asio::io_context& io) : io_(&io) {}
  void post(std::function<void()> job) {
    const std::lock_guard lock{mutex_};
    if (io_) boost::asio::post(*io_, std::move(job));
  }
  // From here on jobs are dropped; afterwards the io_context may go.
  void close() {
    const std::lock_guard lock{mutex_};
    io_ = nullptr;
  }

 private:
  std::mutex mutex_;
  boost::asio::io_context* io_;
};

}  // namespace dlls::gateway::detail
