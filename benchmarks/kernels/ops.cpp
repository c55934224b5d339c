// How fast each instruction set multiplies, for each weight type and number of activation rows, and
// how fast it attends: on one thread, in its processor time, so that neighbours disturb little.
//
//     bench_ops [rows=576] [columns=1536] [seed=1]      rows=0: no products
#include <fmt/core.h>
#include <time.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <string_view>
#include <tuple>
#include <vector>

#include "base/random.hpp"
#include "kernels/dispatch.hpp"
#include "kernels/memory.hpp"
#include "kernels/ops.hpp"
#include "tests/kernels/kv_memory.hpp"

namespace dlls::kernels {
namespace {

double cpu_seconds() {
  timespec t{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

// The best of several runs of about 20 ms.
double seconds_each(auto&& work) {
  work();
  double best = 1e9;
  for (int run = 0; run < 5; ++run) {
    const double start = cpu_seconds();
    double spent = 0;
    int times = 0;
    do {
      work();
      ++times;
      spent = cpu_seconds() - start;
    } while (spent < 0.02);
    best = std::min(best, spent / times);
  }
  return best;
}

struct weights {
  huge_buffer memory;
  packed_matrix packed;
};

// Random numbers; the scales of quantised blocks are finite.
weights random_weights(
    element type, std::size_t rows, std::size_t columns, base::random_source& random) {
  std::vector<std::byte> raw(bytes_of(type, rows * columns));
  for (auto& b : raw) b = static_cast<std::byte>(random() & 0x3B);
  weights made{huge_buffer(packed_bytes(type, rows, columns)), {}};
  made.packed = pack(made.memory.data(), type, rows, columns, raw.data());
  return made;
}

void products(std::size_t rows, std::size_t columns, base::random_source& random) {
  thread_pool pool(1);
  const std::pair<element, const char*> types[] = {
      {element::q4_1, "q4_1"}, {element::q4_0, "q4_0"}, {element::q8_0, "q8_0"},
      {element::q5_0, "q5_0"}, {element::q5_1, "q5_1"}, {element::iq4_nl, "iq4_nl"},
      {element::q2_k, "q2_k"}, {element::q3_k, "q3_k"}, {element::q4_k, "q4_k"},
      {element::q5_k, "q5_k"}, {element::q6_k, "q6_k"}, {element::iq4_xs, "iq4_xs"},
      {element::f16, "f16"},   {element::bf16, "bf16"}, {element::f32, "f32"}};
  for (const auto& [type, type_name] : types) {
    const auto w = random_weights(type, rows, columns, random);
    for (const bool q8 : {true, false}) {
      if (q8 && !is_quantised(type)) continue;
      for (const std::size_t n : {1, 4, 8, 128}) {
        std::vector<float> x(n * columns), y(n * rows);
        for (auto& v : x) v = static_cast<float>(random.uniform() - 0.5);
        std::vector<q8_block> blocks(x.size() / block_values);
        quantise_q8(blocks.data(), x.data(), x.size());
        const product p[] = {{y.data(), rows, &w.packed, false}};
        const activation_rows a{x.data(), q8 ? blocks.data() : nullptr, n, columns};
        const double seconds = seconds_each([&] { matmul(pool, p, a); });
        const auto macs = static_cast<double>(n * rows * columns);
        fmt::print(
            "{:7} {:6} x {:3}  n={:<3}  {:7.1f} GMAC/s  {:6.1f} GB/s of weights\n", name(active()),
            type_name, q8 ? "q8" : "f32", n, macs / seconds * 1e-9,
            static_cast<double>(w.packed.bytes()) / seconds * 1e-9);
      }
    }
  }
}

// One layer again and again, which stays in the second-level cache, and 96 layers in turn, which
// come from memory: what a decoding step sees.
void attentions(element type, const char* type_name, base::random_source& random) {
  thread_pool pool(1);
  constexpr std::size_t heads = 9, kv_heads = 3, head_dim = 64, capacity = 2048;
  std::vector<std::unique_ptr<test::kv_memory>> layers;
  std::vector<float> row(kv_heads * head_dim);
  for (int i = 0; i < 96; ++i) {
    layers.push_back(
        std::make_unique<test::kv_memory>(kv_shape{type, kv_heads, head_dim}, capacity));
    for (std::size_t p = 0; p < capacity; ++p) {
      if (i == 0)
        for (auto& v : row) v = static_cast<float>(random.uniform() - 0.5);
      kv_store(layers.back()->view(), p, row.data(), row.data());
    }
  }
  for (const auto& [rows, first, many] :
       {std::tuple<std::size_t, std::size_t, std::size_t>{1, 128, 1},
        {1, 1023, 1},
        {1, 1023, 96},
        {128, 0, 1},
        {128, 384, 1},
        {128, 1024, 1}}) {
    std::vector<float> q(rows * heads * head_dim), out(q.size());
    for (auto& v : q) v = static_cast<float>(random.uniform() - 0.5);
    constexpr auto width = heads * head_dim;
    attention_rows a[] = {
        {out.data(), q.data(), width, width, rows, heads, first, layers[0]->view()}};
    std::vector<float> scratch(attention_scratch(a));
    std::size_t layer = 0;
    const double seconds = seconds_each([&] {
      a[0].cache = layers[layer++ % many]->view();
      attention(pool, a, scratch.data());
    });
    double macs = 0;
    for (std::size_t i = 0; i < rows; ++i)
      macs += static_cast<double>(2 * heads * head_dim * (first + i + 1));
    fmt::print(
        "{:7} attention {:4} layers={:<2} rows={:<3} first={:<4} {:7.1f} GMAC/s  {:8.1f} us\n",
        name(active()), type_name, many, rows, first, macs / seconds * 1e-9, seconds * 1e6);
  }
}

void others(base::random_source& random) {
  constexpr std::size_t n = 1536;
  std::vector<float> a(n), b(n), c(n);
  for (auto& v : a) v = static_cast<float>(random.uniform() * 8 - 4);
  b = a;
  std::vector<q8_block> blocks(n / block_values);
  const auto line = [&](const char* what, double seconds) {
    fmt::print(
        "{:7} {:12} {} values {:7.2f} ns a value\n", name(active()), what, n, seconds * 1e9 / n);
  };
  line("rms_norm", seconds_each([&] { rms_norm(c.data(), a.data(), b.data(), n, 1e-5f); }));
  line("swiglu", seconds_each([&] { swiglu(c.data(), a.data(), b.data(), n); }));
  line("quantise_q8", seconds_each([&] { quantise_q8(blocks.data(), a.data(), n); }));
  line("log_sum_exp", seconds_each([&] { c[0] = log_sum_exp(a.data(), n); }));
}

int run(int count, char** arguments) {
  std::size_t rows = 576, columns = 1536, seed = 1;
  for (int i = 1; i < count; ++i) {
    const std::string_view argument = arguments[i];
    const auto value = [&](std::string_view key) {
      return std::strtoull(arguments[i] + key.size(), nullptr, 10);
    };
    if (argument.starts_with("rows=")) rows = value("rows=");
    if (argument.starts_with("columns=")) columns = value("columns=");
    if (argument.starts_with("seed=")) seed = value("seed=");
  }
  fmt::print("weights ({}, {}), seed {}, one thread\n", rows, columns, seed);
  for (const auto which : {isa::avx2, isa::avx512, isa::scalar}) {
    if (which == isa::scalar && available(isa::avx2)) continue;  // for what is nowhere fast
    if (!force(which)) continue;
    base::random_source random(seed);
    if (rows * columns > 0) products(rows, columns, random);
    for (const auto& [type, type_name] : {std::pair{element::f16, "f16"}, {element::q8_0, "q8_0"}})
      attentions(type, type_name, random);
    others(random);
  }
  return 0;
}

}  // namespace
}  // namespace dlls::kernels

int main(int count, char** arguments) { return dlls::kernels::run(count, arguments); }
