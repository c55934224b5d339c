"""Bad input, and what it gets: each a clear message with a way out, nothing lost, nobody else's connection harmed.
One function a line of the list; each prints its name when it has passed."""
import hashlib
import os
import pathlib
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import time

from dlls_process import BIN, MODEL, MODEL_FILE, Dlls, Refused, free_port, run_cases, until


FACTS = pathlib.Path(__file__).parents[2] / "examples/facts.jsonl"


def expect(refused_by, status, *words):
    try:
        refused_by()
    except Refused as refused:
        assert refused.status == status, f"{refused.status} instead of {status}: {refused.body}"
        for word in words:
            assert word in refused.body, f"'{word}' is not in {refused.body}"
        return refused.body
    raise AssertionError("it was accepted")


def said(done, code, *words):
    text = done.stdout + done.stderr
    assert done.returncode == code, f"exit code {done.returncode} instead of {code}: {text}"
    for word in words:
        assert word in text, f"'{word}' is not in: {text}"
    return text


def still_works(dlls):
    """Another client, another job: right through."""
    content = os.urandom(50_000)
    file = dlls.upload("good", content, "user_data")
    job = dlls.post("/v1/jobs", {"kind": "checksum", "files": [file["id"]]})
    assert dlls.wait_job(job["id"])["state"] == "fetched"
    assert dlls.artifact(job["id"], "checksum.json")["sha256"] == hashlib.sha256(content).hexdigest()


def chat(dlls, **more):
    return dlls.post("/v1/chat/completions", {
        "model": MODEL, "messages": [{"role": "user", "content": "Hi"}], "max_completion_tokens": 4,
        "temperature": 0, **more})


# --- model files

def bad_gguf(dlls):
    whole = MODEL_FILE.read_bytes() if MODEL_FILE.exists() else b"GGUF" + b"\0" * 4096
    models = dlls.home / "models"
    (models / "truncated.gguf").write_bytes(whole[: len(whole) // 2])
    (models / "cut-header.gguf").write_bytes(whole[:40])
    # One key that claims an array of 2^61 strings; then 2^40 tensors.
    (models / "huge-array.gguf").write_bytes(
        b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 1) + b"k" + struct.pack("<IIQ", 9, 8, 1 << 61))
    (models / "huge-count.gguf").write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 1 << 40, 1 << 40))
    (models / "no-gguf.gguf").write_bytes(os.urandom(1000))
    os.mkfifo(models / "fifo.gguf")  # whose open would wait for a writer
    dlls.kill("node", signal.SIGTERM)
    dlls.start_node()
    dlls.wait_linked()
    for name in ("truncated", "cut-header", "huge-array", "huge-count", "no-gguf", "fifo"):
        until(f"the log names {name}", lambda: f"{name}.gguf is left out" in dlls.log("node"))
        (models / f"{name}.gguf").unlink()
        tool = dlls.run("tokenize", "-m", str(models / "none.gguf"), "--text", "x")
        assert tool.returncode == 2
    still_works(dlls)


def model_cut_in_use(dlls):
    """A model file that is cut while a training reads it costs that job, not the node."""
    if not MODEL_FILE.exists():
        return "no model"
    other = Dlls(with_model=True)
    try:
        other.start()
        facts = other.upload("facts.jsonl", FACTS.read_bytes())
        job = other.post("/v1/fine_tuning/jobs", {"model": MODEL, "training_file": facts["id"],
                                                  "hyperparameters": {"n_epochs": 2}})["id"]
        until("it runs", lambda: other.get(f"/v1/jobs/{job}")["state"] == "running")
        os.truncate(other.home / "models" / f"{MODEL}.gguf", 5000)
        ended = other.wait_job(job)
        assert ended["state"] == "failed" and ended["error"]["message"], ended
        other.alive("node")
        still_works(other)
    finally:
        other.stop()


def no_model_file(dlls):
    empty = Dlls()
    try:
        empty.start()
        body = expect(lambda: chat(empty), 404, "model_not_found")
        assert "no model" in body or "does not exist" in body, body
        said(empty.run("chat", "hello"), 5, "no linked node has a model", "GGUF")
        still_works(empty)
    finally:
        empty.stop()


