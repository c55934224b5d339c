#include "model/gguf_writer.hpp"

#include <fcntl.h>
#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <concepts>
#include <utility>

#include "base/check.hpp"
#include "base/file.hpp"
#include "model/gguf_format.hpp"

namespace dlls::model {
namespace {
namespace format = gguf_format;

template <class T>
void put(std::string& out, T value) requires std::is_arithmetic_v<T> {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}
void put_text(std::string& out, std::string_view text) {
  put(out, std::uint64_t{text.size()});
  out += text;
}
template <class T>
std::string encoded(T value) {
  std::string out;
  put(out, value);
  return out;
}
std::string array_head(std::uint32_t type, std::size_t count) {
  auto out = encoded(type);
  put(out, std::uint64_t{count});
  return out;
}
template <class T>
std::string encoded_array(std::uint32_t type, std::span<const T> values) {
  auto out = array_head(type, values.size());
  out.append(reinterpret_cast<const char*>(values.data()), values.size_bytes());
  return out;
}

// Appends to a file, counting.
class appender {
 public:
  appender(int fd, std::uint64_t alignment) : fd_(fd), zeros_(alignment) {}
  base::result<> add(std::span<const std::byte> bytes) {
    auto done = base::write_at(fd_, at_, bytes);
    at_ += bytes.size();
    return done;
  }
  base::result<> pad() {
    return add(std::span{zeros_}.first(format::align_up(at_, zeros_.size()) - at_));
  }

 private:
  int fd_;
  std::vector<std::byte> zeros_;
  std::uint64_t at_ = 0;
};
}  // namespace

void gguf_writer::set(std::string_view key, std::uint32_t type, std::string bytes) {
  const auto old = std::ranges::find(values_, key, &value::key);
  auto& into = old == values_.end() ? values_.emplace_back() : *old;
  into = {std::string{key}, type, std::move(bytes)};
}

void gguf_writer::set_u32(std::string_view key, std::uint32_t v) {
  set(key, format::u32, encoded(v));
}
void gguf_writer::set_f32(std::string_view key, float v) { set(key, format::f32, encoded(v)); }
void gguf_writer::set_bool(std::string_view key, bool v) {
  set(key, format::boolean, std::string(1, v ? '\1' : '\0'));
}
void gguf_writer::set_string(std::string_view key, std::string_view v) {
  std::string bytes;
  put_text(bytes, v);
  set(key, format::string, std::move(bytes));
}
void gguf_writer::set_strings(std::string_view key, std::span<const std::string> values) {
  auto bytes = array_head(format::string, values.size());
  for (const auto& v : values) put_text(bytes, v);
  set(key, format::array, std::move(bytes));
}
void gguf_writer::set_f32s(std::string_view key, std::span<const float> values) {
  set(key, format::array, encoded_array(format::f32, values));
}
void gguf_writer::set_i32s(std::string_view key, std::span<const std::int32_t> values) {
  set(key, format::array, encoded_array(format::i32, values));
}

void gguf_writer::copy_metadata(const gguf_file& from) {
  for (const auto key : from.keys()) {
    if (key == "general.alignment") continue;  // it is set_alignment's
    const auto raw = *from.get_raw(key);
    set(key, raw.type, {reinterpret_cast<const char*>(raw.bytes.data()), raw.bytes.size()});
  }
}

void gguf_writer::set_alignment(std::uint64_t bytes) {
  base::check(
      std::has_single_bit(bytes) && bytes >= format::alignment_min, "an alignment of whole words");
  alignment_ = bytes;
  if (bytes != format::alignment_default)
    set_u32("general.alignment", static_cast<std::uint32_t>(bytes));
}

void gguf_writer::add(tensor added) {
  const auto& shape = added.shape;
  base::check(
      !shape.empty() && shape.size() <= format::dimensions_max &&
          std::ranges::count(shape, 0u) == 0,
      "a tensor has 1 to 4 dimensions above 0");
  base::check(shape[0] % block_values(added.type) == 0, "rows are whole blocks");
  base::check(
      std::ranges::find(tensors_, added.name, &tensor::name) == tensors_.end(),
      "tensor names are unique");
  added.bytes = shape[0] / block_values(added.type) * block_bytes(added.type);
  for (std::size_t d = 1; d < shape.size(); ++d) added.bytes *= shape[d];
  base::check(added.make || added.data.size() == added.bytes, "data has the size of the shape");
  tensors_.push_back(std::move(added));
}

void gguf_writer::add_tensor(
    std::string name, tensor_type type, std::vector<std::uint64_t> shape,
    std::span<const std::byte> data) {
  add({std::move(name), type, std::move(shape), data, {}, 0});
}
void gguf_writer::add_tensor(
    std::string name, tensor_type type, std::vector<std::uint64_t> shape, fill make) {
  base::check(static_cast<bool>(make), "a tensor has data or somebody who makes it");
  add({std::move(name), type, std::move(shape), {}, std::move(make), 0});
}

std::string gguf_writer::header() const {
  std::string out;
  put(out, format::magic);
  put(out, format::version_written);
  put(out, std::uint64_t{tensors_.size()});
  put(out, std::uint64_t{values_.size()});
  for (const auto& v : values_) {
    put_text(out, v.key);
    put(out, v.type);
    out += v.bytes;
  }
  std::uint64_t offset = 0;
  for (const auto& t : tensors_) {
    put_text(out, t.name);
    put(out, static_cast<std::uint32_t>(t.shape.size()));
    for (const auto d : t.shape) put(out, d);
    put(out, static_cast<std::uint32_t>(t.type));
    put(out, offset);
    offset = format::align_up(offset + t.bytes, alignment_);
  }
  return out;
}

base::result<> gguf_writer::write(const std::filesystem::path& path) const {
  auto beside = path;
  beside += fmt::format(".tmp-{}", ::getpid());
  auto write_all = [&]() -> base::result<> {
    base::unique_fd fd{::open(beside.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644)};
    if (!fd) return base::errno_error("create " + beside.string());
    appender out{fd.get(), alignment_};
    const auto head = header();
    if (auto done = out.add(std::as_bytes(std::span{head})); !done) return done;
    std::vector<std::byte> made;
    for (const auto& t : tensors_) {
      if (auto done = out.pad(); !done) return done;
      auto data = t.data;
      if (t.make) {
        made.assign(t.bytes, std::byte{0});
        if (auto done = t.make(made); !done) return done;
        data = made;
      }
      if (auto done = out.add(data); !done) return done;
    }
    if (auto done = out.pad(); !done) return done;
    return base::sync_file(fd.get(), beside);
  };
  auto done = write_all();
  if (done) done = base::rename_durably(beside, path);
  if (!done) ::unlink(beside.c_str());
  return done;
}

}  // namespace dlls::model
