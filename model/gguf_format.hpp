// The numbers of the GGUF format that reader and writer share. Internal to model/gguf*.cpp.
#pragma once
#include <cstddef>
#include <cstdint>

namespace dlls::model::gguf_format {

inline constexpr std::uint32_t magic = 0x46554747;  // "GGUF", little-endian
inline constexpr std::uint32_t version_written = 3;
inline constexpr std::uint64_t alignment_default = 32;
inline constexpr std::uint64_t alignment_min = 8;  // so that every value can be read in place
inline constexpr std::size_t dimensions_max = 4;

enum value_type : std::uint32_t {
  u8 = 0,
  i8 = 1,
  u16 = 2,
  i16 = 3,
  u32 = 4,
  i32 = 5,
  f32 = 6,
  boolean = 7,
  string = 8,
  array = 9,
  u64 = 10,
  i64 = 11,
  f64 = 12,
};

// Bytes of a value of fixed size; 0 for strings, arrays and unknown types.
constexpr std::size_t fixed_bytes(std::uint32_t type) noexcept {
  switch (type) {
    case u8:
    case i8:
    case boolean:
      return 1;
    case u16:
    case i16:
      return 2;
    case u32:
    case i32:
    case f32:
      return 4;
    case u64:
    case i64:
    case f64:
      return 8;
    default:
      return 0;
  }
}

constexpr std::uint64_t align_up(std::uint64_t offset, std::uint64_t alignment) noexcept {
  return (offset + alignment - 1) / alignment * alignment;
}

}  // namespace dlls::model::gguf_format