# --- HTTP

def bad_json(dlls):
    post = lambda path, raw: dlls.request("POST", path, raw, {"Content-Type": "application/json"})
    path = "/v1/chat/completions"
    expect(lambda: post(path, b"{not json"), 400, "invalid_request_error")
    expect(lambda: post(path, b"[" * 100_000), 400)
    expect(lambda: post(path, b'{"model": 7, "messages": []}'), 400, "model")
    expect(lambda: post(path, b'{"model": "x"}'), 400, "messages")
    expect(lambda: post(path, b'{"model": "x", "messages": [{"role": "user", "content": 7}]}'), 400, "messages[0]")
    expect(lambda: chat(dlls, temperature="hot"), 400, "temperature")
    expect(lambda: chat(dlls, max_completion_tokens=-1), 400, "max_completion_tokens")
    expect(lambda: chat(dlls, model="nobody"), 404, "model_not_found")
    expect(lambda: dlls.post("/v1/fine_tuning/jobs", {"model": MODEL}), 400, "training_file")
    expect(lambda: dlls.post("/v1/fine_tuning/jobs", {"model": MODEL, "training_file": "file-none"}), 404)
    expect(lambda: dlls.post("/v1/jobs", {"kind": "magic"}), 400, "magic")
    expect(lambda: dlls.get("/v1/jobs/job-none"), 404)
    expect(lambda: dlls.request("GET", "/v1/models", key=False), 401)
    expect(lambda: dlls.request("GET", "/v1/models", headers={"Authorization": "Bearer dlls-wrong"}, key=False), 401)
    still_works(dlls)


def too_long_prompt(dlls):
    if not MODEL_FILE.exists():
        return "no model file"
    body = expect(lambda: chat(dlls, messages=[{"role": "user", "content": "word " * 9000}]), 400)
    assert "8192" in body, f"the context's size is not named: {body}"
    assert '"context_length_exceeded"' in body and '"messages"' in body, body
    expect(lambda: chat(dlls, messages=[{"role": "user", "content": "x" * 2_000_000}]), 413)
    assert chat(dlls)["choices"][0]["message"]["content"]


def broken_training_line(dlls):
    good = b'{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}\n'
    for bad, why in [(b"{broken\n", "JSON"), (b'{"messages": []}\n', "messages"),
                     (b'{"messages": [{"role": "user", "content": "a"}]}\n', "assistant"),
                     (b'{"messages": [{"role": "robot", "content": "a"}]}\n', "robot"),
                     (b'{"messages": [{"role": "user", "content": "\xff"}]}\n', "UTF-8")]:
        file = dlls.upload("train.jsonl", good * 2 + bad + good)
        job = dlls.post("/v1/fine_tuning/jobs", {"model": MODEL, "training_file": file["id"]})
        ended = until("the job fails", lambda: (j := dlls.get(f"/v1/fine_tuning/jobs/{job['id']}"))["status"]
                      == "failed" and j)
        assert ended["error"]["code"] == "invalid_training_file", ended["error"]
        assert "line 3" in ended["error"]["message"] and why in ended["error"]["message"], ended["error"]
    empty = dlls.upload("empty.jsonl", b"\n\n")
    job = dlls.post("/v1/fine_tuning/jobs", {"model": MODEL, "training_file": empty["id"]})
    ended = until("the job fails", lambda: (j := dlls.get(f"/v1/fine_tuning/jobs/{job['id']}"))["status"]
                  == "failed" and j)
    assert "no conversation" in ended["error"]["message"]
    still_works(dlls)


# --- joining

def join(dlls, token, name="second", port=None):
    home = tempfile.mkdtemp(prefix="dlls-join-")
    try:
        return subprocess.run(
            [BIN / "dlls", "node", "--name", name, "--join", f"127.0.0.1:{port or dlls.link}"], input=token + "\n",
            capture_output=True, text=True, timeout=60, env={**os.environ, "DLLS_HOME": home})
    finally:
        shutil.rmtree(home, ignore_errors=True)


