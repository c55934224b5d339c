#!/usr/bin/env python3
"""Tiny models of every architecture, and llama.cpp's logits for them: reference/architectures/.

Needs the PyPI packages numpy, gguf and llama-cpp-python. Run it from anywhere:
    tests/parity/make_architectures.py [SEED]
The same seed makes the same files. Weights are drawn in half precision; llama.cpp computes with the
very same numbers in F32 (it would round activations to half for F16 weights), KV cache F32."""
import json
import pathlib
import sys
import tempfile

import gguf
import llama_cpp
import numpy

FOLDER = pathlib.Path(__file__).parent / "reference" / "architectures"
TOKENS = 48   # of each run
VOCAB = 40
CONTEXT = 64


def llama3_factors(base, dim, factor, low, high, trained):
    """rope_freqs.weight as llama.cpp's converter makes it from LLaMA 3.1's settings."""
    frequency = base ** (-numpy.arange(0, dim, 2) / dim)
    turns = trained * frequency / (2 * numpy.pi)
    kept = numpy.clip((turns - low) / (high - low), 0, 1)
    return (1 / (kept + (1 - kept) / factor)).astype(numpy.float32)


# NAME: architecture, shape, further keys (below the architecture), options.
CASES = {
    "llama-linear": ("llama", dict(), {"rope.scaling.type": "linear", "rope.scaling.factor": 2.0}, {}),
    "llama-yarn": ("llama", dict(), {
        "rope.scaling.type": "yarn", "rope.scaling.factor": 4.0,
        "rope.scaling.original_context_length": 16}, {}),
    "llama-3.1": ("llama", dict(base=500000.0), {}, {"factors": (8.0, 1.0, 4.0, 32)}),
    "qwen2": ("qwen2", dict(base=1e6, eps=1e-6), {}, {"bias": True}),
    "qwen2-yarn": ("qwen2", dict(base=1e6, eps=1e-6), {
        "rope.scaling.type": "yarn", "rope.scaling.factor": 2.0,
        "rope.scaling.original_context_length": 32, "rope.scaling.attn_factor": 1.25},
        {"bias": True, "tied": True}),
    "qwen3": ("qwen3", dict(base=1e6, eps=1e-6, head_dim=32), {}, {"qk_norm": True}),
    "gemma3": ("gemma3", dict(layers=7, ff=32, base=1e6, eps=1e-6), {
        "attention.sliding_window": 8, "rope.scaling.type": "linear", "rope.scaling.factor": 8.0},
        {"qk_norm": True, "post_norms": True, "tied": True}),
}


