#include "model/quantise.hpp"

#include <catch2/catch.hpp>
#include <cstring>

#include "base/file.hpp"
#include "model/gguf_writer.hpp"
#include "model/llama.hpp"
#include "tests/support/temp_folder.hpp"
#include "tests/support/tiny_model.hpp"

namespace dlls::model {
namespace {
using base::errc;

const quantise_progress silent = [](std::uint64_t, std::uint64_t) { return true; };

quantisation named(std::string_view name) { return quantisation_named(name).value(); }

// A file of such tensors, all of zeros.
std::shared_ptr<const gguf_file> file_of(
    const std::filesystem::path& path,
    const std::vector<std::pair<std::string, std::vector<std::uint64_t>>>& tensors) {
  gguf_writer out;
  out.set_string("general.architecture", "llama");
  for (const auto& [name, shape] : tensors)
    out.add_tensor(name, tensor_type::f32, shape, [](auto) { return base::result<>{}; });
  REQUIRE(out.write(path));
  return gguf_file::open(path).value();
}

tensor_type type_in(const gguf_file& file, const quantisation& as, std::string_view name) {
  const auto types = plan(file, as);
  for (std::size_t i = 0; i < types.size(); ++i)
    if (file.tensors()[i].name == name) return types[i];
  FAIL("no tensor " << name);
  return tensor_type::f32;
}

std::size_t files_in(const std::filesystem::path& folder) {
  return static_cast<std::size_t>(std::distance(
      std::filesystem::directory_iterator{folder}, std::filesystem::directory_iterator{}));
}

TEST_CASE("a mixture is found by its name, and an unknown name says which there are") {
  CHECK(named("Q4_K_M").file_type == 15);
  const auto none = quantisation_named("q3_k");
  REQUIRE_FALSE(none);
  CHECK(none.error().code == errc::invalid_argument);
  CHECK(none.error().hint.find("q4_k_m") != std::string::npos);
}

TEST_CASE("q4_k_m gives more bits to the output and to ffn_down and attn_v of chosen layers") {
  test::temp_folder folder;
  std::vector<std::pair<std::string, std::vector<std::uint64_t>>> tensors{
      {"token_embd.weight", {256, 4}}, {"output.weight", {256, 4}}, {"output_norm.weight", {256}}};
  for (int l = 0; l < 16; ++l)
    for (const auto* part : {"attn_v", "ffn_down", "ffn_up"})
      tensors.push_back({"blk." + std::to_string(l) + "." + part + ".weight", {256, 2}});
  const auto file = file_of(folder / "m.gguf", tensors);
  const auto as = named("q4_k_m");
  CHECK(type_in(*file, as, "token_embd.weight") == tensor_type::q4_k);
  CHECK(type_in(*file, as, "output.weight") == tensor_type::q6_k);
  CHECK(type_in(*file, as, "output_norm.weight") == tensor_type::f32);
  // The first and last two of sixteen, and between them 4, 7, 10 and 13.
  for (int l = 0; l < 16; ++l) {
    const bool more = l < 2 || l >= 14 || (l >= 2 && (l - 2) % 3 == 2);
    const auto block = "blk." + std::to_string(l) + ".";
    CAPTURE(l);
    CHECK((type_in(*file, as, block + "attn_v.weight") == tensor_type::q6_k) == more);
    CHECK((type_in(*file, as, block + "ffn_down.weight") == tensor_type::q6_k) == more);
    CHECK(type_in(*file, as, block + "ffn_up.weight") == tensor_type::q4_k);
  }
  CHECK(type_in(*file, named("q4_0"), "output.weight") == tensor_type::q6_k);
  CHECK(type_in(*file, named("q8_0"), "output.weight") == tensor_type::q8_0);
}

TEST_CASE("rows that are no whole 256 fall back to blocks of 32, and no whole 32 to F16") {
  test::temp_folder folder;
  const auto file = file_of(
      folder / "m.gguf", {{"token_embd.weight", {96, 4}},
                          {"blk.0.ffn_up.weight", {96, 4}},
                          {"blk.0.ffn_down.weight", {48, 4}},
                          {"blk.0.ffn_gate_inp.weight", {96, 4}},
                          {"blk.0.ffn_gate_exps.weight", {256, 4, 3}},
                          {"blk.0.attn_q.bias", {96}},
                          {"blk.0.attn_q_norm.weight", {96, 4}}});
  CHECK(type_in(*file, named("q4_k_m"), "token_embd.weight") == tensor_type::q8_0);  // for Q6_K
  CHECK(type_in(*file, named("q4_k_m"), "blk.0.ffn_up.weight") == tensor_type::q5_0);
  CHECK(type_in(*file, named("q5_k_m"), "blk.0.ffn_up.weight") == tensor_type::q5_1);
  CHECK(type_in(*file, named("q6_k"), "blk.0.ffn_up.weight") == tensor_type::q8_0);
  CHECK(type_in(*file, named("q4_k_m"), "blk.0.ffn_down.weight") == tensor_type::f16);
  CHECK(type_in(*file, named("q4_0"), "blk.0.ffn_down.weight") == tensor_type::f16);
  CHECK(type_in(*file, named("q4_k_m"), "blk.0.ffn_gate_exps.weight") == tensor_type::q4_k);
  for (const auto* kept :
       {"blk.0.ffn_gate_inp.weight", "blk.0.attn_q.bias", "blk.0.attn_q_norm.weight"})
    CHECK(type_in(*file, named("q4_k_m"), kept) == tensor_type::f32);
}

TEST_CASE("a quantised model keeps metadata, order and alignment, and is one that we load") {
  test::temp_folder folder;
  REQUIRE(test::write_tiny_model(
      folder / "m.gguf", {.dim = 256, .heads = 4, .kv_heads = 2, .ff = 512, .tied = false}));
  {
    const auto plain = gguf_file::open(folder / "m.gguf").value();
    gguf_writer aligned;
    aligned.copy_metadata(*plain);
    aligned.set_alignment(128);
    for (const auto& t : plain->tensors()) aligned.add_tensor(t.name, t.type, t.shape, t.data);
    REQUIRE(aligned.write(folder / "aligned.gguf"));
  }
  const auto from = gguf_file::open(folder / "aligned.gguf").value();
  REQUIRE(from->alignment() == 128);
  kernels::thread_pool one(1), three(3);
  for (const auto& as : quantisations()) {
    CAPTURE(as.name);
    const auto size = quantise_file(*from, folder / "q.gguf", as, true, one, silent);
    REQUIRE(size);
    const auto file = gguf_file::open(folder / "q.gguf").value();
    CHECK(size->bytes_after == file->bytes());
    CHECK(size->fallbacks == 0);
    CHECK(file->alignment() == 128);
    CHECK(file->get_u32("general.file_type").value() == as.file_type);
    CHECK(file->get_u32("general.quantization_version").value() == 2);
    for (const auto key : from->keys()) {
      if (key.starts_with("general.")) continue;
      const auto a = *from->get_raw(key), b = file->get_raw(key).value();
      CHECK(a.type == b.type);
      CHECK(std::ranges::equal(a.bytes, b.bytes));
    }
    const auto types = plan(*from, as);
    REQUIRE(file->tensors().size() == types.size());
    for (std::size_t i = 0; i < types.size(); ++i) {
      const auto& before = from->tensors()[i];
      const auto& after = file->tensors()[i];
      CHECK(after.name == before.name);
      CHECK(after.shape == before.shape);
      CHECK(after.type == types[i]);
    }
    CHECK(llama::load(file));
    REQUIRE(quantise_file(*from, folder / "again.gguf", as, true, three, silent));
    CHECK(*base::read_file(folder / "q.gguf") == *base::read_file(folder / "again.gguf"));
  }
}

TEST_CASE("a value that can't be written is refused with the tensor's name, and leaves no file") {
  test::temp_folder folder;
  std::vector<float> values(64 * 3, 0.25f);
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), 1e30f}) {
    values[64 * 2 + 5] = bad;
    gguf_writer out;
    out.add_tensor("x.weight", tensor_type::f32, {64, 3}, std::as_bytes(std::span{values}));
    REQUIRE(out.write(folder / "m.gguf"));
    const auto file = gguf_file::open(folder / "m.gguf").value();
    kernels::thread_pool pool(2);
    const auto done = quantise_file(*file, folder / "q.gguf", named("q4_0"), false, pool, silent);
    REQUIRE_FALSE(done);
    CHECK(done.error().code == errc::invalid_argument);
    CHECK(done.error().message.find("'x.weight' has a value in row 2") != std::string::npos);
    CHECK(files_in(folder.path()) == 1);
  }
}