def bad_tokens(dlls):
    token = dlls.post("/v1/enrolments", {"name": "second"})["token"]
    head, secret, ca = token.split(".")
    said(join(dlls, "nonsense"), 2)
    expect(lambda: dlls.post("/v1/enrolments", {"name": "../x"}), 400, "no name for a node")
    unknown = ("A" if secret[0] != "A" else "B") + secret[1:]
    said(join(dlls, f"{head}.{unknown}.{ca}"), 4, "dlls enroll")
    brief = dlls.post("/v1/enrolments", {"name": "second", "ttl_s": 1})
    until("the token has expired", lambda: time.time() > brief["expires"] + 1 if "expires" in brief
          else time.time() > brief["expires_at"] + 1)
    said(join(dlls, brief["token"]), 4, "expired")
    # Used: the node of the fixture joined with its own; here one is spent and tried again.
    spent = dlls.post("/v1/enrolments", {"name": "third"})["token"]
    first = Dlls()
    try:
        first.link = dlls.link
        first.spawn("node", "dlls", "node", "--name", "third", "--join", f"127.0.0.1:{dlls.link}", token=spent)
        until("it has joined", lambda: "works for" in first.log("node"))
    finally:
        first.stop()
    said(join(dlls, spent, "third"), 4, "used")
    still_works(dlls)


def interrupted_prompt(dlls):
    """Nobody has to have a token: the prompt ends with Ctrl-C."""
    try:
        ours, theirs = os.openpty()
    except OSError as why:
        return f"no terminal to be had: {why}"
    asking = subprocess.Popen([BIN / "dlls", "node", "--join", f"127.0.0.1:{dlls.link}", "--state",
                               str(dlls.home / "asking")], stdin=theirs, stderr=subprocess.PIPE, env=dlls.environment())
    assert asking.stderr.read(7) == b"token: "
    asking.send_signal(signal.SIGINT)
    assert asking.wait(10) == -signal.SIGINT
    os.close(ours), os.close(theirs)


def other_authority(dlls):
    stranger = Dlls()
    try:
        stranger.start_coordinator()
        token = dlls.post("/v1/enrolments", {"name": "second"})["token"]
        said(join(dlls, token, port=stranger.link), 4, "token")
        # A node that has joined one coordinator and is pointed at another: no link, and it says why.
        shutil.copytree(dlls.home / "node", stranger.home / "node", ignore=shutil.ignore_patterns("*.sock"))
        stranger.spawn("node", "dlls", "node", "--join", f"127.0.0.1:{stranger.link}")
        until("the node says why, and the way out", lambda: "no link" in stranger.log("node")
              and "dlls node --rejoin" in stranger.log("node"))
        assert not any(n["connected"] for n in stranger.get("/v1/nodes")["data"])
        stranger.kill("node", signal.SIGTERM)
        token = stranger.post("/v1/enrolments", {"name": "home"})["token"]
        stranger.spawn("node", "dlls", "node", "--rejoin", "--join", f"127.0.0.1:{stranger.link}", token=token)
        stranger.wait_linked()
    finally:
        stranger.stop()
    still_works(dlls)


def other_version(dlls):
    """A certificate that is good, a protocol that is not ours: refused before the first message, and said."""
    own = dlls.home / "node/credentials/home.pem"
    context = ssl.create_default_context(cafile=dlls.home / "node/credentials/ca.pem")
    context.check_hostname = False
    context.load_cert_chain(own)
    context.set_alpn_protocols(["dlls-link/999"])
    try:
        with socket.create_connection(("127.0.0.1", dlls.link), 10) as plain:
            with context.wrap_socket(plain) as tls:
                answer = tls.recv(4096)
                assert b"version" in answer or not answer, f"an answer to another version: {answer}"
                assert tls.recv(1) == b"", "the connection stays open"
    except (ssl.SSLError, ConnectionError):
        pass
    until("the coordinator says so", lambda: "999" in dlls.log("coordinator") or "version" in dlls.log("coordinator"))
    dlls.wait_linked()
    still_works(dlls)


# --- the machine

