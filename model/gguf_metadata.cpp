// The typed view of a GGUF file's metadata. Every length was checked by open().
#include <fmt/core.h>

#include <concepts>
#include <cstring>
#include <limits>
#include <optional>
#include <utility>

#include "model/gguf.hpp"
#include "model/gguf_format.hpp"

namespace dlls::model {
namespace {
namespace format = gguf_format;
using base::errc;
using base::error;

template <class T>
T load(const std::byte* from) noexcept {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

// Calls f with the stored number in its own type; false for what is no number.
template <class F>
bool with_number(std::uint32_t type, const std::byte* at, F&& f) {
  switch (type) {
    case format::u8:
      return f(load<std::uint8_t>(at));
    case format::i8:
      return f(load<std::int8_t>(at));
    case format::u16:
      return f(load<std::uint16_t>(at));
    case format::i16:
      return f(load<std::int16_t>(at));
    case format::u32:
      return f(load<std::uint32_t>(at));
    case format::i32:
      return f(load<std::int32_t>(at));
    case format::u64:
      return f(load<std::uint64_t>(at));
    case format::i64:
      return f(load<std::int64_t>(at));
    case format::f32:
      return f(load<float>(at));
    case format::f64:
      return f(load<double>(at));
    default:
      return false;
  }
}

template <std::integral To>
std::optional<To> to_number(std::uint32_t type, const std::byte* at) {
  To value{};
  const bool fits = with_number(type, at, [&]<class From>(From stored) {
    if constexpr (std::integral<From>) {
      value = static_cast<To>(stored);
      return std::in_range<To>(stored);
    }
    return false;
  });
  return fits ? std::optional{value} : std::nullopt;
}
template <std::floating_point To>
std::optional<To> to_number(std::uint32_t type, const std::byte* at) {
  To value{};
  const bool fits = with_number(type, at, [&]<class From>(From stored) {
    if constexpr (std::floating_point<From>) {
      // Out of float's range is undefined in a conversion, so it counts as another type.
      constexpr double max = std::numeric_limits<To>::max();
      if (stored > max || stored < -max) return false;
      value = static_cast<To>(stored);
      return true;
    }
    return false;
  });
  return fits ? std::optional{value} : std::nullopt;
}

std::string_view text_at(const std::byte*& at) {
  const auto length = load<std::uint64_t>(at);
  const std::string_view text{reinterpret_cast<const char*>(at + 8), length};
  at += 8 + length;
  return text;
}

struct array_view {
  std::uint32_t type = 0;
  std::uint64_t count = 0;
  const std::byte* first = nullptr;
};
std::optional<array_view> as_array(const gguf_file::raw_value& raw) {
  if (raw.type != format::array) return std::nullopt;
  return array_view{
      load<std::uint32_t>(raw.bytes.data()), load<std::uint64_t>(raw.bytes.data() + 4),
      raw.bytes.data() + 12};
}

error wrong_type(std::string_view key, std::string_view wanted) {
  return {errc::corrupt, fmt::format("metadata key '{}' is no {}", key, wanted)};
}

template <class T>
base::result<T> get_number(const gguf_file& file, std::string_view key, std::string_view wanted) {
  const auto raw = file.get_raw(key);
  if (!raw) return raw.error();
  if (const auto value = to_number<T>(raw->type, raw->bytes.data())) return *value;
  return wrong_type(key, wanted);
}

template <class T>
base::result<std::vector<T>> get_numbers(
    const gguf_file& file, std::string_view key, std::string_view wanted) {
  const auto raw = file.get_raw(key);
  if (!raw) return raw.error();
  const auto array = as_array(*raw);
  const auto size = array ? format::fixed_bytes(array->type) : 0;
  if (size == 0) return wrong_type(key, wanted);
  std::vector<T> values;
  values.reserve(array->count);
  for (std::uint64_t i = 0; i < array->count; ++i) {
    const auto value = to_number<T>(array->type, array->first + i * size);
    if (!value) return wrong_type(key, wanted);
    values.push_back(*value);
  }
  return values;
}

// The value, or `absent` where there is no such key.
template <class T>
base::result<T> or_absent(
    const gguf_file& file, std::string_view key, base::result<T> got, T absent) {
  return file.has(key) ? std::move(got) : base::result<T>{absent};
}
}  // namespace

bool gguf_file::has(std::string_view key) const noexcept { return values_.contains(key); }

base::result<gguf_file::raw_value> gguf_file::get_raw(std::string_view key) const {
  const auto found = values_.find(key);
  if (found == values_.end())
    return error{errc::not_found, fmt::format("the model file has no metadata key '{}'", key)};
  return found->second;
}

base::result<std::uint32_t> gguf_file::get_u32(std::string_view key) const {
  return get_number<std::uint32_t>(*this, key, "32-bit unsigned integer");
}
base::result<float> gguf_file::get_f32(std::string_view key) const {
  return get_number<float>(*this, key, "32-bit float");
}
base::result<bool> gguf_file::get_bool(std::string_view key) const {
  const auto raw = get_raw(key);
  if (!raw) return raw.error();
  if (raw->type != format::boolean) return wrong_type(key, "boolean");
  return raw->bytes[0] != std::byte{0};
}
base::result<std::string_view> gguf_file::get_string(std::string_view key) const {
  const auto raw = get_raw(key);
  if (!raw) return raw.error();
  if (raw->type != format::string) return wrong_type(key, "string");
  auto at = raw->bytes.data();
  return text_at(at);
}

base::result<std::vector<std::string_view>> gguf_file::get_strings(std::string_view key) const {
  const auto raw = get_raw(key);
  if (!raw) return raw.error();
  const auto array = as_array(*raw);
  if (!array || array->type != format::string) return wrong_type(key, "array of strings");
  std::vector<std::string_view> values;
  values.reserve(array->count);
  auto at = array->first;
  for (std::uint64_t i = 0; i < array->count; ++i) values.push_back(text_at(at));
  return values;
}
base::result<std::vector<float>> gguf_file::get_f32s(std::string_view key) const {
  return get_numbers<float>(*this, key, "array of floats");
}
base::result<std::vector<std::int32_t>> gguf_file::get_i32s(std::string_view key) const {
  return get_numbers<std::int32_t>(*this, key, "array of 32-bit integers");
}

base::result<std::uint32_t> gguf_file::get_u32(std::string_view key, std::uint32_t absent) const {
  return or_absent(*this, key, get_u32(key), absent);
}
base::result<float> gguf_file::get_f32(std::string_view key, float absent) const {
  return or_absent(*this, key, get_f32(key), absent);
}
base::result<bool> gguf_file::get_bool(std::string_view key, bool absent) const {
  return or_absent(*this, key, get_bool(key), absent);
}
base::result<std::string_view> gguf_file::get_string(
    std::string_view key, std::string_view absent) const {
  return or_absent(*this, key, get_string(key), absent);
}

}  // namespace dlls::model
