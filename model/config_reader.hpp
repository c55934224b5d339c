// Reads what a model file's metadata says about its architecture. Internal to read_llama_config and
// model/architectures/.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.hpp"

namespace dlls::model {

class gguf_file;

// Keys stand below the architecture's name: `count("block_count", ...)` of a qwen2 file reads
// "qwen2.block_count". Every number has bounds; the first failure is kept and names its key, and
// what is read after it means nothing.
class config_reader {
 public:
  config_reader(const gguf_file& file, std::string_view architecture)
      : file_(file), architecture_(architecture) {}

  std::uint32_t count(std::string_view key, std::uint32_t least, std::uint32_t most);
  std::uint32_t count_or(
      std::string_view key, std::uint32_t absent, std::uint32_t least, std::uint32_t most);
  float real(std::string_view key, float least, float most);
  float real_or(std::string_view key, float absent, float least, float most);
  std::string_view text_or(std::string_view key, std::string_view absent);

  bool has(std::string_view key) const;
  bool has_tensor(std::string_view name) const;
  // "qwen2.block_count".
  std::string full(std::string_view key) const;

  void demand(bool condition, base::errc code, std::string message);
  void fail(base::error e);
  bool ok() const { return error_.code == base::errc::ok; }
  const base::error& why() const { return error_; }

 private:
  template <class T>
  T checked(std::string_view key, const base::result<T>& value, T least, T most);

  const gguf_file& file_;
  std::string_view architecture_;
  base::error error_{base::errc::ok, {}};
};

}  // namespace dlls::model
