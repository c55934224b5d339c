// The architecture written down plainly, in double, straight from the file's tensors: what the
// forward pass is judged by where no other program can be.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "kernels/cpu/scalar/rows.hpp"
#include "kernels/element.hpp"
#include "model/gguf.hpp"
#include "model/llama_config.hpp"
#include "model/rope.hpp"
#include "model/token.hpp"

namespace dlls::test {

class plain_llama {
 public:
  using row = std::vector<double>;
  explicit plain_llama(const model::gguf_file& file)
      : file_(file), c_(model::read_llama_config(file).value()), traits_(c_.traits) {}

  // Of every token, after the final norm.
  std::vector<row> hidden(std::span<const model::token_id> tokens) {
    std::vector<row> xs;
    for (const auto id : tokens) {
      const auto& all = floats("token_embd.weight");
      xs.emplace_back(all.begin() + id * c_.dim, all.begin() + (id + 1) * c_.dim);
      for (auto& x : xs.back()) x *= double{traits_.embedding_scale};
    }
    for (std::uint32_t l = 0; l < c_.layers; ++l) {
      attend(l, xs);
      const auto name = "blk." + std::to_string(l) + ".";
      for (auto& x : xs) {
        const auto n = normed(x, name + "ffn_norm.weight");
        const auto gate = times(name + "ffn_gate.weight", n), up = times(name + "ffn_up.weight", n);
        row act(gate.size());
        const bool gelu = traits_.gate == model::gate_kind::gelu_tanh;
        (gelu ? kernels::scalar::geglu<double>
              : kernels::scalar::swiglu<double>)(act.data(), gate.data(), up.data(), act.size());
        join(x, times(name + "ffn_down.weight", act), name + "post_ffw_norm.weight");
      }
    }
    for (auto& x : xs) x = normed(x, "output_norm.weight");
    return xs;
  }

  // Of the last token.
  row logits(std::span<const model::token_id> tokens) {
    auto out = times(c_.tied ? "token_embd.weight" : "output.weight", hidden(tokens).back());
    if (const double cap = double{traits_.logit_softcap}; cap != 0)
      for (auto& x : out) x = cap * std::tanh(x / cap);
    return out;
  }

 private:
  const std::vector<float>& floats(const std::string& name) {
    auto& entry = values_[name];
    if (!entry.empty()) return entry;
    const auto* t = file_.find(name);
    entry.resize(t->elements());
    kernels::dequantise(entry.data(), model::element_of(t->type), t->data.data(), entry.size());
    return entry;
  }
  row times(const std::string& name, const row& x) {
    const auto& w = floats(name);
    row y(w.size() / x.size());
    for (std::size_t r = 0; r < y.size(); ++r)
      for (std::size_t i = 0; i < x.size(); ++i) y[r] += w[r * x.size() + i] * x[i];
    return y;
  }
  // The norm of every `weights` numbers of x.
  row normed(const row& x, const std::string& name) {
    const auto& w = floats(name);
    const row wide(w.begin(), w.end());
    row out(x.size());
    for (std::size_t at = 0; at < x.size(); at += w.size())
      kernels::scalar::rms_norm<double>(&out[at], &x[at], wide.data(), w.size(), c_.rms_eps);
    return out;
  }
  void join(row& x, const row& y, const std::string& post_norm) {
    const auto added = traits_.post_norms ? normed(y, post_norm) : y;
    for (std::size_t i = 0; i < x.size(); ++i) x[i] += added[i];
  }
  row projected(const std::string& name, const row& x) {
    auto y = times(name + ".weight", x);
    if (!traits_.qkv_bias) return y;
    const auto& bias = floats(name + ".bias");
    for (std::size_t i = 0; i < y.size(); ++i) y[i] += double{bias[i]};
    return y;
  }
  row turned(row x, const std::string& norm, const model::rope_speeds& speeds, std::size_t at) {
    if (traits_.qk_norm) x = normed(x, norm);
    row table;
    for (const double f : speeds.frequencies) {
      table.push_back(speeds.magnitude * std::cos(double(at) * f));
      table.push_back(speeds.magnitude * std::sin(double(at) * f));
    }
    kernels::scalar::rope<double>(
        x.data(), table.data(), x.size() / c_.head_dim, c_.head_dim, traits_.pairs);
    return x;
  }
  void attend(std::uint32_t layer, std::vector<row>& xs) {
    const auto name = "blk." + std::to_string(layer) + ".";
    const bool windowed = c_.windowed(layer);
    const bool own_base = windowed && traits_.windowed_rope_base != 0;
    const auto speeds = own_base ? model::make_rope(c_.head_dim, traits_.windowed_rope_base, {})
                                 : model::make_rope(c_.head_dim, c_.rope_base, traits_.scaling);
    const double scale = traits_.attention_scale != 0 ? double{traits_.attention_scale}
                                                      : 1 / std::sqrt(double(c_.head_dim));
    std::vector<row> q, k, v;
    for (std::size_t p = 0; p < xs.size(); ++p) {
      const auto n = normed(xs[p], name + "attn_norm.weight");
      q.push_back(turned(projected(name + "attn_q", n), name + "attn_q_norm.weight", speeds, p));
      k.push_back(turned(projected(name + "attn_k", n), name + "attn_k_norm.weight", speeds, p));
      v.push_back(projected(name + "attn_v", n));
    }
    for (std::size_t p = 0; p < xs.size(); ++p) {
      row out(q[p].size());
      const auto first = windowed && p + 1 > traits_.window ? p + 1 - traits_.window : 0;
      for (std::uint32_t h = 0; h < c_.heads; ++h) {
        const auto from = h * c_.head_dim, kv = h / (c_.heads / c_.kv_heads) * c_.head_dim;
        row weight(p + 1 - first);
        for (auto t = first; t <= p; ++t) {
          for (std::uint32_t i = 0; i < c_.head_dim; ++i)
            weight[t - first] += q[p][from + i] * k[t][kv + i];
          weight[t - first] *= scale;
        }
        kernels::scalar::softmax(weight.data(), weight.size());
        for (auto t = first; t <= p; ++t)
          for (std::uint32_t i = 0; i < c_.head_dim; ++i)
            out[from + i] += weight[t - first] * v[t][kv + i];
      }
      join(xs[p], times(name + "attn_output.weight", out), name + "post_attention_norm.weight");
    }
  }

  const model::gguf_file& file_;
  model::llama_config c_;
  model::llama_traits traits_;
  std::map<std::string, std::vector<float>> values_;
};

}  // namespace dlls::test
