// An id's place in a set of an actor, given up however the coroutine that took it ends.
#pragma once
#include <set>
#include <string>
#include <utility>

namespace dlls::actors {

// The set must outlive the claim: true for an actor's own sets and the coroutines of its scope.
class claim {
 public:
  claim(std::set<std::string>& in, std::string id)
      : in_(in), id_(std::move(id)), held_(in_.insert(id_).second) {}
  ~claim() { give_up(); }
  claim(const claim&) = delete;
  claim& operator=(const claim&) = delete;

  // False when another coroutine had it.
  explicit operator bool() const noexcept { return held_; }
  void give_up() {
    if (std::exchange(held_, false)) in_.erase(id_);
  }

 private:
  std::set<std::string>& in_;
  std::string id_;
  bool held_;
};

}  // namespace dlls::actors
