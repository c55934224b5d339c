#!/usr/bin/env python3
"""Vocabularies, and llama.cpp's token ids with them: reference/vocabularies/.

    tests/parity/make_vocabularies.py small     bpe.gguf, sentencepiece.gguf, small.json (in the tree)
    tests/parity/make_vocabularies.py real      real.json, and the vocabularies to .cache/models/vocabularies/

`small` trains on the texts in this file. Needs the PyPI packages gguf, tokenizers, sentencepiece, tiktoken and
llama-cpp-python. `real` takes the vocabularies that PyPI packages carry: Mistral's from mistral-common 1.5.4,
LLaMA 3's from llama-models 0.1.4, Qwen's from dashscope 2.0.2 (each installed with --no-deps). Ids under Tekken's
pattern are not llama.cpp's, which simplifies it, but those of the tokenizers and tiktoken packages."""
import base64
import importlib.metadata
import json
import pathlib
import random
import sys
import tempfile

import gguf
import llama_cpp

HERE = pathlib.Path(__file__).parent
FOLDER = HERE / "reference" / "vocabularies"
REAL = HERE.parent.parent / ".cache" / "models" / "vocabularies"
PATTERNS = ["gpt-2", "smollm", "llama-bpe", "qwen2"]
# Tekken's, in classes: U for letters that may be upper case, V for those that may be lower.
U, V = r"\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}", r"\p{Ll}\p{Lm}\p{Lo}\p{M}"
TEKKEN = (rf"[^\r\n\p{{L}}\p{{N}}]?[{U}]*[{V}]+|[^\r\n\p{{L}}\p{{N}}]?[{U}]+[{V}]*|\p{{N}}"
          r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")

TEXTS = [
    "", " ", "  ", "\n", "\n \n", "\t\t x", "a  b", "    four before", "behind\n\n\n", "Hello, world!", " Hello",
    "The quick brown fox jumps over the lazy dog.", "ㅋㅋㅋㅋ 대한민국 서울", "中文测试 漢字かな交じり文", "مرحبا بالعالم",
    "café naïve résumé Übergröße", "😀 👩‍👩‍👧 🇰🇷🇺🇸", "1 12 123 1234 12345 3.14159 0x1F x2y3", "I'm you're he's we'll they'd I've can't",
    "I'M YOU'RE HE'S WE'LL THEY'D", "'s 't 're'x '", "def f(x):\n    return x ** 2  # sq\n", '{"key": [1, 2, null], "k": "v\\n"}',
    "user@example.com https://x.y/z?a=b&c", "!!!???... $100 + €50 = £?", "<s> </s> <unk> <0x41> [INST]", "\u00a0nbsp\u00a0 \u3000wide",
    "\u0000 \u0001\u001b[31m\u007f", "ÉCOLE Été eE\u0301 A中B中c ABCdeF", "x² ½ Ⅷ ४५६ ٣", "a" * 40, "ab" * 30, "camelCaseWords HTTPServer iPhone SNAKE_CASE", "e\u0301 \u0301x ñ",
    "\r\n\r\n \r\nx", "x \r\n y\u2028z", "it'ſ Kelvin K ﬁ", "\u2581 mark\u2581", "a/b//c\n/d", "   \n\n   \n x   ", "Ǆ ǅ ǆ ʰ ª", "word\t\tword",
    "ÀÉÎ àéî ЖжИи ΑαΒβ", "ไทย ภาษา", "👍🏽", "\ue000\ufffd"]


def random_texts():
    pieces = [" ", "  ", "\n", "\r\n", "\t", "a", "the", "Word", "HTTP", "'s", "'LL", "'", "1", "23", "½", "中", "é", "e\u0301", "!", "...", "/",
              "\u00a0", "\u3000", "🙂", "_", "\u0301", "ß", "Ж", "ǅ", "ª"]
    draw = random.Random(5)
    return ["".join(draw.choice(pieces) for _ in range(draw.randrange(2, 14))) for _ in range(80)]


def write(path, kind, tokens, types, extra):
    out = gguf.GGUFWriter(path, "llama")
    out.add_vocab_size(len(tokens))
    for add in (out.add_context_length, out.add_embedding_length, out.add_block_count, out.add_feed_forward_length,
                out.add_head_count):
        add(32)
    out.add_layer_norm_rms_eps(1e-5)
    out.add_tokenizer_model(kind)
    out.add_token_list(tokens)
    out.add_token_types(types)
    for key, value in extra.items():
        key = "tokenizer.ggml." + key
        if isinstance(value, list):
            out.add_array(key, value)
        else:
            {bool: out.add_bool, int: out.add_uint32, str: out.add_string}[type(value)](key, value)
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()


def ids_of(path, texts):
    llm = llama_cpp.Llama(str(path), vocab_only=True, verbose=False)
    return [llm.tokenize(t.encode("utf-8", "surrogatepass"), add_bos=False, special=False) for t in texts]


def tekken_ids(tokens, merges, texts):
    import tokenizers
    made = tokenizers.Tokenizer(tokenizers.models.BPE(
        {t: i for i, t in enumerate(tokens)}, [tuple(m.split(" ")) for m in merges], ignore_merges=True))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Sequence([
        tokenizers.pre_tokenizers.Split(tokenizers.Regex(TEKKEN), "isolated"),
        tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    return [made.encode(t).ids for t in texts]


def byte_symbols():
    """GPT-2's printable alphabet: byte -> character."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in printable]
    return {b: chr(b) for b in printable} | {b: chr(256 + i) for i, b in enumerate(others)}


def trained_bpe():
    import tokenizers
    made = tokenizers.Tokenizer(tokenizers.models.BPE())
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=700, initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(), special_tokens=["<s>", "</s>"],
        show_progress=False)
    made.train_from_iterator(corpus(), trainer)
    model = json.loads(made.to_str())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].get)
    return tokens, [m if isinstance(m, str) else " ".join(m) for m in model["merges"]]


def corpus():
    return (TEXTS + random_texts()) * 3


def sentencepiece_parts(path):
    import sentencepiece
    p = sentencepiece.SentencePieceProcessor(model_file=str(path))
    n = p.vocab_size()
    types = [2 if p.is_unknown(i) else 3 if p.is_control(i) else 6 if p.is_byte(i) else 5 if p.is_unused(i) else 1
             for i in range(n)]
    return [p.id_to_piece(i) for i in range(n)], types, [float(p.get_score(i)) for i in range(n)]


def trained_sentencepiece(folder):
    import sentencepiece
    source = pathlib.Path(folder) / "text"
    source.write_text("\n".join(corpus()).replace("\0", ""))
    sentencepiece.SentencePieceTrainer.train(
        input=str(source), model_prefix=str(pathlib.Path(folder) / "m"), vocab_size=620, model_type="bpe", byte_fallback=True,
        normalization_rule_name="identity", remove_extra_whitespaces=False, character_coverage=0.98,
        allow_whitespace_only_pieces=True, split_digits=True, minloglevel=2)
    return sentencepiece_parts(pathlib.Path(folder) / "m.model")


def small():
    FOLDER.mkdir(parents=True, exist_ok=True)
    texts = TEXTS + random_texts()
    made = {"texts": texts, "bpe": {}, "sentencepiece": {}}
    tokens, merges = trained_bpe()
    types = [3, 3] + [1] * (len(tokens) - 2)
    for pattern in reversed(PATTERNS):  # the file of the first stays
        path = FOLDER / "bpe.gguf"
        write(path, "gpt2", tokens, types, {"pre": pattern, "merges": merges, "bos_token_id": 0, "eos_token_id": 1})
        made["bpe"][pattern] = ids_of(path, texts)
    made["bpe"]["tekken"] = tekken_ids(tokens, merges, texts)
    with tempfile.TemporaryDirectory() as folder:
        tokens, types, scores = trained_sentencepiece(folder)
    # As Gemma has them: runs of spaces and newlines, and tags, that are tokens wherever they stand.
    own = ["\n", "\n\n", "\n\n\n", "  ", "   ", "<td>", "</td>"]
    tokens, types, scores = tokens + own, types + [4] * len(own), scores + [-1000.0] * len(own)
    for prefix in (False, True):
        path = FOLDER / "sentencepiece.gguf"
        write(path, "llama", tokens, types, {"scores": scores, "add_space_prefix": prefix, "bos_token_id": 1, "eos_token_id": 2})
        made["sentencepiece"]["prefix" if prefix else "no prefix"] = ids_of(path, texts)
    (FOLDER / "small.json").write_text(json.dumps(made, ensure_ascii=True, separators=(",", ":")).replace("],[", "],\n["))
    for name in ("bpe.gguf", "sentencepiece.gguf", "small.json"):
        print(f"{name}: {(FOLDER / name).stat().st_size} bytes")


def tiktoken_ranks(text):
    return {base64.b64decode(line.split()[0]): int(line.split()[1]) for line in text.splitlines() if line.strip()}


def tiktoken_parts(ranks):
    """Tokens and merges: the last pair that makes a token, by the ranks below it."""
    symbols = byte_symbols()
    spelled = lambda token: "".join(symbols[b] for b in token)
    merges = []
    for token, rank in sorted(ranks.items(), key=lambda item: item[1]):
        parts = [bytes([b]) for b in token]
        while len(parts) > 2:
            best, at = min((ranks.get(a + b, rank), i) for i, (a, b) in enumerate(zip(parts, parts[1:])))
            if best >= rank:
                break
            parts[at:at + 2] = [parts[at] + parts[at + 1]]
        if len(parts) == 2:
            merges.append(spelled(parts[0]) + " " + spelled(parts[1]))
    return [spelled(t) for t in sorted(ranks, key=ranks.get)], merges


def tekken(data, path, texts):
    """Mistral Nemo's: writes the file, and gives tiktoken's ids."""
    import tiktoken
    source = json.loads(data("mistral-common", "mistral_common", "data", "tekken_240911.json").read_text())
    config = source["config"]
    special = config["default_num_special_tokens"]
    used = config["default_vocab_size"] - special
    ranks = {base64.b64decode(entry["token_bytes"]): entry["rank"] for entry in source["vocab"][:used]}
    tokens, merges = tiktoken_parts(ranks)
    write(path, "gpt2", [f"<SPECIAL_{i}>" for i in range(special)] + tokens, [3] * special + [1] * used,
          {"pre": "tekken", "merges": merges, "bos_token_id": 1, "eos_token_id": 2})
    coding = tiktoken.Encoding("tekken", pat_str=config["pattern"], mergeable_ranks=ranks, special_tokens={})
    return [[special + i for i in coding.encode_ordinary(t)] for t in texts]


def real():
    REAL.mkdir(parents=True, exist_ok=True)
    FOLDER.mkdir(parents=True, exist_ok=True)
    data = lambda package, *path: pathlib.Path(importlib.metadata.distribution(package).locate_file("/".join(path)))
    for name, file in (("mistral-v1", "tokenizer.model.v1"), ("mistral-v3", "mistral_instruct_tokenizer_240323.model.v3")):
        tokens, types, scores = sentencepiece_parts(data("mistral-common", "mistral_common", "data", file))
        write(REAL / f"{name}.gguf", "llama", tokens, types, {"scores": scores, "bos_token_id": 1, "eos_token_id": 2})
    for name, pattern, source in (
            ("llama-3", "llama-bpe", data("llama-models", "llama_models", "llama3", "api", "tokenizer.model")),
            ("qwen", "qwen2", data("dashscope", "dashscope", "resources", "qwen.tiktoken"))):
        tokens, merges = tiktoken_parts(tiktoken_ranks(source.read_text()))
        tokens.append("<|end|>")
        write(REAL / f"{name}.gguf", "gpt2", tokens, [1] * (len(tokens) - 1) + [3],
              {"pre": pattern, "merges": merges, "bos_token_id": len(tokens) - 1, "eos_token_id": len(tokens) - 1})
    (REAL / "tekken.gguf").touch()
    texts = TEXTS + random_texts()
    made = {"texts": texts}
    for path in sorted(REAL.glob("*.gguf")):
        made[path.stem] = tekken(data, path, texts) if path.stem == "tekken" else ids_of(path, texts)
        print(f"{path.stem}: {sum(map(len, made[path.stem]))} ids")
    (FOLDER / "real.json").write_text(json.dumps(made, ensure_ascii=True, separators=(",", ":")).replace("],[", "],\n["))


if __name__ == "__main__":
    if sys.argv[1:] == ["small"]:
        small()
    elif sys.argv[1:] == ["real"]:
        real()
    else:
        sys.exit(__doc__)
