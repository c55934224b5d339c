#include "model/quantise.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <charconv>
#include <cstring>
#include <limits>
#include <optional>

#include "kernels/quantise.hpp"
#include "model/gguf_writer.hpp"

namespace dlls::model {
using base::errc;
using base::error;

namespace {

constexpr std::uint32_t quantisation_version = 2;         // ggml's, of the block layouts
constexpr std::uint64_t values_between_looks = 1u << 20;  // tens of milliseconds
constexpr std::uint64_t grain_values = 1u << 14;

using enum tensor_type;
constexpr std::array mixtures{
    quantisation{"f16", 1, f16, f16, false},      quantisation{"q8_0", 7, q8_0, q8_0, false},
    quantisation{"q4_0", 2, q4_0, q6_k, false},   quantisation{"q4_1", 3, q4_1, q6_k, false},
    quantisation{"q5_0", 8, q5_0, q6_k, false},   quantisation{"q5_1", 9, q5_1, q6_k, false},
    quantisation{"q4_k_m", 15, q4_k, q6_k, true}, quantisation{"q5_k_m", 17, q5_k, q6_k, true},
    quantisation{"q6_k", 18, q6_k, q6_k, false}};

// 7 of "blk.7.ffn_down.weight".
std::optional<std::uint32_t> layer_of(std::string_view name) noexcept {
  if (!name.starts_with("blk.")) return std::nullopt;
  std::uint32_t layer = 0;
  const auto read = std::from_chars(name.data() + 4, name.data() + name.size(), layer);
  if (read.ec != std::errc{}) return std::nullopt;
  return layer;
}

std::uint32_t layers_of(const gguf_file& file) noexcept {
  std::uint32_t count = 0;
  for (const auto& t : file.tensors())
    if (const auto layer = layer_of(t.name); layer && *layer < file.tensors().size())
      count = std::max(count, *layer + 1);
  return count;
}

bool deserves_more(std::string_view name, std::uint32_t layers) noexcept {
  const auto layer = layer_of(name);
  if (!layer || !(name.ends_with(".ffn_down.weight") || name.ends_with(".ffn_down_exps.weight") ||
                  name.ends_with(".attn_v.weight")))
    return false;
  const auto eighth = layers / 8;
  return *layer < eighth || *layer >= 7 * layers / 8 || (*layer - eighth) % 3 == 2;
}

bool is_matrix(const tensor_info& t) noexcept {
  return t.rows() > 1 && t.name.ends_with(".weight") && !t.name.ends_with("_norm.weight") &&
         !t.name.ends_with("ffn_gate_inp.weight");
}

tensor_type that_fits(tensor_type wanted, std::uint64_t columns) noexcept {
  if (columns % block_values(wanted) == 0) return wanted;
  const auto small = wanted == q4_k ? q5_0 : wanted == q5_k ? q5_1 : q8_0;
  return columns % block_values(small) == 0 ? small : f16;
}

tensor_type wanted_for(
    const gguf_file& file, const tensor_info& t, const quantisation& as, std::uint32_t layers) {
  const std::string_view output =
      file.find("output.weight") ? "output.weight" : "token_embd.weight";
  if (t.name == output) return as.output;
  return as.more_bits && deserves_more(t.name, layers) ? q6_k : as.matrix;
}

// Makes one tensor after another, and tells how far it is.
class converter {
 public:
  converter(const gguf_file& from, kernels::thread_pool& pool, const quantise_progress& progress)
      : from_(from), pool_(pool), progress_(progress) {
    for (const auto& t : from.tensors()) total_ += t.elements();
  }
  std::uint64_t total() const noexcept { return total_; }

  base::result<> make(const tensor_info& t, tensor_type type, std::span<std::byte> out) {
    const auto columns = t.row_values();
    const auto rows_at_once = std::max<std::uint64_t>(1, values_between_looks / columns);
    for (std::uint64_t first = 0; first < t.rows(); first += rows_at_once) {
      if (!progress_(done_, total_)) return error{errc::cancelled, "interrupted"};
      const auto count = std::min(rows_at_once, t.rows() - first);
      const auto bad = convert(t, type, out, first, count);
      // Before a bad value is blamed: bytes that vanished read as zeros.
      if (auto whole = from_.intact(); !whole) return whole;
      if (bad < t.rows())
        return error{
            errc::invalid_argument,
            fmt::format(
                "tensor '{}' has a value in row {} that {} cannot hold (not a number, infinite or "
                "too large)",
                t.name, bad, name(type))};
      done_ += count * columns;
    }
    if (!progress_(done_, total_)) return error{errc::cancelled, "interrupted"};
    return {};
  }

