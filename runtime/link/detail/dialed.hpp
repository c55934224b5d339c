// The parts of dial.hpp that are no templates: a link's end, and a dial that may be given up.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "runtime/link/endpoint.hpp"

namespace dlls::runtime::link::detail {

// That a link has ended, and why. A value; all copies are one. Thread-safe.
class link_end {
  struct state;

 public:
  // Takes its listener off the list when it dies, so that nobody who has stopped waiting is kept.
  class registration {
   public:
    registration() = default;
    registration(std::weak_ptr<state> of, std::uint64_t number) noexcept
        : of_(std::move(of)), number_(number) {}
    registration(registration&& other) noexcept { swap(other); }
    registration& operator=(registration&& other) noexcept {
      registration{std::move(other)}.swap(*this);
      return *this;
    }
    ~registration();

   private:
    void swap(registration& other) noexcept {
      of_.swap(other.of_);
      std::swap(number_, other.number_);
    }
    std::weak_ptr<state> of_;
    std::uint64_t number_ = 0;
  };

  link_end();
  // `whom` is called once with the reason: here and now when the end has come, else on the thread
  // that reports it. It must not block.
  [[nodiscard]] registration then(std::function<void(std::string why)> whom) const;
  // The first report counts.
  void report(std::string why) const;

 private:
  std::shared_ptr<state> state_;
};

// One dial whose caller may go away before it is answered: the link is then closed as it comes up.
class dial_call {
 public:
  dial_call();
  dial_call(const dial_call&) = delete;
  dial_call& operator=(const dial_call&) = delete;
  ~dial_call();
  void start(
      endpoint& at, dial_request to, link_end end, std::function<void(base::result<linked>)> done);
  // The link has an owner now.
  void keep() noexcept { state_ = nullptr; }

 private:
  struct state;
  std::shared_ptr<state> state_;
};

}  // namespace dlls::runtime::link::detail
