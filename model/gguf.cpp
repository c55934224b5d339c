#include "model/gguf.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <numeric>
#include <optional>
#include <utility>

#include "base/check.hpp"
#include "model/gguf_format.hpp"

static_assert(std::endian::native == std::endian::little, "GGUF is read and written in place");

namespace dlls::model {
namespace format = gguf_format;
using base::errc;
using base::error;

std::uint64_t tensor_info::elements() const noexcept {
  return std::accumulate(shape.begin(), shape.end(), std::uint64_t{1}, std::multiplies<>{});
}
std::uint64_t tensor_info::rows() const noexcept {
  return shape.empty() ? 0 : elements() / row_values();
}

// Reads the header front to back. The first failure sticks: everything read after it is zero or
// empty, so one check after each group of reads suffices.
class gguf_parser {
 public:
  gguf_parser(gguf_file& into, const gguf_limits& limits)
      : file_(into), limits_(limits), bytes_(into.mapped_) {}

  std::optional<error> parse() {
    const auto counts = read_counts();
    for (std::uint64_t i = 0; i < counts.keys && !failed_; ++i) read_metadata();
    read_alignment();
    for (std::uint64_t i = 0; i < counts.tensors && !failed_; ++i) read_tensor();
    if (!failed_) place_tensors();
    if (failed_ && !file_.path_.empty())
      failed_->message = fmt::format("{}: {}", file_.path_.string(), failed_->message);
    return failed_;
  }

 private:
  struct counts {
    std::uint64_t tensors = 0, keys = 0;
  };

  void fail(errc code, std::string message) {
    if (!failed_)
      failed_ = error{
          code, std::move(message),
          code == errc::corrupt ? "the file is damaged or was made to mislead; fetch it again"
                                : ""};
  }
  std::uint64_t remaining() const { return bytes_.size() - at_; }

  std::span<const std::byte> take(std::uint64_t count, const char* what) {
    if (failed_) return {};
    if (count > remaining()) {
      fail(
          errc::corrupt,
          fmt::format(
              "{} at byte {} needs {} bytes, the file has {} more", what, at_, count, remaining()));
      return {};
    }
    return bytes_.subspan(std::exchange(at_, at_ + count), count);
  }
  template <class T>
  T number(const char* what) {
    T value{};
    if (const auto raw = take(sizeof value, what); !raw.empty())
      std::memcpy(&value, raw.data(), sizeof value);
    return value;
  }
  std::string_view text(const char* what, std::uint64_t bytes_max) {
    const auto length = number<std::uint64_t>(what);
    if (length > bytes_max)
      fail(errc::corrupt, fmt::format("{} of {} bytes at byte {}", what, length, at_));
    const auto raw = take(length, what);
    return {reinterpret_cast<const char*>(raw.data()), raw.size()};
  }

  counts read_counts() {
    if (number<std::uint32_t>("the magic number") != format::magic && !failed_)
      fail(errc::corrupt, "is no GGUF file: it does not start with 'GGUF'");
    file_.version_ = number<std::uint32_t>("the version");
    if (!failed_ && file_.version_ != 2 && file_.version_ != 3)
      fail(
          errc::unsupported,
          fmt::format("GGUF version {:#x}; versions 2 and 3, little-endian, are", file_.version_));
    counts found;
    found.tensors = number<std::uint64_t>("the number of tensors");
    found.keys = number<std::uint64_t>("the number of keys");
    // The smallest key (length, type, one byte) takes 13 bytes, the smallest tensor 32.
    if (found.keys > std::min(limits_.metadata_max, remaining() / 13))
      fail(errc::corrupt, fmt::format("claims {} metadata keys", found.keys));
    if (found.tensors > std::min(limits_.tensors_max, remaining() / 32))
      fail(errc::corrupt, fmt::format("claims {} tensors", found.tensors));
    return found;
  }

  void read_metadata() {
    const auto key = text("a key", limits_.key_bytes_max);
    const auto type = number<std::uint32_t>("a value's type");
    const auto start = at_;
    skip_value(type, key);
    if (failed_) return;
    if (!file_.values_
             .try_emplace(key, gguf_file::raw_value{type, bytes_.subspan(start, at_ - start)})
             .second)
      return fail(errc::corrupt, fmt::format("key '{}' appears twice", key));
    file_.keys_.push_back(key);
  }