def port_in_use(dlls):
    other = Dlls()
    try:
        taken = ["--http", f"127.0.0.1:{dlls.http}", "--link", f"127.0.0.1:{free_port()}"]
        said(other.run("coordinator", "--keep-key", *taken, program="dlls-coordinator"), 3, str(dlls.http))
        taken = ["--http", f"127.0.0.1:{free_port()}", "--link", f"127.0.0.1:{dlls.link}"]
        said(other.run("coordinator", "--keep-key", *taken, program="dlls-coordinator"), 3, str(dlls.link))
        same = ["--state", str(dlls.home / "coordinator"), "--http", f"127.0.0.1:{free_port()}",
                "--link", f"127.0.0.1:{free_port()}"]
        said(other.run("coordinator", *same, program="dlls-coordinator"), 3, "another coordinator")
    finally:
        other.stop()
    still_works(dlls)


def first_start_fails(dlls):
    """A start that fails must not use up the one key that is shown."""
    fresh = Dlls()
    try:
        said(fresh.run("coordinator", "--keep-key", "--http", f"127.0.0.1:{fresh.http}", "--link",
                       f"127.0.0.1:{dlls.link}", program="dlls-coordinator"), 3, str(dlls.link))
        (fresh.home / "api-key").mkdir()
        said(fresh.run("coordinator", "--keep-key", "--http", f"127.0.0.1:{fresh.http}", "--link",
                       f"127.0.0.1:{fresh.link}", program="dlls-coordinator"), 1, "api-key")
        (fresh.home / "api-key").rmdir()
        fresh.start_coordinator()
        assert fresh.get("/v1/models")["data"] == []
    finally:
        fresh.stop()


def same_folder(dlls):
    """A second node on the folder of a running one, by mistake: it is told, and disturbs nothing."""
    said(dlls.run("node", "--join", f"127.0.0.1:{dlls.link}"), 3, "another process")
    still_works(dlls)


def lost_ledger(dlls):
    """Without its ledger a coordinator must not begin anew under the old authority, silently."""
    other = Dlls()
    try:
        other.start_coordinator()
        other.kill("coordinator", signal.SIGTERM)
        for file in (other.home / "coordinator").glob("ledger.db*"):
            file.unlink()
        said(other.run("coordinator", "--http", f"127.0.0.1:{other.http}", "--link", f"127.0.0.1:{other.link}",
                       program="dlls-coordinator"), 1, "backup")
    finally:
        other.stop()


def open_address(dlls):
    said(dlls.run("coordinator", "--http", f"0.0.0.0:{free_port()}", "--link", f"127.0.0.1:{free_port()}",
                  "--state", str(dlls.home / "open"), program="dlls-coordinator"), 4, "behind")


def full_disk(dlls):
    """A coordinator whose disk is a few megabytes: it refuses early, keeps what it has, and says so."""
    if os.geteuid() != 0:
        return "not root: no tmpfs of our own"
    small = tempfile.mkdtemp(prefix="dlls-full-")
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", small], capture_output=True).returncode:
        return "mount refused"
    tight = Dlls(folder=small)
    try:
        tight.start()
        still_works(tight)
        big = tight.home / "big"
        big.write_bytes(b"x" * 1000)
        os.truncate(big, 11_000_000)  # a hole: it takes no room itself
        said(tight.run("submit", "checksum", str(big)), 6, "space")
        still_works(tight)
    finally:
        tight.stop(keep=True)
        subprocess.run(["umount", small], check=True)
        os.rmdir(small)


def bad_settings(dlls):
    file = dlls.home / "bad.toml"
    for text, word in [("[http]\nport = 'x'\n", "line 2"), ("[htp]\n", "htp"), ("[http]\nprt = 1\n", "prt"), ("[", "line 1")]:
        file.write_text(text)
        said(dlls.run("--config", str(file), "models"), 2, word)
    said(dlls.run("models", "--nonsense"), 2)
    said(dlls.run("jobs", "show", "job-none"), 3)


CASES = [bad_json, broken_training_line, too_long_prompt, bad_tokens, interrupted_prompt, other_authority, other_version, port_in_use,
         first_start_fails, same_folder, lost_ledger, open_address, bad_settings, full_disk, no_model_file, model_cut_in_use, bad_gguf]


def main():
    with Dlls(with_model=MODEL_FILE.exists()) as dlls:
        dlls.start()
        run_cases(CASES, dlls)
    return 0


if __name__ == "__main__":
    sys.exit(main())
