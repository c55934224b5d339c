#!/usr/bin/env python3
"""Prefill and decode tokens a second, ours against llama.cpp: same file, same threads, in turns.

    benchmarks/model/inference.py MODEL [--program build/release/bin/bench_inference] [--rounds 5]
    benchmarks/model/inference.py MODEL --threads 2 --busy 1     while another process computes
    benchmarks/model/inference.py MODEL --prefill 1024 --cache q8_0 [--peer-flash] [--peer-cache q8_0]

Installs llama-cpp-python from PyPI, built for this machine, into .cache/llama-cpp (minutes, once).
Prints machine, seed, every round's figures, medians and ratios, and which part of what these threads
can read from memory our decoding reads.
"""
import argparse
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
ENVIRONMENT = ROOT / ".cache" / "llama-cpp"
PEER = "llama-cpp-python==0.3.36"
GGML_TYPES = {"f16": 1, "q8_0": 8}
BATCH = 512  # tokens in a call of llama_decode, its default


def install_peer(script=__file__):
    """Makes the virtual environment and starts the script again inside it."""
    python = ENVIRONMENT / "bin" / "python"
    if not list(ENVIRONMENT.glob("lib/python3*/site-packages/llama_cpp")):
        print(f"installing {PEER} into {ENVIRONMENT} (compiled here, some minutes)", flush=True)
        subprocess.run([sys.executable, "-m", "venv", str(ENVIRONMENT)], check=True)
        subprocess.run(
            [str(python), "-m", "pip", "install", "-q", "--no-binary", "llama-cpp-python", PEER,
             "numpy"],
            check=True, env={**os.environ, "CMAKE_ARGS": "-DGGML_NATIVE=ON"})
    os.execv(str(python), [str(python), script, *sys.argv[1:]])


class llama_cpp_peer:
    """The C interface, so that no Python stands between two tokens but one call and an argmax."""

    def __init__(self, model, threads, context, flash=False, cache="f16"):
        import ctypes
        import llama_cpp
        self.api, self.ctypes = llama_cpp, ctypes
        self.llama = llama_cpp.Llama(
            model_path=model, n_ctx=context, n_batch=BATCH, n_threads=threads,
            n_threads_batch=threads, flash_attn=flash, type_k=GGML_TYPES[cache], type_v=GGML_TYPES[cache],
            verbose=False)
        self.context = self.llama._ctx.ctx
        self.vocab = self.llama.n_vocab()

    def feed(self, tokens):
        import numpy
        for first in range(0, len(tokens), BATCH):
            part = tokens[first:first + BATCH]
            array = (self.ctypes.c_int32 * len(part))(*part)
            if self.api.llama_decode(self.context, self.api.llama_batch_get_one(array, len(part))) != 0:
                sys.exit("llama_decode failed")
        logits = self.api.llama_get_logits_ith(self.context, -1)
        return int(numpy.ctypeslib.as_array(logits, shape=(self.vocab,)).argmax())

    def round(self, prompt, decode):
        self.llama._ctx.kv_cache_clear()
        stamps = [stamp()]
        token = self.feed(prompt)
        stamps.append(stamp())
        for _ in range(decode):
            token = self.feed([token])
        stamps.append(stamp())
        return rates(len(prompt), stamps[0], stamps[1]) + rates(decode, stamps[1], stamps[2])


def stamp():
    return time.perf_counter(), time.process_time()


def rates(tokens, start, end):
    """Tokens a second by the wall and in processor time."""
    return tuple(tokens / (b - a) for a, b in zip(start, end))


def ours(options, threads):
    out = subprocess.run(
        [options.program, options.model, f"threads={threads}", f"prefill={options.prefill}",
         f"decode={options.decode}", "rounds=2", f"seed={options.seed}", f"cache={options.cache}",
         "roofline=1"], check=True, capture_output=True, text=True).stdout
    fields = dict(part.split("=") for part in out.splitlines()[-1].split())  # the first warms up
    figures = [f"{phase}_per_{unit}" for phase in ("prefill", "decode") for unit in ("s", "cpu_s")]
    figures += ["decode_of_limit", "read_limit_gb_per_s"]
    return tuple(float(fields[name]) for name in figures), fields["kernels"]


def machine():
    with open("/proc/cpuinfo") as lines:
        names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    name = names[0] if names else platform.processor()
    return f"{name}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"


def compare(options, threads):
    import random
    peer = llama_cpp_peer(options.model, threads, options.prefill + options.decode + 8,
                          options.peer_flash, options.peer_cache)
    chance = random.Random(options.seed)
    prompt = [chance.randrange(peer.vocab) for _ in range(options.prefill)]
    peer.round(prompt, 4)  # warms up
    rounds = []
    for number in range(options.rounds):
        theirs = peer.round(prompt, options.decode)
        mine, kernels = ours(options, threads)
        rounds.append((mine, theirs))
        print(f"  threads {threads} round {number + 1}: prefill {mine[0]:.0f} / {theirs[0]:.0f}, "
              f"decode {mine[2]:.1f} / {theirs[2]:.1f}", flush=True)
    for index, what in enumerate((
            f"prefill {options.prefill}, by the wall", f"prefill {options.prefill}, per cpu second",
            f"decode {options.decode}, by the wall", f"decode {options.decode}, per cpu second")):
        mine, theirs = (statistics.median(r[side][index] for r in rounds) for side in (0, 1))
        print(f"threads {threads}, {kernels}: {what}: {mine:.1f} against {theirs:.1f} tok/s, "
              f"{mine / theirs:.2f}x")
    part, limit = (statistics.median(r[0][index] for r in rounds) for index in (4, 5))
    print(f"threads {threads}: decoding reads {part:.0%} of the {limit:.0f} GB/s that memory gives")


def main():
    parse = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parse.add_argument("model")
    parse.add_argument(
        "--program", default=str(ROOT / "build" / "release" / "bin" / "bench_inference"))
    parse.add_argument("--threads", default="1,2")
    parse.add_argument("--prefill", type=int, default=512)
    parse.add_argument("--decode", type=int, default=64)
    parse.add_argument("--rounds", type=int, default=5)
    parse.add_argument("--seed", type=int, default=1)
    parse.add_argument("--cache", default="f16", help="type of our key-value cache: f16 or q8_0")
    parse.add_argument("--peer-cache", default="f16", choices=GGML_TYPES)
    parse.add_argument("--peer-flash", action="store_true", help="llama.cpp's flash attention")
    parse.add_argument("--busy", type=int, default=0, help="processes that compete for the cores")
    options = parse.parse_args()
    if pathlib.Path(sys.prefix) != ENVIRONMENT:
        install_peer()
    print(f"machine: {machine()}; seed {options.seed}; {PEER}; {options.busy} busy processes beside; "
          "ours / llama.cpp, tokens/s")
    rivals = [subprocess.Popen([sys.executable, "-c", "while True: pass"])
              for _ in range(options.busy)]
    try:
        for threads in options.threads.split(","):
            compare(options, int(threads))
    finally:
        for rival in rivals:
            rival.kill()


if __name__ == "__main__":
    main()
