"""A complete LLaMA file of a few hundred kilobytes, as bytes, with what may be wrong in it. Its answers are noise."""
import random
import struct

U32, F32, BOOL, STRING, ARRAY, I32 = 4, 6, 7, 8, 9, 5
F32_TENSOR = 0
TEMPLATE = ("{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + "
            "'<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}")


def text(value):
    raw = value.encode()
    return struct.pack("<Q", len(raw)) + raw


def byte_symbols():
    """GPT-2's printable alphabet: a character for each byte, in the order of the bytes."""
    plain = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = iter(range(256, 512))
    return [chr(b if b in plain else next(others)) for b in range(256)]


def metadata(dim, layers, context):
    tokens = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *byte_symbols(), "in"]
    numbers = {"block_count": layers, "context_length": context, "embedding_length": dim,
               "feed_forward_length": 2 * dim, "attention.head_count": 2, "attention.head_count_kv": 1,
               "rope.dimension_count": dim // 2, "vocab_size": len(tokens)}
    return [
        ("general.architecture", STRING, text("llama")),
        *((f"llama.{key}", U32, struct.pack("<I", value)) for key, value in numbers.items()),
        ("llama.attention.layer_norm_rms_epsilon", F32, struct.pack("<f", 1e-5)),
        ("tokenizer.ggml.model", STRING, text("gpt2")),
        ("tokenizer.ggml.pre", STRING, text("smollm")),
        ("tokenizer.ggml.tokens", ARRAY, struct.pack("<IQ", STRING, len(tokens)) + b"".join(map(text, tokens))),
        ("tokenizer.ggml.token_type", ARRAY,
         struct.pack(f"<IQ{len(tokens)}i", I32, len(tokens), *([3] * 3 + [1] * 257))),
        ("tokenizer.ggml.merges", ARRAY, struct.pack("<IQ", STRING, 1) + text("i n")),
        ("tokenizer.ggml.bos_token_id", U32, struct.pack("<I", 1)),
        ("tokenizer.ggml.eos_token_id", U32, struct.pack("<I", 2)),
        ("tokenizer.ggml.add_bos_token", BOOL, b"\0"),
        ("tokenizer.chat_template", STRING, text(TEMPLATE)),
    ]


def shapes(dim, layers):
    made = {"token_embd.weight": (dim, 260), "output_norm.weight": (dim,)}
    for layer in range(layers):
        made |= {f"blk.{layer}.{name}.weight": shape for name, shape in {
            "attn_norm": (dim,), "attn_q": (dim, dim), "attn_k": (dim, dim // 2), "attn_v": (dim, dim // 2),
            "attn_output": (dim, dim), "ffn_norm": (dim,), "ffn_gate": (dim, 2 * dim), "ffn_up": (dim, 2 * dim),
            "ffn_down": (2 * dim, dim)}.items()}
    return made


def tiny_gguf(seed=1, context=256, without=None, reshaped=(), typed=()):
    """`without`: a tensor that is missing; `reshaped`, `typed`: {name: another shape, another type's number}."""
    dim, layers = 32, 2
    keys = metadata(dim, layers, context)
    tensors = {name: dict(reshaped).get(name, shape) for name, shape in shapes(dim, layers).items() if name != without}
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(keys))
    head += b"".join(text(key) + struct.pack("<I", kind) + value for key, kind, value in keys)
    source, data = random.Random(seed), b""
    for name, shape in tensors.items():
        head += text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, dict(typed).get(name, F32_TENSOR),
                                         len(data))
        count = 1
        for side in shape:
            count *= side
        middle, spread = (1, 0.02) if len(shape) == 1 else (0, 0.15)
        data += struct.pack(f"<{count}f", *(source.gauss(middle, spread) for _ in range(count)))
        data += b"\0" * (-len(data) % 32)
    return head + b"\0" * (-len(head) % 32) + data
