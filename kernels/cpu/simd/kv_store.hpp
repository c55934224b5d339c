// Writes one position's keys and values, on lanes (see tile.hpp for how these files are used).
#pragma once
#include <cstring>

#include "kernels/backend.hpp"
#include "kernels/cpu/simd/quantise.hpp"
#include "kernels/cpu/simd/tile.hpp"

namespace dlls::kernels {
namespace {

void store_numbers(float* into, const float* from, std::size_t n, std::size_t step) {
  for (std::size_t i = 0; i < n; ++i) into[i * step] = from[i];
}

void store_numbers(std::uint16_t* into, const float* from, std::size_t n, std::size_t step) {
  for (std::size_t i = 0; i < n; i += 16) {
    const auto count = smaller(16, n - i);
    float whole[16] = {};
    std::memcpy(whole, from + i, count * sizeof(float));
    std::uint16_t half[16];
    lanes::store_half(half, lanes::load(whole));
    for (std::size_t j = 0; j < count; ++j) into[(i + j) * step] = half[j];
  }
}

template <class Number>
void kv_store_as(const kv_view& c, std::size_t position, const float* k, const float* v) {
  const auto page = position / kv_page_positions, row = position % kv_page_positions;
  for (std::size_t h = 0; h < c.kv_heads; ++h, k += c.head_dim, v += c.head_dim) {
    auto* key = reinterpret_cast<Number*>(c.keys(page, h)) + row;
    auto* value = reinterpret_cast<Number*>(c.values(page, h)) + row * c.value_stride();
    store_numbers(key, k, c.head_dim, kv_page_positions);
    store_numbers(value, v, c.head_dim, 1);
  }
}

void store_scale(std::byte* at, float d) {
  std::uint16_t half[16];
  lanes::store_half(half, lanes::all(d));
  std::memcpy(at, half, 2);
}

// A key's numbers stand in fours, those of a panel's sixteen positions together.
void store_key_q8(std::byte* panel, std::size_t row, const q8_block* from, std::size_t blocks) {
  constexpr auto form = packing_of(element::q8_0);
  for (std::size_t b = 0; b < blocks; ++b, panel += form.bytes()) {
    store_scale(panel + 2 * row, from[b].d);
    for (std::size_t step = 0; step < block_values / 4; ++step) {
      std::uint32_t four;
      std::memcpy(&four, from[b].q + 4 * step, 4);
      four ^= 0x80808080;  // stored without a sign: 128 more
      std::memcpy(panel + form.head_bytes() + 64 * step + 4 * row, &four, 4);
    }
  }
}

void kv_store_q8(const kv_view& c, std::size_t position, const float* k, const float* v) {
  const auto page = position / kv_page_positions, row = position % kv_page_positions;
  const auto blocks = c.head_dim / block_values;
  q8_block made[head_dim_max / block_values];
  for (std::size_t h = 0; h < c.kv_heads; ++h, k += c.head_dim, v += c.head_dim) {
    quantise_row(made, k, c.head_dim);
    auto* panel = c.keys(page, h) + row / 16 * panel_bytes_of(c.type, c.head_dim);
    store_key_q8(panel, row % 16, made, blocks);
    quantise_row(made, v, c.head_dim);
    auto* values = c.values(page, h);
    for (std::size_t b = 0; b < blocks; ++b) {
      std::memcpy(values + row * c.head_dim + b * block_values, made[b].q, block_values);
      store_scale(values + c.value_scale_offset(b) + 2 * row, made[b].d);
    }
  }
}

void kv_store_row(const kv_view& c, std::size_t position, const float* k, const float* v) {
  if (c.type == element::f32)
    kv_store_as<float>(c, position, k, v);
  else if (c.type == element::q8_0)
    kv_store_q8(c, position, k, v);
  else
    kv_store_as<std::uint16_t>(c, position, k, v);
}

}  // namespace
}  // namespace dlls::kernels
