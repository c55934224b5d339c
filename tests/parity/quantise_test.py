#!/usr/bin/env python3
"""What `dlls quantize` writes, in llama.cpp: every type loads, answers, and is as good as what llama.cpp's own quantiser writes.

    tests/parity/quantise_test.py [--windows 16] [--types q4_0,q4_k_m] [--text FILE...]

Both start from the same F16 file and are judged by llama.cpp: perplexity of windows of 512 tokens (the second half of each
scored), ours at most 1 % above theirs. The test model's rows are no multiple of 256, so the K types fall back to blocks of 32 in it;
where the Python package gguf is there, they are tried on a model widened by zeros too (benchmarks/model/perplexity.py).

Exits 77, SKIPPED, without llama-cpp-python in .cache/llama-cpp (benchmarks/model/inference.py installs it) or without the model.
"""
import argparse
import ctypes
import importlib.util
import os
import pathlib
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
ENVIRONMENT = ROOT / ".cache" / "llama-cpp"
BIN = pathlib.Path(os.environ.get("DLLS_BIN", ROOT / "build/release/bin"))
MODEL = pathlib.Path(os.environ.get("DLLS_TEST_MODEL", ROOT / ".cache/models/SmolLM2-135M-Instruct.Q4_1.gguf"))
TYPES = {"q8_0": 7, "q4_0": 2, "q4_1": 3, "q4_k_m": 15, "q6_k": 18, "q5_0": 8, "q5_1": 9, "q5_k_m": 17}
K_TYPES = ("q4_k_m", "q6_k", "q5_k_m")
TOLERANCE = 0.01
THREADS = 1  # llama.cpp's threads spin at every step: two on a busy machine take many times as long as one
PROMPT, ANSWER_TOKENS = "The capital of France is", 24

sys.path.insert(0, str(ROOT / "benchmarks" / "model"))
sys.dont_write_bytecode = True
import perplexity  # noqa: E402


def skip(why):
    print(f"SKIPPED: {why}")
    sys.exit(77)


def their_file(source, target, file_type):
    """With llama.cpp's own mixture, as its llama-quantize makes it."""
    import llama_cpp
    how = llama_cpp.llama_model_quantize_default_params()
    how.ftype, how.nthread = file_type, 2
    if llama_cpp.llama_model_quantize(str(source).encode(), str(target).encode(), ctypes.byref(how)) != 0:
        sys.exit(f"llama.cpp could not write {target}")


def our_file(source, target, name):
    done = subprocess.run([BIN / "dlls", "quantize", source, target, "--type", name], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"dlls quantize --type {name}: exit {done.returncode}: {done.stderr}")


def greedy(path):
    import llama_cpp
    llama = llama_cpp.Llama(model_path=str(path), n_ctx=128, n_threads=THREADS, n_threads_batch=THREADS, verbose=False)
    ids = []
    for token in llama.generate(llama.tokenize(PROMPT.encode()), temp=0.0, top_k=1, repeat_penalty=1.0):
        ids.append(token)
        if len(ids) == ANSWER_TOKENS:
            return ids


def same(ids, others):
    """How many of the first are alike."""
    return next((i for i, (a, b) in enumerate(zip(ids, others)) if a != b), len(ids))


def compare(base, names, folder, text, windows, label):
    exact, answer = perplexity.their_perplexity(base, text, windows, THREADS), greedy(base)
    print(f"{label} f16: perplexity {exact:.4f}, {base.stat().st_size / 1e6:.1f} MB", flush=True)
    failed = []
    for name in names:
        results = []
        for whose, write in (("DLLS", lambda to: our_file(base, to, name)),
                             ("llama.cpp", lambda to: their_file(base, to, TYPES[name]))):
            path = folder / "quantised.gguf"
            began = time.monotonic()
            write(path)
            took = time.monotonic() - began
            found, size = perplexity.their_perplexity(path, text, windows, THREADS), path.stat().st_size
            results.append((found, size))
            print(f"{label} {name:7}{whose:>10}: perplexity {found:9.4f} ({100 * (found / exact - 1):+.2f} % of f16), "
                  f"{size / 1e6:6.1f} MB, {took:4.1f} s, {same(answer, greedy(path))} of {ANSWER_TOKENS} greedy tokens as f16",
                  flush=True)
            path.unlink()
        (ours, our_size), (theirs, their_size) = results
        off = ours / theirs - 1
        good = off <= TOLERANCE and abs(our_size / their_size - 1) < 0.001
        print(f"{label} {name:7} {100 * off:+.2f} % against llama.cpp: {'ok' if good else 'FAILED'}", flush=True)
        if not good:
            failed.append(f"{label} {name}")
    return failed


def main():
    parse = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parse.add_argument("--windows", type=int, default=16)
    parse.add_argument("--types", default=",".join(TYPES))
    parse.add_argument("--text", nargs="+", default=sorted(map(str, (ROOT / "docs").glob("*.md"))))
    options = parse.parse_args()
    if not list(ENVIRONMENT.glob("lib/python3*/site-packages/llama_cpp")):
        skip(f"no llama-cpp-python in {ENVIRONMENT}")
    if not MODEL.exists():
        skip(f"no model at {MODEL}")
    if importlib.util.find_spec("llama_cpp") is None:  # not yet the Python that has it
        os.execv(ENVIRONMENT / "bin" / "python", [str(ENVIRONMENT / "bin" / "python"), __file__, *sys.argv[1:]])
    import llama_cpp
    silence = llama_cpp.llama_log_callback(lambda level, text, data: None)
    llama_cpp.llama_log_set(silence, None)
    names = options.types.split(",")
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        whole = b"".join(pathlib.Path(path).read_bytes() for path in options.text)
        text = perplexity.cut(MODEL, whole, options.windows)
        base = folder / "f16.gguf"
        our_file(MODEL, base, "f16")
        failed = compare(base, names, folder, text, options.windows, "narrow")
        wide_names = [name for name in names if name in K_TYPES]
        if importlib.util.find_spec("gguf") is None:
            print("SKIPPED: K types in blocks of 256: no Python package gguf")
        elif wide_names:
            perplexity.write_wide(MODEL, base)
            failed += compare(base, wide_names, folder, text, options.windows, "wide")
    print(f"failed: {', '.join(failed)}" if failed else "all types ok")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