class model:
    def __init__(self, name, seed):
        self.arch, shape, self.keys, self.options = CASES[name]
        shape = {"dim": 32, "layers": 2, "heads": 2, "kv_heads": 1, "head_dim": 16, "ff": 64, "base": 10000.0,
                 "eps": 1e-5, **shape}
        self.__dict__.update(shape)
        self.random = numpy.random.default_rng([seed, *name.encode()])
        self.tensors = {}
        self.draw()

    def matrix(self, name, rows, columns):
        self.tensors[name] = (self.random.standard_normal((rows, columns)) * 0.3).astype(numpy.float16)

    def vector(self, name, n, around=0.0):
        self.tensors[name] = (around + self.random.standard_normal(n) * 0.2).astype(numpy.float32)

    def draw(self):
        o = self.options
        self.matrix("token_embd.weight", VOCAB, self.dim)
        for i in range(self.layers):
            b = f"blk.{i}."
            q, kv = self.heads * self.head_dim, self.kv_heads * self.head_dim
            self.vector(b + "attn_norm.weight", self.dim, 1)
            self.matrix(b + "attn_q.weight", q, self.dim)
            self.matrix(b + "attn_k.weight", kv, self.dim)
            self.matrix(b + "attn_v.weight", kv, self.dim)
            self.matrix(b + "attn_output.weight", self.dim, q)
            self.vector(b + "ffn_norm.weight", self.dim, 1)
            self.matrix(b + "ffn_gate.weight", self.ff, self.dim)
            self.matrix(b + "ffn_up.weight", self.ff, self.dim)
            self.matrix(b + "ffn_down.weight", self.dim, self.ff)
            if o.get("bias"):
                for part, n in (("q", q), ("k", kv), ("v", kv)):
                    self.vector(b + f"attn_{part}.bias", n)
            if o.get("qk_norm"):
                self.vector(b + "attn_q_norm.weight", self.head_dim, 1)
                self.vector(b + "attn_k_norm.weight", self.head_dim, 1)
            if o.get("post_norms"):
                self.vector(b + "post_attention_norm.weight", self.dim, 1)
                self.vector(b + "post_ffw_norm.weight", self.dim, 1)
        self.vector("output_norm.weight", self.dim, 1)
        if not o.get("tied"):
            self.matrix("output.weight", VOCAB, self.dim)
        if "factors" in o:
            self.tensors["rope_freqs.weight"] = llama3_factors(self.base, self.head_dim, *o["factors"])

    def write(self, path, exact):
        out = gguf.GGUFWriter(path, self.arch)
        out.add_name("tiny")
        out.add_vocab_size(VOCAB)
        out.add_context_length(CONTEXT)
        out.add_embedding_length(self.dim)
        out.add_block_count(self.layers)
        out.add_feed_forward_length(self.ff)
        out.add_head_count(self.heads)
        out.add_head_count_kv(self.kv_heads)
        out.add_key_length(self.head_dim)
        out.add_value_length(self.head_dim)
        out.add_rope_dimension_count(self.head_dim)
        out.add_rope_freq_base(self.base)
        out.add_layer_norm_rms_eps(self.eps)
        for key, value in self.keys.items():
            add = {int: out.add_uint32, float: out.add_float32, str: out.add_string}[type(value)]
            add(f"{self.arch}.{key}", value)
        out.add_tokenizer_model("llama")
        out.add_token_list([f"t{i}" for i in range(VOCAB)])
        out.add_token_scores([-float(i) for i in range(VOCAB)])
        out.add_token_types([1] * VOCAB)
        for name, values in self.tensors.items():
            out.add_tensor(name, values.astype(numpy.float32) if exact else values)
        out.write_header_to_file()
        out.write_kv_data_to_file()
        out.write_tensors_to_file()
        out.close()


def logits(path, tokens):
    """llama.cpp's, of every position: (tokens, vocab)."""
    llm = llama_cpp.Llama(
        str(path), n_ctx=CONTEXT, n_threads=1, logits_all=True, type_k=0, type_v=0, flash_attn=False,
        verbose=False)
    llm.eval(tokens)
    return numpy.array(llm.scores[:len(tokens)], dtype=numpy.float32)


def main():
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else 20261124
    print(f"seed {seed}, llama-cpp-python {llama_cpp.__version__}")
    FOLDER.mkdir(parents=True, exist_ok=True)
    reference = {}
    for name in CASES:
        made = model(name, seed)
        made.write(FOLDER / f"{name}.gguf", exact=False)
        tokens = made.random.integers(0, VOCAB, TOKENS).tolist()
        with tempfile.TemporaryDirectory() as folder:
            exact = pathlib.Path(folder) / "exact.gguf"
            made.write(exact, exact=True)
            values = logits(exact, tokens)
        reference[name] = {"tokens": tokens, "logits": [[round(float(v), 5) for v in row] for row in values[7::8]]}
        print(f"{name}: {(FOLDER / (name + '.gguf')).stat().st_size} bytes, largest logit {abs(values).max():.2f}")
    text = json.dumps({"seed": seed, "every": 8, "cases": reference})
    (FOLDER / "logits.json").write_text(text.replace("], [", "],\n["))


if __name__ == "__main__":
    main()