  void skip_value(std::uint32_t type, std::string_view key) {
    if (failed_) return;
    if (type == format::string) {
      text("a string", limits_.string_bytes_max);
    } else if (type == format::array) {
      skip_array(key);
    } else if (const auto size = format::fixed_bytes(type); size != 0) {
      const auto raw = take(size, "a value");
      if (type == format::boolean) check_booleans(raw, key);
    } else {
      fail(errc::corrupt, fmt::format("key '{}' has the unknown type {}", key, type));
    }
  }

  void skip_array(std::string_view key) {
    const auto type = number<std::uint32_t>("an array's type");
    const auto count = number<std::uint64_t>("an array's length");
    const auto size = format::fixed_bytes(type);
    if (failed_) return;
    if (size == 0 && type != format::string)
      return fail(
          errc::corrupt, fmt::format("key '{}' is an array of the unsuitable type {}", key, type));
    if (count > std::min(limits_.array_elements_max, remaining() / (size == 0 ? 8 : size)))
      return fail(errc::corrupt, fmt::format("key '{}' claims {} elements", key, count));
    if (size != 0) {
      const auto raw = take(count * size, "an array");
      if (type == format::boolean) check_booleans(raw, key);
      return;
    }
    for (std::uint64_t i = 0; i < count && !failed_; ++i)
      text("a string", limits_.string_bytes_max);
  }

  void check_booleans(std::span<const std::byte> raw, std::string_view key) {
    if (std::ranges::any_of(raw, [](std::byte b) { return b > std::byte{1}; }))
      fail(errc::corrupt, fmt::format("key '{}' has a boolean that is neither 0 nor 1", key));
  }

  void read_alignment() {
    if (failed_ || !file_.has("general.alignment")) return;
    const auto value = file_.get_u32("general.alignment");
    if (!value || !std::has_single_bit(*value) || *value < format::alignment_min ||
        *value > limits_.alignment_max)
      return fail(
          errc::corrupt, fmt::format(
                             "general.alignment is no power of two from {} to {}",
                             format::alignment_min, limits_.alignment_max));
    file_.alignment_ = *value;
  }

  void read_tensor() {
    tensor_info tensor;
    tensor.name = text("a tensor's name", limits_.name_bytes_max);
    const auto dimensions = number<std::uint32_t>("a tensor's dimensions");
    if (failed_) return;
    if (dimensions == 0 || dimensions > format::dimensions_max)
      return fail(
          errc::corrupt, fmt::format("tensor '{}' has {} dimensions", tensor.name, dimensions));
    for (std::uint32_t d = 0; d < dimensions; ++d)
      tensor.shape.push_back(number<std::uint64_t>("a tensor's shape"));
    const auto type = number<std::uint32_t>("a tensor's type");
    const auto offset = number<std::uint64_t>("a tensor's offset");
    if (failed_) return;
    tensor.type = static_cast<tensor_type>(type);
    if (block_values(tensor.type) == 0) {
      fail(
          errc::unsupported,
          fmt::format("tensor '{}' has type {}, which is not built in", tensor.name, type));
      failed_->hint =
          "F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q2_K to Q6_K, IQ4_NL and IQ4_XS are; "
          "convert the model to one of them";
      return;
    }
    const auto bytes = tensor_bytes(tensor);
    if (failed_) return;
    extents_.push_back({offset, bytes, file_.tensors_.size()});
    file_.tensors_.push_back(std::move(tensor));
  }

