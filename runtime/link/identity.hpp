// Who a certificate says its owner is, and where the files lie.
#pragma once
#include <compare>
#include <filesystem>
#include <string>
#include <string_view>

#include "base/error.hpp"

namespace dlls::runtime::link {

// PEM files. The certificate carries exactly one URI name dlls://role/ROLE/NAME; `certificate` and
// `key` may be one file that holds both. `ca` is the only authority whose word counts.
struct credentials {
  std::filesystem::path certificate;
  std::filesystem::path key;
  std::filesystem::path ca;
};

// What the URI name of a verified certificate says.
struct peer_identity {
  std::string role;  // "node", "coordinator"
  std::string name;  // see is_name

  // "node/gpu0"
  std::string text() const { return role + '/' + name; }
  friend auto operator<=>(const peer_identity&, const peer_identity&) = default;
};

// One to 63 characters of [a-z0-9-], neither first nor last a hyphen: a DNS label.
bool is_name(std::string_view text) noexcept;
// The same with words for who chose the name: invalid_argument, and the rule as the way out.
base::result<> check_node_name(std::string_view text);

}  // namespace dlls::runtime::link
