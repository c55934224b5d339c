// What the two halves of the fake backend share.
#pragma once
#include <algorithm>
#include <string>
#include <vector>

#include "tests/gateway/fake_backend.hpp"

namespace dlls::test {

inline constexpr std::int64_t birth = 1'750'000'000;

inline base::error no_such(const std::string& what, const std::string& id) {
  return {base::errc::not_found, "no " + what + " '" + id + "'"};
}

class fake_content final : public gateway::content {
 public:
  explicit fake_content(std::string bytes) : bytes_(std::move(bytes)) {}
  std::uint64_t size() const override { return bytes_.size(); }
  void read(std::uint64_t offset, std::size_t bytes_max, gateway::reply<std::string> got) override {
    got(bytes_.substr(offset, bytes_max));
  }

 private:
  std::string bytes_;
};

template <class T, class F>
gateway::page<T> page_of(std::vector<T> all, const gateway::page_request& which, F id_of) {
  if (!which.ascending) std::reverse(all.begin(), all.end());
  auto from = all.begin();
  if (!which.after.empty()) {
    from =
        std::find_if(all.begin(), all.end(), [&](const T& t) { return id_of(t) == which.after; });
    if (from != all.end()) ++from;
  }
  gateway::page<T> out;
  for (; from != all.end() && out.items.size() < which.limit; ++from) out.items.push_back(*from);
  out.has_more = from != all.end();
  return out;
}
}  // namespace dlls::test
