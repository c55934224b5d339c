#include "model/gguf.hpp"

#include <catch2/catch.hpp>
#include <cstring>
#include <limits>

#include "base/file.hpp"
#include "base/random.hpp"
#include "model/gguf_writer.hpp"
#include "tests/support/temp_folder.hpp"
#include "tests/support/tiny_model.hpp"

namespace dlls::model {
namespace {
using base::errc;

// A file under construction, byte by byte: the lies that gguf_writer can't tell.
class forged_file {
 public:
  forged_file& u32(std::uint32_t v) { return raw(&v, sizeof v); }
  forged_file& u64(std::uint64_t v) { return raw(&v, sizeof v); }
  forged_file& text(std::string_view t) { return u64(t.size()).raw(t.data(), t.size()); }
  forged_file& raw(const void* from, std::size_t count) {
    bytes_.append(static_cast<const char*>(from), count);
    return *this;
  }
  forged_file& head(std::uint64_t tensors, std::uint64_t keys, std::uint32_t version = 3) {
    return raw("GGUF", 4).u32(version).u64(tensors).u64(keys);
  }
  forged_file& tensor(
      std::string_view name, std::vector<std::uint64_t> shape, std::uint32_t type,
      std::uint64_t offset) {
    text(name).u32(static_cast<std::uint32_t>(shape.size()));
    for (auto d : shape) u64(d);
    return u32(type).u64(offset);
  }
  // Pads to the data section and adds `count` bytes of it.
  forged_file& data(std::size_t count) {
    bytes_.resize((bytes_.size() + 31) / 32 * 32 + count);
    return *this;
  }
  // What open says; code ok where it accepts. From a heap block of exactly that size, so that a
  // sanitizer sees a read past the end.
  base::error refusal() const {
    const auto owned = std::make_unique<std::byte[]>(bytes_.size());
    std::memcpy(owned.get(), bytes_.data(), bytes_.size());
    const auto opened = gguf_file::view({owned.get(), bytes_.size()});
    return opened ? base::error{errc::ok, "accepted"} : opened.error();
  }