  // Overflow-checked: a product that wraps would pass every later comparison.
  std::uint64_t tensor_bytes(const tensor_info& tensor) {
    const std::uint64_t values = block_values(tensor.type);
    if (tensor.shape.front() % values != 0) {
      fail(
          errc::corrupt, fmt::format(
                             "tensor '{}': rows of {} values are no whole number of {} blocks",
                             tensor.name, tensor.shape.front(), name(tensor.type)));
      return 0;
    }
    std::uint64_t bytes = block_bytes(tensor.type);
    bool fits = !__builtin_mul_overflow(bytes, tensor.shape.front() / values, &bytes);
    for (std::size_t d = 1; d < tensor.shape.size(); ++d)
      fits = fits && !__builtin_mul_overflow(bytes, tensor.shape[d], &bytes);
    if (!fits || bytes == 0 || bytes > bytes_.size())
      fail(
          errc::corrupt,
          fmt::format(
              "tensor '{}' has a shape that is empty or larger than the file", tensor.name));
    return bytes;
  }

  void place_tensors() {
    const auto data_start = format::align_up(at_, file_.alignment_);
    const auto data_bytes = data_start < bytes_.size() ? bytes_.size() - data_start : 0;
    for (const auto& e : extents_) {
      auto& tensor = file_.tensors_[e.index];
      if (e.offset % file_.alignment_ != 0)
        return fail(
            errc::corrupt,
            fmt::format("tensor '{}' starts at {}, unaligned", tensor.name, e.offset));
      if (e.offset > data_bytes || e.bytes > data_bytes - e.offset)
        return fail(
            errc::corrupt,
            fmt::format(
                "tensor '{}' ends past the end of the file, which may be truncated", tensor.name));
      tensor.data = bytes_.subspan(data_start + e.offset, e.bytes);
    }
    std::ranges::sort(extents_, {}, &extent::offset);
    for (std::size_t i = 1; i < extents_.size(); ++i)
      if (extents_[i].offset < extents_[i - 1].offset + extents_[i - 1].bytes)
        return fail(
            errc::corrupt,
            fmt::format(
                "tensors '{}' and '{}' overlap", file_.tensors_[extents_[i - 1].index].name,
                file_.tensors_[extents_[i].index].name));
    for (std::size_t i = 0; i < file_.tensors_.size(); ++i)  // names no longer move
      if (!file_.by_name_.try_emplace(file_.tensors_[i].name, i).second)
        return fail(
            errc::corrupt, fmt::format("tensor '{}' appears twice", file_.tensors_[i].name));
  }

  struct extent {
    std::uint64_t offset, bytes;
    std::size_t index;
  };
  gguf_file& file_;
  const gguf_limits& limits_;
  std::span<const std::byte> bytes_;
  std::uint64_t at_ = 0;
  std::vector<extent> extents_;
  std::optional<error> failed_;
};

base::result<std::shared_ptr<const gguf_file>> gguf_file::open(
    const std::filesystem::path& path, const gguf_limits& limits) {
  auto mapping = base::mapped_file::open(path);
  if (!mapping) return mapping.error();
  std::shared_ptr<gguf_file> file{new gguf_file};
  file->path_ = path;
  file->mapping_ = std::move(*mapping);
  file->mapped_ = file->mapping_.bytes();
  if (auto failed = gguf_parser{*file, limits}.parse()) return *std::move(failed);
  if (auto ok = file->intact(); !ok) return ok.error();
  return std::shared_ptr<const gguf_file>{std::move(file)};
}

base::result<> gguf_file::intact() const {
  if (!mapping_.damaged()) return {};
  return error{
      errc::corrupt, path_.string() + " was changed while it was in use",
      "replace a model file by renaming the new one over it, never in place"};
}

base::result<std::shared_ptr<const gguf_file>> gguf_file::view(
    std::span<const std::byte> bytes, const gguf_limits& limits) {
  base::check(
      reinterpret_cast<std::uintptr_t>(bytes.data()) % format::alignment_min == 0,
      "a GGUF view starts at a multiple of 8");
  std::shared_ptr<gguf_file> file{new gguf_file};
  file->mapped_ = bytes;
  if (auto failed = gguf_parser{*file, limits}.parse()) return *std::move(failed);
  return std::shared_ptr<const gguf_file>{std::move(file)};
}

const tensor_info* gguf_file::find(std::string_view tensor_name) const noexcept {
  const auto found = by_name_.find(tensor_name);
  return found == by_name_.end() ? nullptr : &tensors_[found->second];
}

}  // namespace dlls::model
