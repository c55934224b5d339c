#!/usr/bin/env python3
"""From nothing to the first token, and the memory it takes: ours against llama.cpp, in turns.

    benchmarks/model/startup.py MODEL [--program build/release/bin/bench_inference] [--rounds 7]

Ours is the whole process, from its start to its end after 128 tokens of prompt and one of answer. The
peer's clock runs from the load of the model on, so that Python's own start is not held against it; its
memory is what the process has grown by since. The file is in the page cache on both sides.
"""
import argparse
import os
import pathlib
import random
import statistics
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import inference  # noqa: E402

TOKENS = 128


def ours(options):
    start = time.perf_counter()
    child = subprocess.Popen(
        [options.program, options.model, "threads=2", f"prefill={TOKENS}", "decode=1", "rounds=1"],
        stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    if status != 0:
        sys.exit("bench_inference failed")
    return time.perf_counter() - start, usage.ru_maxrss / 1024


# In a process of its own each time: what one load leaves behind must not serve the next.
PEER = """
import resource, sys, time
sys.path.insert(0, sys.argv[1])
import inference, llama_cpp
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
start = time.perf_counter()
peer = inference.llama_cpp_peer(sys.argv[2], 2, 256)
token = peer.feed([int(t) for t in sys.argv[3].split(",")])
peer.feed([token])
print(time.perf_counter() - start, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


def theirs(options, prompt):
    out = subprocess.run(
        [sys.executable, "-c", PEER, str(pathlib.Path(__file__).resolve().parent), options.model,
         ",".join(map(str, prompt))], check=True, capture_output=True, text=True).stdout
    return tuple(map(float, out.split()))


def main():
    parse = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parse.add_argument("model")
    parse.add_argument(
        "--program", default=str(inference.ROOT / "build" / "release" / "bin" / "bench_inference"))
    parse.add_argument("--rounds", type=int, default=7)
    parse.add_argument("--seed", type=int, default=1)
    options = parse.parse_args()
    if pathlib.Path(sys.prefix) != inference.ENVIRONMENT:
        inference.install_peer(__file__)
    print(f"machine: {inference.machine()}; seed {options.seed}; {inference.PEER}; ours / llama.cpp")
    chance = random.Random(options.seed)
    prompt = [chance.randrange(40000) for _ in range(TOKENS)]
    rounds = []
    for number in range(options.rounds):
        rounds.append((ours(options), theirs(options, prompt)))
        mine, other = rounds[-1]
        print(f"  round {number + 1}: {mine[0]:.2f} / {other[0]:.2f} s, "
              f"{mine[1]:.0f} / {other[1]:.0f} MiB", flush=True)
    for index, name in enumerate((f"start to first token after {TOKENS}, s", "resident at most, MiB")):
        mine, other = (statistics.median(r[side][index] for r in rounds) for side in (0, 1))
        print(f"{name}: {mine:.2f} against {other:.2f}, {mine / other:.2f}x")


if __name__ == "__main__":
    main()