 private:
  std::string bytes_;
};

std::string tiny_bytes(tensor_type type) {
  test::temp_folder folder;
  REQUIRE(test::write_tiny_model(folder / "m.gguf", {.type = type}));
  return *base::read_file(folder / "m.gguf");
}

// Uses everything a file hands out, so that a sanitizer sees where it points.
std::size_t touch(const gguf_file& file) {
  std::size_t sum = 0;
  for (const auto key : file.keys()) {
    sum += key.size() + file.get_raw(key)->bytes.size();
    if (const auto v = file.get_strings(key)) sum += v->size();
    if (const auto v = file.get_i32s(key)) sum += v->size();
    if (const auto v = file.get_f32s(key)) sum += v->size();
    if (const auto v = file.get_string(key)) sum += v->size();
    sum += file.get_u32(key) ? 1 : 0;
  }
  for (const auto& t : file.tensors())
    sum += static_cast<std::size_t>(t.data.front()) + static_cast<std::size_t>(t.data.back());
  return sum;
}
}  // namespace

TEST_CASE("what gguf_writer wrote, gguf_file reads") {
  test::temp_folder folder;
  const std::vector<float> f32{1, -2, 3.5f, 0, 5, 6};
  const std::vector<std::string> words{"a", "", "gamma"};
  const std::vector<std::int32_t> numbers{-1, 0, 7};
  gguf_writer out;
  out.set_u32("u", 7);
  out.set_f32("f", 0.5f);
  out.set_bool("b", true);
  out.set_string("s", "text");
  out.set_strings("words", words);
  out.set_i32s("numbers", numbers);
  out.set_f32s("floats", f32);
  out.set_u32("u", 8);  // replaces
  out.add_tensor("x", tensor_type::f32, {3, 2}, std::as_bytes(std::span{f32}));
  out.add_tensor("made", tensor_type::q8_0, {64, 3}, [](std::span<std::byte> whole) {
    std::ranges::fill(whole, std::byte{9});
    return base::result<>{};
  });
  REQUIRE(out.write(folder / "a.gguf"));

  const auto file = gguf_file::open(folder / "a.gguf").value();
  CHECK(file->path() == folder / "a.gguf");
  CHECK(file->version() == 3);
  CHECK(file->bytes() == std::filesystem::file_size(folder / "a.gguf"));
  CHECK(file->get_u32("u").value() == 8);
  CHECK(file->get_f32("f").value() == 0.5f);
  CHECK(file->get_bool("b").value());
  CHECK(file->get_string("s").value() == "text");
  CHECK(file->get_strings("words").value() == std::vector<std::string_view>{"a", "", "gamma"});
  CHECK(file->get_i32s("numbers").value() == numbers);
  CHECK(file->get_f32s("floats").value() == f32);
  REQUIRE(file->tensors().size() == 2);
  const auto* x = file->find("x");
  REQUIRE(x != nullptr);
  CHECK(x->shape == std::vector<std::uint64_t>{3, 2});
  CHECK(x->rows() == 2);
  CHECK(x->elements() == 6);
  CHECK(std::memcmp(x->data.data(), f32.data(), 24) == 0);
  CHECK(file->find("made")->data.size() == 3 * 2 * 34);
  CHECK(file->find("made")->data.back() == std::byte{9});
  CHECK(file->find("y") == nullptr);
}

TEST_CASE("a key that is absent and a key of another type are told apart") {
  test::temp_folder folder;
  gguf_writer out;
  out.set_string("s", "text");
  out.set_f32("f", 2);
  out.set_i32s("negative", std::vector<std::int32_t>{-1});
  REQUIRE(out.write(folder / "a.gguf"));
  const auto file = gguf_file::open(folder / "a.gguf").value();
  CHECK(file->get_u32("none").error().code == errc::not_found);
  CHECK(file->get_u32("s").error().code == errc::corrupt);
  CHECK(file->get_u32("f").error().code == errc::corrupt);
  CHECK(file->get_string("f").error().code == errc::corrupt);
  CHECK(file->get_strings("negative").error().code == errc::corrupt);
  CHECK(file->get_f32s("negative").error().code == errc::corrupt);
  CHECK(file->get_u32("none", 5).value() == 5);
  CHECK(file->get_u32("s", 5).error().code == errc::corrupt);
}

TEST_CASE("copied metadata is the same byte for byte") {
  test::temp_folder folder;
  REQUIRE(test::write_tiny_model(folder / "a.gguf"));
  const auto first = gguf_file::open(folder / "a.gguf").value();
  gguf_writer out;
  out.copy_metadata(*first);
  for (const auto& t : first->tensors()) out.add_tensor(t.name, t.type, t.shape, t.data);
  REQUIRE(out.write(folder / "b.gguf"));
  CHECK(*base::read_file(folder / "a.gguf") == *base::read_file(folder / "b.gguf"));
}

TEST_CASE("a failing tensor leaves the old model file in place and no litter") {
  test::temp_folder folder;
  REQUIRE(base::write_file_durably(folder / "a.gguf", "old"));
  gguf_writer out;
  out.add_tensor("x", tensor_type::f32, {4}, [](std::span<std::byte>) -> base::result<> {
    return base::error{errc::cancelled, "no more"};
  });
  CHECK(out.write(folder / "a.gguf").error().code == errc::cancelled);
  CHECK(*base::read_file(folder / "a.gguf") == "old");
  CHECK(std::distance(std::filesystem::directory_iterator{folder.path()}, {}) == 1);
}

TEST_CASE("a file that is none is refused with the right code") {
  test::temp_folder folder;
  CHECK(gguf_file::open(folder / "none.gguf").error().code == errc::not_found);
  CHECK(gguf_file::open(folder.path()).error().code == errc::invalid_argument);
  REQUIRE(base::write_file_durably(folder / "empty.gguf", ""));
  CHECK(gguf_file::open(folder / "empty.gguf").error().code == errc::corrupt);
  REQUIRE(base::write_file_durably(folder / "text.gguf", "#!/bin/sh\necho this is no model\n"));
  CHECK(gguf_file::open(folder / "text.gguf").error().code == errc::corrupt);
  CHECK(forged_file{}.head(0, 0, 1).refusal().code == errc::unsupported);
  CHECK(forged_file{}.head(0, 0, 0x03000000).refusal().code == errc::unsupported);
  CHECK(forged_file{}.head(0, 0, 2).refusal().code == errc::ok);
}

TEST_CASE("a header that claims more than the file holds is refused before anything is allocated") {
  const auto huge = std::numeric_limits<std::uint64_t>::max();
  // The last two wrap around to a few bytes when multiplied by 4 or 8.
  for (const auto claim :
       {std::uint64_t{1000}, std::uint64_t{1} << 40, huge, (std::uint64_t{1} << 62) + 1,
        (std::uint64_t{1} << 61) + 1}) {
    CAPTURE(claim);
    CHECK(forged_file{}.head(0, claim).data(64).refusal().code == errc::corrupt);
    CHECK(forged_file{}.head(claim, 0).data(64).refusal().code == errc::corrupt);
    // a key's length, a string's length, an array's length
    CHECK(forged_file{}.head(0, 1).u64(claim).data(64).refusal().code == errc::corrupt);
    CHECK(
        forged_file{}.head(0, 1).text("k").u32(8).u64(claim).data(64).refusal().code ==
        errc::corrupt);
    for (const std::uint32_t element : {0u, 4u, 8u, 12u})
      CHECK(
          forged_file{}
              .head(0, 1)
              .text("k")
              .u32(9)
              .u32(element)
              .u64(claim)
              .data(64)
              .refusal()
              .code == errc::corrupt);
  }
}

TEST_CASE("every limit on what a header may claim is kept") {
  const auto whole = tiny_bytes(tensor_type::f32);
  const auto copy = std::make_unique<std::byte[]>(whole.size());
  std::memcpy(copy.get(), whole.data(), whole.size());
  auto refusal = [&](const gguf_limits& limits) {
    const auto opened = gguf_file::view({copy.get(), whole.size()}, limits);
    return opened ? errc::ok : opened.error().code;
  };
  CHECK(refusal({}) == errc::ok);
  CHECK(refusal({.metadata_max = 5}) == errc::corrupt);
  CHECK(refusal({.tensors_max = 5}) == errc::corrupt);
  CHECK(refusal({.key_bytes_max = 15}) == errc::corrupt);
  CHECK(refusal({.name_bytes_max = 15}) == errc::corrupt);
  CHECK(refusal({.string_bytes_max = 100}) == errc::corrupt);  // the chat template
  CHECK(refusal({.array_elements_max = 100}) == errc::corrupt);
}

TEST_CASE("metadata that makes no sense is refused") {
  auto key = [](std::string_view name, std::uint32_t type) {
    return forged_file{}.head(0, 1).text(name).u32(type);
  };
  CHECK(key("k", 13).data(64).refusal().code == errc::corrupt);
  CHECK(key("k", 9).u32(9).u64(1).data(64).refusal().code == errc::corrupt);  // nested
  CHECK(key("k", 7).raw("\2", 1).data(64).refusal().code == errc::corrupt);   // boolean 2
  for (const std::uint32_t alignment : {0u, 1u, 4u, 24u, 1u << 17, 1u << 30}) {
    CAPTURE(alignment);
    CHECK(key("general.alignment", 4).u32(alignment).data(64).refusal().code == errc::corrupt);
  }
  CHECK(key("general.alignment", 4).u32(64).data(64).refusal().code == errc::ok);
  const auto twice = forged_file{}.head(0, 2).text("k").u32(4).u32(1).text("k").u32(4).u32(2);
  CHECK(twice.refusal().code == errc::corrupt);
}

TEST_CASE("a tensor that is not wholly inside the file, or lies on another, is refused") {
  auto one = [](std::vector<std::uint64_t> shape, std::uint32_t type, std::uint64_t offset) {
    return forged_file{}.head(1, 0).tensor("t", std::move(shape), type, offset).data(128).refusal();
  };
  CHECK(one({32}, 0, 0).code == errc::ok);
  CHECK(one({32, 1, 1, 1}, 0, 0).code == errc::ok);
  CHECK(one({33}, 0, 0).code == errc::corrupt);   // one value too many
  CHECK(one({16}, 0, 96).code == errc::corrupt);  // runs over the end
  CHECK(one({8}, 0, 8).code == errc::corrupt);    // unaligned
  CHECK(one({8}, 0, ~std::uint64_t{31}).code == errc::corrupt);
  CHECK(one({}, 0, 0).code == errc::corrupt);
  CHECK(one({1, 1, 1, 1, 1}, 0, 0).code == errc::corrupt);
  CHECK(one({0}, 0, 0).code == errc::corrupt);
  CHECK(one({8, 0}, 0, 0).code == errc::corrupt);
  CHECK(one({33}, 8, 0).code == errc::corrupt);  // no whole block
  // Products that wrap around to something small.
  CHECK(one({std::uint64_t{1} << 62}, 0, 0).code == errc::corrupt);
  CHECK(one({(std::uint64_t{1} << 62) + 8}, 0, 0).code == errc::corrupt);
  CHECK(one({std::uint64_t{1} << 32, std::uint64_t{1} << 32}, 0, 0).code == errc::corrupt);
  CHECK(one({32, (std::uint64_t{1} << 61) + 1}, 0, 0).code == errc::corrupt);

  const auto unknown = one({256}, 9, 0);  // q8_1, of no weights
  CHECK(unknown.code == errc::unsupported);
  CHECK(unknown.message.find("'t'") != std::string::npos);

  auto two = [](std::string_view second, std::uint64_t offset) {
    return forged_file{}
        .head(2, 0)
        .tensor("a", {9}, 0, 0)
        .tensor(second, {8}, 0, offset)
        .data(128)
        .refusal();
  };
  CHECK(two("b", 64).code == errc::ok);
  CHECK(two("b", 32).code == errc::corrupt);
  CHECK(two("b", 0).code == errc::corrupt);
  CHECK(two("a", 64).code == errc::corrupt);
}

TEST_CASE("every type has a name and blocks of its own size, and a row is whole blocks of it") {
  std::vector<std::string_view> names;
  for (const auto type : tensor_types()) {
    INFO(name(type));
    CHECK(std::ranges::count(names, name(type)) == 0);
    names.push_back(name(type));
    CHECK(kernels::values_together(element_of(type)) == block_values(type));
    const auto refused = [&](std::size_t values, std::size_t bytes) {
      return forged_file{}
          .head(1, 0)
          .tensor("t", {values}, static_cast<std::uint32_t>(type), 0)
          .data(bytes)
          .refusal()
          .code;
    };
    const auto values = 3 * block_values(type), bytes = 3 * block_bytes(type);
    CHECK(refused(values, bytes) == errc::ok);
    CHECK(refused(values, bytes - 1) == errc::corrupt);
    if (block_values(type) > 1) CHECK(refused(values - 1, bytes) == errc::corrupt);
  }
  CHECK(names.size() == 15);
  CHECK(block_values(static_cast<tensor_type>(9)) == 0);
  CHECK(name(static_cast<tensor_type>(9)) == "unknown");
}

TEST_CASE("a model file cut at any byte is refused, never misread") {
  const auto whole = tiny_bytes(tensor_type::q4_1);
  const auto header_bytes = whole.find("output_norm.weight") + 64;
  auto cut_at = [&](std::size_t length) {
    const auto copy = std::make_unique<std::byte[]>(length);
    std::memcpy(copy.get(), whole.data(), length);
    return gguf_file::view({copy.get(), length}).has_value();
  };
  for (std::size_t length = 0; length < header_bytes; ++length)
    if (cut_at(length)) FAIL("accepted when cut at byte " << length);
  for (std::size_t length = header_bytes; length + 32 < whole.size(); length += 97)
    if (cut_at(length)) FAIL("accepted when cut at byte " << length);
}

TEST_CASE("a model file with random damage is refused or read within its bounds") {
  const auto whole = tiny_bytes(tensor_type::q8_0);
  const auto header_bytes = whole.find("output_norm.weight") + 64;
  const auto seed = Catch::rngSeed();
  INFO("replay with --rng-seed " << seed);
  base::random_source random{seed};
  const auto copy = std::make_unique<std::byte[]>(whole.size());
  int refused = 0;
  std::size_t touched = 0;
  for (int round = 0; round < 5000; ++round) {
    std::memcpy(copy.get(), whole.data(), whole.size());
    for (auto edits = 1 + random.below(4); edits > 0; --edits) {
      const auto at = random.below(header_bytes);
      // Numbers near a limit do more harm than random ones.
      static constexpr std::uint64_t nasty[] = {0, 1, 0x7FFFFFFF, 0xFFFFFFFF, 1ull << 61, ~0ull};
      const auto kind = random.below(3);
      if (kind == 0) copy[at] = static_cast<std::byte>(random());
      if (kind == 1) copy[at] ^= std::byte{1} << random.below(8);
      if (kind == 2) std::memcpy(&copy[at], &nasty[random.below(6)], random.below(9));
    }
    const auto opened = gguf_file::view({copy.get(), whole.size()});
    opened ? touched += touch(**opened) : refused += 1;
  }
  CHECK(refused > 1000);
  CHECK(touched > 0);
}

}  // namespace dlls::model
