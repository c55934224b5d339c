#!/usr/bin/env python3
"""Training tokens a second: bench_training against PyTorch, same shapes, batches and threads.

    python3 benchmarks/model/training.py [--shapes tiny,smollm2] [--rounds 5] [--threads 2]
                                         [--build build/release]

Makes a virtual environment under .cache/ with torch from PyPI (5.4 GB: the only build there brings
CUDA's libraries). The two sides take turns, round by round, so that what else the machine does hits
both; reported are the median of each and the ratio. Both run fp32: an own LLaMA module in PyTorch
with scaled_dot_product_attention, cross entropy over all targets, clipping and fused AdamW.
"""
import argparse
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import venv

ROOT = pathlib.Path(__file__).resolve().parents[2]
SEED = 42
PEER = r'''
import json, math, resource, sys, time
import torch, torch.nn as nn, torch.nn.functional as F
SHAPES = {  # vocabulary, dim, layers, heads, kv heads, ff, rope base, batch
    "tiny": (4096, 288, 6, 6, 6, 768, 1e4, 16),
    "smollm2": (49152, 576, 30, 9, 3, 1536, 1e5, 2),
}
name, threads, seed, compiled = sys.argv[1], *map(int, sys.argv[2:5])
vocab, dim, layers, heads, kv, ff, base, batch = SHAPES[name]
seq, hd = 256, dim // heads
torch.set_num_threads(threads)
torch.manual_seed(seed)
angles = torch.outer(torch.arange(seq).float(), base ** (-torch.arange(0, hd, 2).float() / hd))
cos, sin = angles.cos().repeat(1, 2), angles.sin().repeat(1, 2)

class Norm(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))
    def forward(self, x):
        return F.rms_norm(x, (dim,), self.weight, 1e-5)

def rope(x):
    a, b = x.chunk(2, -1)
    return x * cos + torch.cat((-b, a), -1) * sin

class Block(nn.Module):
    def __init__(self):
        super().__init__()
        linear = lambda i, o: nn.Linear(i, o, bias=False)
        self.n1, self.n2 = Norm(), Norm()
        self.q, self.k, self.v = linear(dim, dim), linear(dim, kv * hd), linear(dim, kv * hd)
        self.o, self.gate, self.up, self.down = linear(dim, dim), linear(dim, ff), linear(dim, ff), linear(ff, dim)
    def forward(self, x):
        b, t, _ = x.shape
        h = self.n1(x)
        split = lambda y, n: y.view(b, t, n, hd).transpose(1, 2)
        q, k, v = rope(split(self.q(h), heads)), rope(split(self.k(h), kv)), split(self.v(h), kv)
        if kv != heads:
            k, v = k.repeat_interleave(heads // kv, 1), v.repeat_interleave(heads // kv, 1)
        a = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.o(a.transpose(1, 2).reshape(b, t, dim))
        h = self.n2(x)
        return x + self.down(F.silu(self.gate(h)) * self.up(h))

class Llama(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(vocab, dim)
        self.blocks = nn.ModuleList(Block() for _ in range(layers))
        self.norm = Norm()
    def forward(self, ids):
        x = self.embed(ids)
        for block in self.blocks:
            x = block(x)
        return self.norm(x) @ self.embed.weight.T

model = Llama()
for p in model.parameters():
    if p.dim() > 1:
        nn.init.normal_(p, 0, 0.02)
if compiled:
    for block in model.blocks:
        block.compile()
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.95), weight_decay=0, fused=True)
print("ready", flush=True)
for line in sys.stdin:  # one line in, one step, one line out
    ids = torch.randint(vocab, (batch, seq + 1))
    wall, cpu = time.perf_counter(), time.process_time()
    loss = F.cross_entropy(model(ids[:, :-1]).view(-1, vocab), ids[:, 1:].reshape(-1))
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(json.dumps({"tokens_per_s": batch * seq / wall, "cpu_ms": cpu * 1e3, "loss": loss.item(),
                      "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024}), flush=True)
'''


def peer_python():
    home = ROOT / ".cache" / "torch-venv"
    python = home / "bin" / "python"
    if not python.exists():
        print("installing torch into", home.relative_to(ROOT), "(5.4 GB, minutes)", file=sys.stderr)
        venv.create(home, with_pip=True)
    have = subprocess.run([python, "-c", "import torch"], capture_output=True)
    if have.returncode:
        subprocess.run([python, "-m", "pip", "install", "-q", "torch", "numpy"], check=True)
    return python


class Side:
    """A program that makes one step for each line it is sent."""

    def __init__(self, name, command):
        self.name, self.steps = name, []
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.process.stdout.readline()  # "ready"

    def step(self, counted):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"{self.name} ended early")
        if counted:
            self.steps.append(json.loads(line))

    def median(self, key):
        return statistics.median(s[key] for s in self.steps)

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def processor():
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


def main():
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--shapes", default="tiny,smollm2")
    ask.add_argument("--rounds", type=int, default=5)
    ask.add_argument("--threads", type=int, default=2)
    ask.add_argument("--build", default="build/release")
    ask.add_argument("--compile", action="store_true", help="let PyTorch compile each layer")
    args = ask.parse_args()
    ours = ROOT / args.build / "bin" / "bench_training"
    if not ours.exists():
        sys.exit(f"no {ours}: configure with -DDLLS_BENCHMARKS=ON and build bench_training")
    python = peer_python()
    script = ROOT / ".cache" / "training_peer.py"
    script.write_text(PEER)
    print(f"machine: {processor()}, {os.cpu_count()} cores; seed {SEED}; threads {args.threads}; "
          f"rounds {args.rounds}, in turns")
    for shape in args.shapes.split(","):
        sides = [
            Side("dlls", [ours, shape, str(args.threads)]),
            Side("torch", [python, script, shape, str(args.threads), str(SEED), str(int(args.compile))]),
        ]
        for round_ in range(args.rounds + 1):  # the first warms up
            for side in sides if round_ % 2 else reversed(sides):
                side.step(counted=round_ > 0)
        for side in sides:
            side.close()
            print(f"{shape:8} {side.name:6} {side.median('tokens_per_s'):9.1f} tokens/s  "
                  f"{side.median('cpu_ms'):8.0f} CPU ms a step  {side.median('rss_mb'):6.0f} MB")
        ratio = sides[0].median("tokens_per_s") / sides[1].median("tokens_per_s")
        cpu = sides[1].median("cpu_ms") / sides[0].median("cpu_ms")
        print(f"{shape:8} ratio {ratio:.2f} by the clock, {cpu:.2f} by CPU time")


if __name__ == "__main__":
    main()
