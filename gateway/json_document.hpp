// Reading and writing small JSON texts without seeing a JSON library: for the command line and for
// others who talk to the gateway's routes.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"

namespace dlls::gateway {

// Immutable, cheap to copy, safe to share. Places are JSON pointers (RFC 6901): "/data/0/id";
// "" is the whole text. A getter gives nothing where the place is missing or has another type.
class json_document {
 public:
  // At most 64 levels deep; invalid_argument for anything that is not JSON.
  static base::result<json_document> parse(std::string_view text);

  std::optional<std::string> text(std::string_view at) const;
  std::optional<double> number(std::string_view at) const;
  std::optional<std::int64_t> integer(std::string_view at) const;
  std::optional<bool> boolean(std::string_view at) const;
  // Elements of an array, members of an object, else 0.
  std::size_t size(std::string_view at) const;
  bool has(std::string_view at) const;  // present and not null
  std::vector<std::string> keys(std::string_view at) const;
  // The value there as JSON text; "null" where missing.
  std::string dump(std::string_view at) const;

 private:
  struct tree;
  std::shared_ptr<const tree> tree_;
};

// `text` as a JSON string with its quotes; bytes that are not UTF-8 become U+FFFD.
std::string json_quoted(std::string_view text);

}  // namespace dlls::gateway
