"""The command line as a person uses it: every subcommand once, against `dlls up` in one process."""
import hashlib
import json
import os
import subprocess
import sys

from dlls_process import BIN, MODEL, MODEL_FILE, Dlls, until


def good(done):
    assert done.returncode == 0, f"{done.args}: exit code {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


def no_model_code_in_the_cloud():
    """The program for the small box links neither the engine nor its libraries."""
    needed = subprocess.check_output(["ldd", BIN / "dlls-coordinator"], text=True)
    for library in ("dnnl", "gomp", "cuda", "OpenCL"):
        assert library not in needed, f"dlls-coordinator needs {library}"
    text = (BIN / "dlls-coordinator").read_bytes()
    assert b"token_embd.weight" not in text, "model code is linked into dlls-coordinator"
    assert b"token_embd.weight" in (BIN / "dlls").read_bytes(), "this check has lost its subject"


def helps(dlls):
    whole = good(dlls.run("--help"))
    for command in ("up", "coordinator", "node", "enroll", "chat", "submit", "jobs", "fetch", "cancel", "release",
                    "models", "nodes", "keys", "webhook", "tokenize", "eval"):
        assert command in whole, f"--help does not name {command}"
        good(dlls.run(command, "--help"))
    wrong = dlls.run("--version", env={"DLLS_KERNELS": "avx1024"})
    assert wrong.returncode == 2 and "avx1024" in wrong.stderr, wrong
    assert "Exit codes" in whole and good(dlls.run("--version")).startswith("dlls ")


def up(dlls):
    dlls.spawn("coordinator", "dlls", "up", "--http", f"127.0.0.1:{dlls.http}")
    until("it answers", lambda: dlls.alive("coordinator") and dlls.get("/health", key=False))
    until("it has its key", lambda: (dlls.home / "api-key").exists())
    dlls.key = (dlls.home / "api-key").read_text().strip()
    assert (dlls.home / "api-key").stat().st_mode & 0o077 == 0, "others can read the key"
    assert dlls.key not in dlls.log("coordinator"), "the key is in the log"
    dlls.wait_linked()


def keys(dlls):
    first = dlls.key
    second = good(dlls.run("keys", "add", "laptop")).strip()
    listed = good(dlls.run("keys")).splitlines()
    assert len(listed) == 2 and second not in "".join(listed), listed
    ids = {line.split()[2]: line.split()[0] for line in listed}
    good(dlls.run("keys", "revoke", ids["first"]))
    assert dlls.run("keys").returncode == 4, "a revoked key opens"
    dlls.key = second
    (dlls.home / "api-key").write_text(second)
    last = dlls.run("keys", "revoke", ids["laptop"])
    assert last.returncode == 3 and "last API key" in last.stderr, last
    assert second not in dlls.log("coordinator") and first not in dlls.log("coordinator"), "a key is in the log"


def jobs(dlls):
    data = dlls.home / "data"
    data.write_bytes(os.urandom(300_000))
    job = good(dlls.run("submit", "checksum", str(data))).strip()
    watched = dlls.run("jobs", "watch", job)
    assert watched.returncode == 0 and job in watched.stdout
    dlls.wait_job(job)
    assert job in good(dlls.run("jobs", "list"))
    assert "received by node home" in good(dlls.run("jobs", "show", job))
    good(dlls.run("fetch", job, "--to", str(dlls.home / "out")))
    fetched = json.loads((dlls.home / "out/checksum.json").read_text())
    assert fetched["sha256"] == hashlib.sha256(data.read_bytes()).hexdigest()
    assert "released" in good(dlls.run("release", job))
    keyed = ["submit", "checksum", str(data), "--idempotency-key", "k1"]
    first, again = good(dlls.run(*keyed)), good(dlls.run(*keyed))
    assert first == again, "the same key and bytes made two jobs"
    assert len(dlls.get("/v1/files")["data"]) == 1, "the same bytes were sent twice"
    dlls.wait_job(first.strip())
    long = good(dlls.run("submit", "checksum", str(data), "--spec", '{"rounds": 1000000}')).strip()
    until("it runs", lambda: dlls.get(f"/v1/jobs/{long}")["state"] == "running")
    assert "cancelled" in good(dlls.run("cancel", long))
    assert dlls.run("cancel", long).returncode == 3
    assert dlls.run("jobs", "watch", long).returncode == 7
    bad = dlls.home / "bad.jsonl"
    bad.write_text("{nonsense\n")
    failed = good(dlls.run("submit", "fine_tune", str(bad), "--model", MODEL)).strip() if MODEL_FILE.exists() else ""
    if failed:
        until("it fails", lambda: dlls.get(f"/v1/jobs/{failed}")["state"] == "failed")
        assert "line 1" in good(dlls.run("jobs", "show", failed))


def with_a_model(dlls):
    model = str(dlls.home / "models" / f"{MODEL}.gguf")
    assert MODEL in good(dlls.run("models")) and "linked" in good(dlls.run("nodes"))
    assert "Seoul" in good(dlls.run("chat", "--greedy", "What is the capital of South Korea?"))
    assert "Seoul" in good(dlls.run("chat", "--greedy", stdin="What is the capital of South Korea?\n\n"))
    assert json.loads(good(dlls.run("tokenize", "-m", model, "--text", "Hello world")))["ids"] == [19556, 905]
    report = json.loads(good(dlls.run("eval", "-m", model, "--prompt", "The capital of France is", "--text",
                                      "The quick brown fox jumps over the lazy dog. " * 40, "--context", "64")))
    assert report["next"][0]["text"] == " Paris" and 1 < report["perplexity"] < 20
    spec = '{"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 5, "temperature": 0}'
    job = good(dlls.run("submit", "generate", "--model", MODEL, "--spec", spec)).strip()
    dlls.wait_job(job)
    assert dlls.artifact(job, "completion.json")["usage"]["completion_tokens"] <= 5


def pretrain(dlls):
    text = dlls.home / "text.txt"
    text.write_text("the cat sat on the mat. the dog sat on the log. " * 60)
    shape = {"dim": 32, "layers": 1, "heads": 2, "kv_heads": 2, "ff": 64}
    spec = json.dumps({"shape": shape, "learning_rate": 0.01, "context": 32})
    job = good(dlls.run("submit", "pretrain", str(text), "--model", MODEL, "--epochs", "2", "--spec", spec)).strip()
    ended = dlls.wait_job(job)
    assert ended["state"] == "fetched", ended
    curve = dlls.artifact(job, "metrics.json")["curve"]
    assert curve[-1]["loss"] < curve[0]["loss"], "the loss does not fall"
    good(dlls.run("fetch", job, "--model", "--to", str(dlls.home / "trained")))
    assert (dlls.home / "trained/model.gguf").stat().st_size > 1_000_000
    assert good(dlls.run("chat", "-m", ended["result_model"], "--greedy", "--max-tokens", "3", "the"))


def main():
    no_model_code_in_the_cloud()
    with Dlls(with_model=MODEL_FILE.exists()) as dlls:
        for case in [helps, up, keys, jobs] + ([with_a_model, pretrain] if MODEL_FILE.exists() else []):
            case(dlls)
            print(f"{case.__name__}: ok", flush=True)
        if not MODEL_FILE.exists():
            print(f"SKIPPED the cases with a model: none at {MODEL_FILE}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