TEST_CASE("what is interrupted leaves no file, and a file that is there is left alone") {
  test::temp_folder folder;
  REQUIRE(test::write_tiny_model(folder / "m.gguf", {}));
  const auto file = gguf_file::open(folder / "m.gguf").value();
  kernels::thread_pool pool(1);
  int looks = 0;
  const auto stopped = quantise_file(
      *file, folder / "q.gguf", named("q8_0"), false, pool,
      [&](std::uint64_t, std::uint64_t) { return ++looks < 9; });
  REQUIRE_FALSE(stopped);
  CHECK(stopped.error().code == errc::cancelled);
  CHECK(files_in(folder.path()) == 1);

  REQUIRE(base::write_file_durably(folder / "q.gguf", "mine"));
  const auto refused = quantise_file(*file, folder / "q.gguf", named("q8_0"), false, pool, silent);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == errc::already_exists);
  CHECK(*base::read_file(folder / "q.gguf") == "mine");
  const auto itself = quantise_file(*file, folder / "m.gguf", named("q8_0"), true, pool, silent);
  REQUIRE_FALSE(itself);
  CHECK(itself.error().code == errc::invalid_argument);

  std::uint64_t done = 0, all = 0;
  REQUIRE(quantise_file(
      *file, folder / "q.gguf", named("q8_0"), true, pool, [&](std::uint64_t d, std::uint64_t a) {
        CHECK(d >= done);
        done = d, all = a;
        return true;
      }));
  CHECK(done == all);
  CHECK(gguf_file::open(folder / "q.gguf"));
}

}  // namespace
}  // namespace dlls::model
