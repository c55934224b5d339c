// multipart/form-data (RFC 7578) as it arrives: nothing but the current part's header and a
// delimiter's length is held.
#pragma once
#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.hpp"

namespace dlls::gateway::detail {

// The boundary of a "multipart/form-data; boundary=..." Content-Type; none when it is another type
// or the boundary is missing, longer than 70 characters or has odd ones.
std::optional<std::string> multipart_boundary(std::string_view content_type);

struct form_part {
  std::string name;
  std::optional<std::string> filename;  // present: a file
};

// One thread. After an error the parser is dead.
class multipart_parser {
 public:
  static constexpr std::size_t parts_max = 32;
  static constexpr std::size_t part_header_bytes_max = 4096;

  // `begin` at each part's start, `data` for pieces of its content, `end` after it. An error from
  // one of them becomes write()'s.
  struct handlers {
    std::function<base::result<>(const form_part&)> begin;
    std::function<base::result<>(std::string_view)> data;
    std::function<base::result<>()> end;
  };

  multipart_parser(std::string_view boundary, handlers to);
  // invalid_argument: not what RFC 7578 and 2046 describe, or beyond a limit. There is no
  // preamble: the first delimiter starts the body. What follows the last delimiter is ignored.
  base::result<> write(std::string_view bytes);
  // True once the closing delimiter has been seen.
  bool complete() const { return at_ == where::done; }

 private:
  enum class where { first, header, content, after_delimiter, done };
  base::result<bool> step();  // false: needs more bytes
  base::result<bool> read_first();
  base::result<bool> read_header();
  base::result<bool> read_content();
  base::result<bool> read_after_delimiter();

  std::string delimiter_;  // CRLF, two dashes, boundary
  handlers to_;
  std::string pending_;
  where at_ = where::first;
  std::size_t parts_ = 0;
};

}  // namespace dlls::gateway::detail
