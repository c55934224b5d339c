#!/usr/bin/env python3
"""What llama.cpp pools of SmolLM2's hidden states, into reference/embeddings/embeddings.json.

    tests/parity/make_embeddings.py

Needs llama-cpp-python in .cache/llama-cpp (benchmarks/model/inference.py installs it) and the model in .cache/models.
"q4_1": the file as it is (activations quantised, KV F16). "f32": the same weights dequantised, KV and activations F32."""
import ctypes
import importlib.util
import json
import os
import pathlib
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
ENVIRONMENT = ROOT / ".cache" / "llama-cpp"
MODEL = ROOT / ".cache" / "models" / "SmolLM2-135M-Instruct.Q4_1.gguf"
CONTEXT = 1024

TEXTS = {
    "one token": "Hello",
    "sentence": "The capital of France is Paris, a city on the Seine.",
    "question": "Which town on the Seine is the seat of the French government?",
    "code": "def fibonacci(n):\n    return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)\n",
    "other scripts": "naïve café 中文 日本語 한국어 العربية 🙂",
    # Several passes of ours, and several pages of the cache.
    "long": " ".join(f"The red number {i} stands in a row beside the blue one." for i in range(40)),
}


def dequantised(path):
    import llama_cpp
    how = llama_cpp.llama_model_quantize_default_params()
    how.ftype, how.allow_requantize, how.nthread = 0, True, 2  # all F32
    if llama_cpp.llama_model_quantize(str(MODEL).encode(), str(path).encode(), ctypes.byref(how)) != 0:
        sys.exit("llama.cpp could not write the model in F32")
    return path


def pooled(path, pooling, exact):
    """Ids and vector of each text."""
    import llama_cpp
    kind = llama_cpp.GGML_TYPE_F32 if exact else llama_cpp.GGML_TYPE_F16
    llm = llama_cpp.Llama(
        str(path), n_ctx=CONTEXT, n_batch=CONTEXT, n_ubatch=CONTEXT, n_threads=1, n_threads_batch=1, embedding=True,
        pooling_type=pooling, type_k=kind, type_v=kind, flash_attn=False, verbose=False)
    context = llm._ctx.ctx
    for name, text in TEXTS.items():
        ids = llm.tokenize(text.encode(), add_bos=True, special=False)
        llm._ctx.kv_cache_clear()
        array = (ctypes.c_int32 * len(ids))(*ids)
        if llama_cpp.llama_decode(context, llama_cpp.llama_batch_get_one(array, len(ids))) != 0:
            sys.exit("llama_decode failed")
        vector = llama_cpp.llama_get_embeddings_seq(context, 0)
        yield name, ids, [float(f"{vector[i]:.6g}") for i in range(llm.n_embd())]


def main():
    if importlib.util.find_spec("llama_cpp") is None:  # not yet the Python that has it
        python = str(ENVIRONMENT / "bin" / "python")
        os.execv(python, [python, __file__, *sys.argv[1:]])
    import llama_cpp
    silence = llama_cpp.llama_log_callback(lambda level, text, data: None)
    llama_cpp.llama_log_set(silence, None)
    texts = {name: {"name": name, "text": text} for name, text in TEXTS.items()}
    with tempfile.TemporaryDirectory() as folder:
        exact = dequantised(pathlib.Path(folder) / "f32.gguf")
        for kind, path in (("q4_1", MODEL), ("f32", exact)):
            for how, pooling in (("mean", llama_cpp.LLAMA_POOLING_TYPE_MEAN), ("last", llama_cpp.LLAMA_POOLING_TYPE_LAST)):
                for name, ids, vector in pooled(path, pooling, kind == "f32"):
                    texts[name]["ids"] = ids
                    texts[name].setdefault(kind, {})[how] = vector
    folder = ROOT / "tests" / "parity" / "reference" / "embeddings"
    folder.mkdir(exist_ok=True)
    made = {"with": f"llama-cpp-python {llama_cpp.__version__}", "texts": list(texts.values())}
    (folder / "embeddings.json").write_text(json.dumps(made, ensure_ascii=False).replace('}, {"name"', '},\n{"name"') + "\n")


if __name__ == "__main__":
    main()
