#!/usr/bin/env python3
"""Several clients at once, ours against llama.cpp: same file, same threads, in turns.

    benchmarks/model/serving.py MODEL [--program build/release/bin/bench_serving] [--rounds 3]

The peer is llama.cpp through its C interface, driven as its own server drives it: every pass takes
one token of each answer that is running and fills up with the prompts that wait, up to a batch.
Installs llama-cpp-python as benchmarks/model/inference.py does. Prints machine, seed, every round's
figures, medians and ratios.
"""
import argparse
import pathlib
import random
import statistics
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import inference  # noqa: E402

BATCH = 2048  # tokens a pass, the default of llama.cpp's server


class llama_cpp_server:
    def __init__(self, model, threads, clients, context):
        import llama_cpp
        self.api = llama_cpp
        # Its log of every graph would be most of what is printed.
        self.silence = llama_cpp.llama_log_callback(lambda level, text, data: None)
        llama_cpp.llama_log_set(self.silence, None)
        llama_cpp.llama_backend_init()
        params = llama_cpp.llama_model_default_params()
        self.model = llama_cpp.llama_model_load_from_file(model.encode(), params)
        options = llama_cpp.llama_context_default_params()
        options.n_ctx = context * clients
        options.n_batch = BATCH
        options.n_ubatch = 512
        options.n_seq_max = clients
        options.n_threads = options.n_threads_batch = threads
        options.no_perf = True
        self.context = llama_cpp.llama_init_from_model(self.model, options)
        vocab = llama_cpp.llama_model_get_vocab(self.model)
        self.vocab = llama_cpp.llama_vocab_n_tokens(vocab)
        self.batch = llama_cpp.llama_batch_init(BATCH, 0, 1)

    def put(self, token, position, sequence, wanted):
        at = self.batch.n_tokens
        self.batch.token[at] = token
        self.batch.pos[at] = position
        self.batch.n_seq_id[at] = 1
        self.batch.seq_id[at][0] = sequence
        self.batch.logits[at] = wanted
        self.batch.n_tokens = at + 1
        return at

    def likeliest(self, row):
        import numpy
        logits = self.api.llama_get_logits_ith(self.context, row)
        return int(numpy.ctypeslib.as_array(logits, shape=(self.vocab,)).argmax())

    def round(self, prompts, answer):
        memory = self.api.llama_get_memory(self.context)
        self.api.llama_memory_clear(memory, True)
        start, ticks = time.perf_counter(), time.process_time()
        done = [0] * len(prompts)           # tokens in the cache
        said = [[] for _ in prompts]
        first = [None] * len(prompts)
        while any(len(s) < answer for s in said):
            self.batch.n_tokens = 0
            rows = {}
            for i, prompt in enumerate(prompts):
                if said[i] and len(said[i]) < answer:
                    rows[i] = self.put(said[i][-1], done[i], i, True)
                    done[i] += 1
            for i, prompt in enumerate(prompts):
                while done[i] < len(prompt) and self.batch.n_tokens < BATCH:
                    last = done[i] + 1 == len(prompt)
                    at = self.put(prompt[done[i]], done[i], i, last)
                    done[i] += 1
                    if last:
                        rows[i] = at
            if self.api.llama_decode(self.context, self.batch) != 0:
                sys.exit("llama_decode failed")
            for i, row in rows.items():
                said[i].append(self.likeliest(row))
                if first[i] is None:
                    first[i] = time.perf_counter() - start
        tokens = sum(len(s) for s in said)
        return (statistics.mean(first), tokens / (time.perf_counter() - start),
                tokens / (time.process_time() - ticks))


def ours(options, threads, clients, prompt, answer, seed):
    out = subprocess.run(
        [options.program, options.model, f"threads={threads}", f"clients={clients}",
         f"prompt={prompt}", f"answer={answer}", f"seed={seed}", "rounds=2"],
        check=True, capture_output=True, text=True).stdout
    fields = dict(part.split("=") for part in out.splitlines()[-1].split())  # the first warms up
    return tuple(float(fields[name])
                 for name in ("first_token_s", "tokens_per_s", "tokens_per_cpu_s"))


def compare(options, threads, clients, prompt, answer):
    peer = llama_cpp_server(options.model, threads, clients, prompt + answer + 8)
    rounds = []
    for number in range(options.rounds):
        chance = random.Random(options.seed + number)
        prompts = [[chance.randrange(peer.vocab) for _ in range(prompt)] for _ in range(clients)]
        theirs = peer.round(prompts, answer)
        mine = ours(options, threads, clients, prompt, answer, options.seed + number)
        rounds.append((mine, theirs))
        print(f"  round {number + 1}: first token {mine[0]:.2f} / {theirs[0]:.2f} s, "
              f"{mine[1]:.0f} / {theirs[1]:.0f} tok/s", flush=True)
    what = f"threads {threads}, {clients} clients, prompts of {prompt}, answers of {answer}"
    for index, name in enumerate(("first token, s", "tokens/s", "tokens per cpu second")):
        mine, theirs = (statistics.median(r[side][index] for r in rounds) for side in (0, 1))
        print(f"{what}: {name}: {mine:.2f} against {theirs:.2f}, {mine / theirs:.2f}x")


def main():
    parse = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parse.add_argument("model")
    parse.add_argument(
        "--program", default=str(inference.ROOT / "build" / "release" / "bin" / "bench_serving"))
    parse.add_argument("--threads", default="2")
    parse.add_argument("--rounds", type=int, default=3)
    parse.add_argument("--seed", type=int, default=1)
    options = parse.parse_args()
    if pathlib.Path(sys.prefix) != inference.ENVIRONMENT:
        inference.install_peer(__file__)
    print(f"machine: {inference.machine()}; seed {options.seed}; {inference.PEER}; "
          "ours / llama.cpp")
    for threads in options.threads.split(","):
        for clients, prompt, answer in ((8, 1, 128), (16, 1, 128), (8, 180, 64)):
            compare(options, int(threads), clients, prompt, answer)


if __name__ == "__main__":
    main()