 private:
  // The first row that can't be written, or more than there are.
  std::uint64_t convert(
      const tensor_info& t, tensor_type type, std::span<std::byte> out, std::uint64_t first,
      std::uint64_t count) {
    const auto columns = t.row_values();
    const auto in_bytes = columns / block_values(t.type) * block_bytes(t.type);
    const auto out_bytes = columns / block_values(type) * block_bytes(type);
    if (t.type == type) {
      std::memcpy(
          out.data() + first * out_bytes, t.data.data() + first * in_bytes, count * out_bytes);
      return std::numeric_limits<std::uint64_t>::max();
    }
    std::atomic<std::uint64_t> bad{std::numeric_limits<std::uint64_t>::max()};
    const auto grain = std::max<std::uint64_t>(1, grain_values / columns);
    kernels::parallel_for(pool_, count, grain, [&](std::size_t begin, std::size_t end) {
      std::vector<float> row(columns);
      for (auto r = first + begin; r < first + end; ++r) {
        kernels::dequantise(row.data(), element_of(t.type), t.data.data() + r * in_bytes, columns);
        if (kernels::quantise(out.data() + r * out_bytes, element_of(type), row.data(), columns))
          continue;
        auto known = bad.load();
        while (r < known && !bad.compare_exchange_weak(known, r)) {
        }
      }
    });
    return bad;
  }

  const gguf_file& from_;
  kernels::thread_pool& pool_;
  const quantise_progress& progress_;
  std::uint64_t done_ = 0, total_ = 0;
};

base::result<> may_write(const gguf_file& from, const std::filesystem::path& to, bool replace) {
  std::error_code ignored;
  if (!std::filesystem::exists(to, ignored)) return {};
  if (!from.path().empty() && std::filesystem::equivalent(from.path(), to, ignored))
    return error{errc::invalid_argument, to.string() + " is the file that is read"};
  if (!replace) return error{errc::already_exists, to.string() + " exists"};
  if (!std::filesystem::is_regular_file(to, ignored))
    return error{errc::invalid_argument, to.string() + " is no regular file"};
  return {};
}

}  // namespace

std::span<const quantisation> quantisations() noexcept { return mixtures; }

base::result<quantisation> quantisation_named(std::string_view name) {
  std::string lower{name}, all;
  for (auto& c : lower)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  for (const auto& one : mixtures) {
    if (one.name == lower) return one;
    all += (all.empty() ? "" : ", ") + std::string{one.name};
  }
  return error{
      errc::invalid_argument, fmt::format("no type '{}' to quantise to", name), "one of: " + all};
}

std::vector<tensor_type> plan(const gguf_file& file, const quantisation& as) {
  const auto layers = layers_of(file);
  std::vector<tensor_type> types;
  for (const auto& t : file.tensors()) {
    if (is_matrix(t))
      types.push_back(that_fits(wanted_for(file, t, as, layers), t.row_values()));
    else
      types.push_back(t.rows() == 1 ? f32 : t.type);
  }
  return types;
}

base::result<quantised_size> quantise_file(
    const gguf_file& from, const std::filesystem::path& to, const quantisation& as, bool replace,
    kernels::thread_pool& pool, const quantise_progress& progress) {
  if (auto may = may_write(from, to, replace); !may) return may.error();
  if (auto parts = from.get_u32("split.count", 1); !parts || *parts > 1)
    return error{errc::unsupported, "a model in several files", "merge them into one first"};
  if (const auto parts = from.get_u32("split.count", 1); !parts || *parts > 1)
    return error{errc::unsupported, "a model in several files", "merge them into one first"};
  gguf_writer out;
  out.copy_metadata(from);
  out.set_alignment(from.alignment());
  out.set_u32("general.file_type", as.file_type);
  out.set_u32("general.quantization_version", quantisation_version);

  converter work(from, pool, progress);
  quantised_size size{.bytes_before = from.bytes(), .values = work.total()};
  std::uint64_t tensor_bytes = 0;
  const auto types = plan(from, as);
  const auto layers = layers_of(from);
  for (std::size_t i = 0; i < types.size(); ++i) {
    const auto& t = from.tensors()[i];
    const auto type = types[i];
    tensor_bytes += t.elements() / block_values(type) * block_bytes(type);
    if (is_matrix(t) && type != wanted_for(from, t, as, layers)) ++size.fallbacks;
    out.add_tensor(t.name, type, t.shape, [&work, &t, type](std::span<std::byte> whole) {
      return work.make(t, type, whole);
    });
  }
  if (auto written = out.write(to); !written) return written.error();
  std::error_code ignored;
  size.bytes_after = std::filesystem::file_size(to, ignored);
  size.bits_per_value = 8.0 * static_cast<double>(tensor_bytes) /
                        static_cast<double>(std::max<std::uint64_t>(1, size.values));
  return size;
}

}  // namespace dlls::model
