#!/usr/bin/env python3
"""Perplexity of a text for each weight type, ours against llama.cpp's on the same file: within 0.3 %.

    benchmarks/model/perplexity.py MODEL [--program build/release/bin/dlls] [--text FILE...] [--windows 24] [--types q4_k,q6_k]

MODEL (LLaMA family) is turned into F16 with its width and heads filled up by zeros to a multiple of 256, which changes
nothing it computes but lets every matrix take the K types; llama.cpp then quantises that file to each type. Both sides
score the second half of windows of 512 tokens. Where they differ by more, what exact activations give is printed too,
and the type passes if we are the nearer. Exits 1 when one fails.

Rounded activations move a token's log-probability by about 0.09 (SmolLM2-135M), either way and on both sides: few
windows differ by more than 0.3 % out of mere chance.

Needs llama-cpp-python in .cache/llama-cpp, where benchmarks/model/inference.py installs it; says SKIPPED without.
"""
import argparse
import ctypes
import json
import math
import os
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
ENVIRONMENT = ROOT / ".cache" / "llama-cpp"
PYTHON_GGUF = "gguf==0.19.0"
CONTEXT, UNIT, TOLERANCE = 512, 256, 0.003
TYPES = {"f32": 0, "f16": 1, "bf16": 32, "q8_0": 7, "q4_0": 2, "q4_1": 3, "q5_0": 8, "q5_1": 9, "iq4_nl": 25,
         "q2_k": 10, "q3_k": 11, "q4_k": 14, "q5_k": 16, "q6_k": 18, "iq4_xs": 30}  # llama.cpp's file types


def enter_environment():
    """Starts this script again with the Python that has llama.cpp."""
    python = ENVIRONMENT / "bin" / "python"
    if not list(ENVIRONMENT.glob("lib/python3*/site-packages/llama_cpp")):
        print(f"SKIPPED: no llama-cpp-python in {ENVIRONMENT}; benchmarks/model/inference.py installs it")
        sys.exit(0)
    if not list(ENVIRONMENT.glob("lib/python3*/site-packages/gguf")):
        subprocess.run([str(python), "-m", "pip", "install", "-q", PYTHON_GGUF], check=True)
    os.execv(str(python), [str(python), __file__, *sys.argv[1:]])


def rounded_up(n, unit):
    return (n + unit - 1) // unit * unit


class wide_shape:
    """The sizes of a model, and those of the wider one: as many heads of as many groups more as fill the width."""

    def __init__(self, number):
        self.dim, self.heads = number("embedding_length"), number("attention.head_count")
        self.kv_heads, self.ff = number("attention.head_count_kv"), number("feed_forward_length")
        self.head_dim, self.group = self.dim // self.heads, self.heads // self.kv_heads
        self.kv_wide = self.kv_heads
        while self.kv_wide * self.group * self.head_dim % UNIT:
            self.kv_wide += 1
        self.q_wide = self.kv_wide * self.group * self.head_dim
        self.dim_wide, self.ff_wide = rounded_up(self.dim, UNIT), rounded_up(self.ff, UNIT)

    def of(self, name, shape):
        """The wider (rows, columns) of a tensor."""
        part = name.split(".")[-2]
        rows = {"attn_q": self.q_wide, "attn_k": self.kv_wide * self.head_dim,
                "attn_v": self.kv_wide * self.head_dim, "attn_output": self.dim_wide, "ffn_down": self.dim_wide,
                "ffn_gate": self.ff_wide, "ffn_up": self.ff_wide}
        columns = {"attn_output": self.q_wide, "ffn_down": self.ff_wide}
        last = columns.get(part, self.dim_wide)
        return (last,) if len(shape) == 1 else (rows.get(part, shape[0]), last)


def write_wide(source, target):
    import gguf
    import numpy
    reader = gguf.GGUFReader(source)
    shape = wide_shape(lambda key: int(reader.fields["llama." + key].contents()))
    share = shape.dim / shape.dim_wide  # a mean over more numbers is smaller by this
    changed = {"embedding_length": shape.dim_wide, "feed_forward_length": shape.ff_wide,
               "attention.head_count": shape.kv_wide * shape.group, "attention.head_count_kv": shape.kv_wide,
               "attention.key_length": shape.head_dim, "attention.value_length": shape.head_dim}
    eps = "attention.layer_norm_rms_epsilon"
    changed[eps] = float(reader.fields["llama." + eps].contents()) * share
    out = gguf.GGUFWriter(target, "llama")
    for name, field in reader.fields.items():
        key = name.removeprefix("llama.")
        if name.startswith("GGUF.") or name == "general.architecture" or (name != key and key in changed):
            continue
        out.add_key_value(name, field.contents(), field.types[0], field.types[-1] if len(field.types) > 1 else None)
    for key, value in changed.items():
        (out.add_float32 if isinstance(value, float) else out.add_uint32)("llama." + key, value)
    for tensor in reader.tensors:
        values = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(numpy.float32)
        wide = numpy.zeros(shape.of(tensor.name, values.shape), numpy.float32)
        wide[tuple(slice(0, n) for n in values.shape)] = values
        out.add_tensor(tensor.name, wide * numpy.float32(math.sqrt(share)) if values.ndim == 1
                       else wide.astype(numpy.float16))
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()


