// A model file with smaller weights: which type each tensor gets, and the writing of it.
//
// The mixtures and their names are llama.cpp's (its llama-quantize): its loader takes the files,
// and whoever knows the names knows what to expect.
#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "kernels/parallel.hpp"
#include "model/gguf.hpp"

namespace dlls::model {

// A mixture of tensor types. Most matrices get `matrix`, the output matrix `output`, and where
// `more_bits`, ffn_down and attn_v of about half of the layers (the first and last eighth, and
// every third between) Q6_K.
struct quantisation {
  std::string_view name;        // "q4_k_m"
  std::uint32_t file_type = 0;  // general.file_type
  tensor_type matrix = tensor_type::f16;
  tensor_type output = tensor_type::f16;  // or the embedding, where it serves as output
  bool more_bits = false;
};

// f16, q8_0, q4_0, q4_1, q5_0, q5_1, q4_k_m, q5_k_m, q6_k.
std::span<const quantisation> quantisations() noexcept;
// By name, upper or lower case; invalid_argument with all names otherwise.
base::result<quantisation> quantisation_named(std::string_view name);

// The type of every tensor, in the file's order. Only matrices named *.weight are quantised; those
// of a router (ffn_gate_inp) stay as they are, and everything of one dimension becomes F32. A
// matrix whose rows are no multiple of 256 gets the nearest type in blocks of 32 instead (Q5_0 for
// Q4_K, Q5_1 for Q5_K, Q8_0 for Q6_K), and F16 where they are no multiple of 32 either.
std::vector<tensor_type> plan(const gguf_file& file, const quantisation& as);

struct quantised_size {
  std::uint64_t bytes_before = 0, bytes_after = 0;  // of the files
  std::uint64_t values = 0;                         // of all tensors
  double bits_per_value = 0;                        // of the tensors written
  std::uint64_t fallbacks = 0;                      // matrices that didn't get their own type
};

// Called on the calling thread, several times a second, with values done and in all; false ends the
// work with `cancelled`.
using quantise_progress = std::function<bool(std::uint64_t done, std::uint64_t total)>;

// Writes `to` as gguf_writer does: in one piece or not at all, with one tensor in memory at a time;
// the same bytes whatever the threads. Metadata, order and alignment are those of `from`; only
// general.file_type and general.quantization_version are set.
//
// already_exists unless `replace`; invalid_argument when `to` is `from` itself, or when a value
// can't be written (NaN, infinite, too large: the message names tensor and row); unsupported when
// `from` is one of several files (split.count); corrupt when it is cut while it is read; what
// gguf_writer::write returns.
base::result<quantised_size> quantise_file(
    const gguf_file& from, const std::filesystem::path& to, const quantisation& as, bool replace,
    kernels::thread_pool& pool, const quantise_progress& progress);

}  // namespace dlls::model
