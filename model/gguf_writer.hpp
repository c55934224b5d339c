// Writes GGUF version 3 files: a fine-tuned model, or a small one for a test.
#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "model/gguf.hpp"

namespace dlls::model {

// Collects metadata and tensors, then writes them in one go. One thread at a time. Setting a key
// again replaces its value and keeps its place. Adding two tensors of one name, or a shape that
// doesn't fit its type, is a bug of the caller (base::check).
class gguf_writer {
 public:
  // Fills the whole tensor; called once, during write(). A failure ends the write.
  using fill = std::function<base::result<>(std::span<std::byte> whole)>;

  void set_u32(std::string_view key, std::uint32_t value);
  void set_f32(std::string_view key, float value);
  void set_bool(std::string_view key, bool value);
  void set_string(std::string_view key, std::string_view value);
  void set_strings(std::string_view key, std::span<const std::string> values);
  void set_f32s(std::string_view key, std::span<const float> values);
  void set_i32s(std::string_view key, std::span<const std::int32_t> values);

  // Every key of an open file, byte for byte, except general.alignment. Nothing of `from` is kept.
  void copy_metadata(const gguf_file& from);

  // Where tensors start: at multiples of this, a power of two from 8 on (gguf_limits says up to
  // where a reader follows). 32 unless set.
  void set_alignment(std::uint64_t bytes);

  // `data` must stay alive and unchanged until write() has returned, and hold exactly the bytes
  // that type and shape (GGUF's order: fastest first) ask for.
  void add_tensor(
      std::string name, tensor_type type, std::vector<std::uint64_t> shape,
      std::span<const std::byte> data);
  // For tensors that are made while writing: memory use is the largest of them.
  void add_tensor(std::string name, tensor_type type, std::vector<std::uint64_t> shape, fill make);

  // Writes beside `path`, syncs, renames, syncs the folder: afterwards the whole file survives a
  // power cut, and after a failure or a crash the old one, if any, is untouched. The same input
  // gives the same bytes. Errors: storage_full, io, permission_denied, or what `fill` returned.
  base::result<> write(const std::filesystem::path& path) const;

 private:
  struct value {
    std::string key;
    std::uint32_t type = 0;
    std::string bytes;  // encoded
  };
  struct tensor {
    std::string name;
    tensor_type type = tensor_type::f32;
    std::vector<std::uint64_t> shape;
    std::span<const std::byte> data;
    fill make;  // when set, instead of data
    std::uint64_t bytes = 0;
  };
  void set(std::string_view key, std::uint32_t type, std::string bytes);
  void add(tensor added);
  std::string header() const;

  std::uint64_t alignment_ = 32;
  std::vector<value> values_;
  std::vector<tensor> tensors_;
};

}  // namespace dlls::model
