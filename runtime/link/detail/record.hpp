// The few words that two ends exchange outside CAF: the greeting after TLS, and joining.
//
// A record is its length (u32, big-endian) and then fields, each its length (u16) and bytes. The
// listener greets with an empty record ("welcome") or with a refusal: one byte of errc, a message
// and a hint. This form is the same in every protocol version, so that versions can refuse each
// other in words.
#pragma once
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"

namespace dlls::runtime::link::detail {

using fields = std::vector<std::string>;

inline constexpr std::size_t record_head_bytes = 4;
inline constexpr std::size_t greeting_bytes_max = 4u << 10;

std::string write_record(const fields& all);
// `head` has record_head_bytes bytes.
std::size_t record_size(std::string_view head) noexcept;
// What follows the head; corrupt when the lengths do not fit.
base::result<fields> read_fields(std::string_view body);

fields refusal(const base::error& why);
// What a refusal says, cleaned of control characters; its code is one of ours or `unavailable`.
base::error read_refusal(const fields& all);

}  // namespace dlls::runtime::link::detail
