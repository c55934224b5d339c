"""Blocks of every quantised GGUF type and the values that the Python package `gguf` makes of them: dequantised.gguf.

    python3 -m venv venv && venv/bin/pip install gguf==0.19.0
    venv/bin/python tests/parity/reference/types/make.py [--seed N]

Tensor "q4_k" holds raw blocks, "q4_k.values" their values. Of each type the first blocks have all bits set and none,
the rest are random; scales are random finite halves, some of them subnormal or negative.
"""
import argparse
import pathlib
import random

import gguf
import numpy

TYPES = ["F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "IQ4_NL",
         "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_XS"]
# Where a block keeps its halves; the others keep one at 0.
HALVES = {"Q4_1": [0, 2], "Q5_1": [0, 2], "Q2_K": [80, 82], "Q3_K": [108], "Q4_K": [0, 2], "Q5_K": [0, 2],
          "Q6_K": [208]}
ROWS, COLUMNS = 4, 768


def finite_halves(chance, count):
    bits = chance.integers(0, 1 << 16, count, dtype=numpy.uint16)
    bits[(bits & 0x7C00) == 0x7C00] ^= 0x4000  # neither infinity nor NaN
    return bits


def blocks_of(chance, name, kind):
    values, size = gguf.GGML_QUANT_SIZES[kind]
    if values == 1:
        if name == "BF16":
            raw = chance.integers(0, 1 << 16, ROWS * COLUMNS, dtype=numpy.uint16)
            raw[(raw & 0x7F80) == 0x7F80] ^= 0x4000
        else:
            raw = finite_halves(chance, ROWS * COLUMNS)
        return raw.view(numpy.uint8).reshape(ROWS, COLUMNS * size)
    count = ROWS * COLUMNS // values
    raw = chance.integers(0, 256, (count, size), dtype=numpy.uint8)
    raw[0], raw[1] = 255, 0
    for at in HALVES.get(name, [0]):
        raw[:, at:at + 2] = finite_halves(chance, count).view(numpy.uint8).reshape(count, 2)
    return raw.reshape(ROWS, -1)


def main():
    parse = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parse.add_argument("--seed", type=int, default=random.randrange(1 << 31))
    seed = parse.parse_args().seed
    chance = numpy.random.default_rng(seed)
    path = pathlib.Path(__file__).with_name("dequantised.gguf")
    out = gguf.GGUFWriter(path, "llama")
    out.add_uint32("seed", seed)
    for name in TYPES:
        kind = gguf.GGMLQuantizationType[name]
        raw = blocks_of(chance, name, kind)
        values = gguf.quants.dequantize(raw, kind).astype(numpy.float32).reshape(ROWS, COLUMNS)
        assert numpy.isfinite(values).all(), name
        out.add_tensor(name.lower(), raw, raw_shape=raw.shape, raw_dtype=kind)
        out.add_tensor(name.lower() + ".values", values)
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()
    print(f"seed {seed}: {path.name}, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
