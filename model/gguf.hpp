// GGUF files, read only: metadata and tensors of a model, mapped, never copied.
// Format: docs of ggml, "GGUF", versions 2 and 3, little-endian (docs/formats.md says what we use).
//
// A model file is untrusted input: somebody else made it. open() checks every count, length, offset
// and product against the bytes that are there before it allocates or maps anything by them, so
// whatever it hands out afterwards lies inside the file. What the numbers *mean* (shapes against a
// configuration, a vocabulary against an embedding) is checked by who uses them.
#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/error.hpp"
#include "base/mapped_file.hpp"
#include "model/tensor_type.hpp"

namespace dlls::model {

// A tensor in the file; `data` lives as long as the gguf_file and starts at a multiple of 8 bytes.
struct tensor_info {
  std::string name;
  tensor_type type = tensor_type::f32;
  std::vector<std::uint64_t> shape;  // 1 to 4 dimensions, all > 0, the fastest-moving first
  std::span<const std::byte> data;   // exactly the bytes that type and shape ask for

  std::uint64_t elements() const noexcept;
  // shape[0]: values of one contiguous row; the other dimensions' product: how many there are.
  std::uint64_t row_values() const noexcept { return shape.empty() ? 0 : shape.front(); }
  std::uint64_t rows() const noexcept;
};

// What a header may claim. Each is far above what real models have (Llama-3: 128,256 tokens, 292
// tensors, 30 keys) and far below what hurts.
struct gguf_limits {
  std::uint64_t metadata_max = 1u << 14;         // keys
  std::uint64_t tensors_max = 1u << 16;          //
  std::uint64_t key_bytes_max = 1u << 12;        //
  std::uint64_t name_bytes_max = 256;            // a tensor's name
  std::uint64_t string_bytes_max = 16u << 20;    // one string value
  std::uint64_t array_elements_max = 16u << 20;  // one array
  std::uint64_t alignment_max = 64u << 10;       // general.alignment
};

// An open model file. Immutable, so any number of threads may read it; everything that points into
// it must keep the shared_ptr. A file must not be changed in place while it is mapped (ours never
// are: gguf_writer replaces by rename); one that is cut all the same reads as zeros: see `intact`.
class gguf_file {
 public:
  // corrupt: bytes that contradict one another or the file's length (the message says what and
  // where); unsupported: another version, byte order or tensor type; not_found, io: no such file.
  static base::result<std::shared_ptr<const gguf_file>> open(
      const std::filesystem::path& path, const gguf_limits& limits = {});
  // The same over bytes in memory, which must outlive the object and start at a multiple of 8.
  static base::result<std::shared_ptr<const gguf_file>> view(
      std::span<const std::byte> bytes, const gguf_limits& limits = {});
  gguf_file(const gguf_file&) = delete;
  gguf_file& operator=(const gguf_file&) = delete;

  // corrupt when bytes of the file have vanished beneath it. To be asked after reading tensors or
  // metadata, before the result is used.
  base::result<> intact() const;

  const std::filesystem::path& path() const noexcept { return path_; }
  std::uint64_t bytes() const noexcept { return mapped_.size(); }  // the file's length
  std::uint32_t version() const noexcept { return version_; }
  std::uint64_t alignment() const noexcept { return alignment_; }

  // In the file's order; `find` gives nullptr when there is none of that name.
  std::span<const tensor_info> tensors() const noexcept { return tensors_; }
  const tensor_info* find(std::string_view tensor_name) const noexcept;

  // Metadata. not_found when the key is absent, corrupt when it holds another type. Integers of any
  // width are accepted where their value fits, and f64 where f32 is asked for. Views live as long
  // as the file object.
  bool has(std::string_view key) const noexcept;
  base::result<std::uint32_t> get_u32(std::string_view key) const;
  base::result<float> get_f32(std::string_view key) const;
  base::result<bool> get_bool(std::string_view key) const;
  base::result<std::string_view> get_string(std::string_view key) const;
  base::result<std::vector<std::string_view>> get_strings(std::string_view key) const;
  base::result<std::vector<float>> get_f32s(std::string_view key) const;
  base::result<std::vector<std::int32_t>> get_i32s(std::string_view key) const;

  // The same, with a value for an absent key; another type is still `corrupt`.
  base::result<std::uint32_t> get_u32(std::string_view key, std::uint32_t absent) const;
  base::result<float> get_f32(std::string_view key, float absent) const;
  base::result<bool> get_bool(std::string_view key, bool absent) const;
  base::result<std::string_view> get_string(std::string_view key, std::string_view absent) const;

  // One metadata value as it stands in the file, to copy it: its GGUF type and its encoded bytes.
  struct raw_value {
    std::uint32_t type = 0;
    std::span<const std::byte> bytes;
  };
  // Keys in the file's order.
  std::span<const std::string_view> keys() const noexcept { return keys_; }
  base::result<raw_value> get_raw(std::string_view key) const;

 private:
  friend class gguf_parser;
  gguf_file() = default;

  std::filesystem::path path_;         // empty for a view
  base::mapped_file mapping_;          // none for a view
  std::span<const std::byte> mapped_;  // the whole file
  std::uint32_t version_ = 0;
  std::uint64_t alignment_ = 32;
  std::vector<std::string_view> keys_;
  std::unordered_map<std::string_view, raw_value> values_;
  std::vector<tensor_info> tensors_;
  std::unordered_map<std::string_view, std::size_t> by_name_;  // index into tensors_
};

}  // namespace dlls::model
