// The strict gate in front of Beast's parser. Beast 1.81 lets request-smuggling shapes through
// (an unknown Transfer-Encoding read as an empty body, HTTP/1.0 with chunked, several Hosts, folded
// lines); what passes here has exactly one reading. Syntax: RFC 9112, sections 2-6.
#pragma once
#include <cstddef>
#include <string_view>

#include "base/error.hpp"

namespace dlls::gateway::detail {

// The length of the header block at the start of `bytes`, its empty line included; 0: not yet
// complete. Leading empty lines are not skipped: we never ask for anything that ends in them.
std::size_t header_block_size(std::string_view bytes) noexcept;

// The block is one that we answer: request line of three words, origin-form target of visible
// ASCII, HTTP/1.0 or 1.1; each line ends in CRLF, no control characters, no folding, names are
// tokens directly followed by a colon, at most 100 fields; exactly one non-empty Host on 1.1 (at
// most one on 1.0); Transfer-Encoding at most once, only "chunked", only on 1.1, never with
// Content-Length; Content-Length at most once, digits only; no Upgrade, no Connection: upgrade; no
// repeated Authorization or Content-Type. invalid_argument says which rule; the connection
// must then be closed.
base::result<> check_header_block(std::string_view block);

}  // namespace dlls::gateway::detail