def quantise(source, target, file_type):
    import llama_cpp
    how = llama_cpp.llama_model_quantize_default_params()
    # Nothing but q2_k leaves nothing of a small model: it gets llama.cpp's mixture, most of it q2_k and q3_k.
    how.ftype, how.pure, how.nthread, how.allow_requantize = file_type, file_type != TYPES["q2_k"], 2, True
    if llama_cpp.llama_model_quantize(str(source).encode(), str(target).encode(), ctypes.byref(how)) != 0:
        sys.exit(f"llama.cpp could not write {target}")


def their_perplexity(path, text, windows):
    import llama_cpp
    import numpy
    llama = llama_cpp.Llama(model_path=str(path), n_ctx=CONTEXT, n_batch=CONTEXT, n_threads=2, n_threads_batch=2,
                            logits_all=True, verbose=False)
    ids = llama.tokenize(text, add_bos=False, special=False)
    nll, scored = 0.0, 0
    for start in range(0, windows * CONTEXT, CONTEXT):
        window = ids[start:start + CONTEXT]
        llama.reset()
        llama.eval(window)
        logits = numpy.asarray(llama.scores[CONTEXT // 2:CONTEXT - 1], dtype=numpy.float64)
        peak = logits.max(axis=1)
        log_sum = numpy.log(numpy.exp(logits - peak[:, None]).sum(axis=1)) + peak
        nll += (log_sum - logits[numpy.arange(len(logits)), window[CONTEXT // 2 + 1:]]).sum()
        scored += len(logits)
    return math.exp(nll / scored)


def our_perplexity(program, path, text, *more):
    out = subprocess.run([program, "eval", "--model", str(path), "--file", str(text), "--context", str(CONTEXT), *more],
                         check=True, capture_output=True, text=True).stdout
    return json.loads(out)["perplexity"]


def cut(model, text, windows):
    """The beginning of a text that makes just over `windows` windows, for both sides alike."""
    import llama_cpp
    vocabulary = llama_cpp.Llama(model_path=str(model), vocab_only=True, verbose=False)
    ids = vocabulary.tokenize(text, add_bos=False, special=False)
    if len(ids) < windows * CONTEXT:
        sys.exit(f"the text has {len(ids)} tokens, {windows} windows take {windows * CONTEXT}")
    return vocabulary.detokenize(ids[:windows * CONTEXT + 8])


def types_in(path):
    import gguf
    kinds = [t.tensor_type.name.lower() for t in gguf.GGUFReader(path).tensors if len(t.shape) > 1]
    return ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))


def main():
    parse = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parse.add_argument("model")
    parse.add_argument("--program", default=str(ROOT / "build" / "release" / "bin" / "dlls"))
    parse.add_argument("--text", nargs="+", default=sorted(map(str, (ROOT / "docs").glob("*.md"))))
    parse.add_argument("--windows", type=int, default=24)
    parse.add_argument("--types", default=",".join(TYPES))
    options = parse.parse_args()
    if pathlib.Path(sys.prefix) != ENVIRONMENT:
        enter_environment()
    failed = []
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        base, text = folder / "wide.f16.gguf", folder / "text"
        whole = b"".join(pathlib.Path(path).read_bytes() for path in options.text)
        text.write_bytes(cut(options.model, whole, options.windows))
        write_wide(options.model, base)
        for name in options.types.split(","):
            path = folder / f"{name}.gguf"
            quantise(base, path, TYPES[name])
            theirs = their_perplexity(path, text.read_bytes(), options.windows)
            ours = our_perplexity(options.program, path, text)
            off = ours / theirs - 1
            line = f"{name:7} DLLS {ours:9.4f}  llama.cpp {theirs:9.4f}  {100 * off:+.3f} %  ({types_in(path)})"
            if not abs(off) <= TOLERANCE:
                exact = our_perplexity(options.program, path, text, "--f32")
                line += f"  exact activations {exact:9.4f}"
                if not abs(ours - exact) <= abs(theirs - exact):
                    failed.append(name)
            print(line, flush=True)
            path.unlink()
    print(f"{len(options.types.split(','))} types, {len(failed)} off by more than {100 * TOLERANCE} %, {options.windows} windows")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
