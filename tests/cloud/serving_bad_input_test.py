"""Models and clients that go bad while answers run: a typed error with a sentence for whom it concerns, and the others
go on. One function a line of the list; each prints its name when it has passed."""
import contextlib
import http.client
import json
import os
import pathlib
import random
import shutil
import socket
import sys

from dlls_process import MODEL, MODEL_FILE, Dlls, Refused, run_cases, until
from tiny_gguf import tiny_gguf

SEED = int(os.environ.get("DLLS_TEST_SEED", random.SystemRandom().randrange(1 << 32)))
NEVER_ENDS = {"0": -100, "2": -100}  # the end tokens of our models


def chat(dlls, model="good", words="Hi", **more):
    return dlls.post("/v1/chat/completions", {
        "model": model, "messages": [{"role": "user", "content": words}], "max_completion_tokens": 8, "temperature": 0,
        "logit_bias": NEVER_ENDS, **more})


def said(dlls, model="good"):
    """To the number: noise tells models apart."""
    return [(one["token"], one["logprob"]) for one in chat(dlls, model, logprobs=True)["choices"][0]["logprobs"]["content"]]


def refused(ask, *statuses):
    """What the error says: a message that is a sentence to a person."""
    try:
        ask()
    except Refused as why:
        assert why.status in statuses, f"{why.status}, not {statuses}: {why.body}"
        error = json.loads(why.body)["error"]
        assert len(error["message"]) > 15 and error["type"] and error["code"], error
        return error["message"]
    raise AssertionError("it was answered")


def put(path, content, like=None):
    """In another's place, by renaming, with its times: nothing but the file itself tells them apart."""
    fresh = path.with_suffix(".part")
    fresh.write_bytes(content)
    if like:
        os.utime(fresh, ns=(like.st_atime_ns, like.st_mtime_ns))
    os.rename(fresh, path)


class Request:
    """One request whose answer is read, or not, as the test likes."""

    def __init__(self, dlls, path, body, receive_bytes=None):
        self.plain = socket.socket()
        if receive_bytes:
            self.plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.plain.settimeout(60)
        self.plain.connect(("127.0.0.1", dlls.http))
        raw = json.dumps(body).encode()
        self.plain.sendall(f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {dlls.key}\r\nContent-Type: "
                           f"application/json\r\nContent-Length: {len(raw)}\r\n\r\n".encode() + raw)

    def events(self):
        answer = http.client.HTTPResponse(self.plain)
        answer.begin()
        assert answer.status == 200, answer.read()
        for line in answer:
            if line.startswith(b"data: {"):
                yield json.loads(line[6:])

    def hang_up(self):
        self.plain.close()


def stream(dlls, model, tokens, more={}, **how):
    return Request(dlls, "/v1/chat/completions", {
        "model": model, "messages": [{"role": "user", "content": "Tell me."}], "stream": True, "temperature": 0,
        "max_completion_tokens": tokens, "logit_bias": NEVER_ENDS, **more}, **how)


def at_engine(dlls):
    """Tasks of the inference actor that answer somebody."""
    done = dlls.run("inspect", "--state", str(dlls.home / "node"), "--json")
    assert done.returncode == 0, done.stderr
    actors = [a for a in json.loads(done.stdout)["actors"] if a["name"] == "dlls::actors::inference"]
    assert len(actors) == 1 and actors[0]["condition"] == "answered", actors
    return [t for t in actors[0]["tasks"] if t["what"].startswith("handler of")]


def resident_kib(dlls, name):
    status = pathlib.Path(f"/proc/{dlls.processes[name].pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0])


# --- model files

def replaced(dlls):
    """Before the first load and between requests: what lies there now answers, also in the same second."""
    path = dlls.home / "models/victim.gguf"
    first, second = said(dlls), said(dlls, "twin")
    assert first != second, "the models say the same"
    like = path.stat()
    put(path, tiny_gguf(2), like)  # not loaded yet
    assert said(dlls, "victim") == second
    put(path, tiny_gguf(1), like)
    assert said(dlls, "victim") == first
    with open(path, "r+b") as file:  # in place: the same file
        file.write(tiny_gguf(2))
    os.utime(path, ns=(like.st_atime_ns, like.st_mtime_ns))
    assert said(dlls, "victim") == second
    os.truncate(path, 5000)
    for _ in range(2):
        message = refused(lambda: chat(dlls, "victim"), 500)
        assert "victim.gguf" in message, message
    assert said(dlls) == first and said(dlls, "twin") == second
    path.unlink()
    refused(lambda: chat(dlls, "victim"), 404)
    put(path, tiny_gguf(1))
    assert said(dlls, "victim") == first


def changed_while_streaming(dlls):
    """What is being said comes from memory: it goes on to its end, whatever becomes of the file."""
    path, whole = dlls.home / "models/long.gguf", tiny_gguf(1, 1 << 16)
    ways = {"cut": lambda: os.truncate(path, 5000), "written to": lambda: path.write_bytes(tiny_gguf(2, 1 << 16)),
            "renamed over": lambda: put(path, b"no model"), "deleted": path.unlink}
    for way, change in ways.items():
        put(path, whole)
        events = stream(dlls, "long", 12_000).events()
        next(events), next(events)
        change()
        assert at_engine(dlls), f"{way}: the answer had ended before"
        assert said(dlls), way
        last = None
        for event in events:
            assert "error" not in event, (way, event)
            last = event["choices"][0]["finish_reason"] or last
        assert last == "length", (way, last)
        dlls.alive("node")
    put(path, whole)
    assert said(dlls, "long")


def changed_while_loading(dlls):
    """Each time another bit of the load is done: an error or an answer, and afterwards the good file serves."""
    if not MODEL_FILE.exists():
        return "no model that takes long to load"
    path = dlls.home / "models/big.gguf"
    node = dlls.processes["node"].pid
    for way in ("cut", "written to", "deleted"):
        put(path, MODEL_FILE.read_bytes())
        asked = Request(dlls, "/v1/chat/completions", {
            "model": "big", "messages": [{"role": "user", "content": "Hi"}], "max_completion_tokens": 4})
        until("it is mapped", lambda: "big.gguf" in pathlib.Path(f"/proc/{node}/maps").read_text())
        if way == "cut":
            os.truncate(path, 5000)
        elif way == "written to":
            with open(path, "r+b") as file:
                file.seek(50 << 20)
                file.write(b"\xff" * 1000)
        else:
            path.unlink()
        assert said(dlls), way  # the other model, meanwhile
        answer = http.client.HTTPResponse(asked.plain)
        answer.begin()
        body = json.loads(answer.read())
        assert answer.status == 200 or (answer.status in (404, 500) and body["error"]["message"]), (way, body)
        dlls.alive("node")
    put(path, MODEL_FILE.read_bytes())
    assert said(dlls, "big")


def broken_files(dlls):
    path, good = dlls.home / "models/victim.gguf", tiny_gguf(1)
    first, pid = said(dlls), dlls.processes["node"].pid
    named = {"token_embd": {"without": "token_embd.weight"},
             "blk.1.attn_k.weight": {"without": "blk.1.attn_k.weight"},
             "blk.0.ffn_up.weight": {"reshaped": {"blk.0.ffn_up.weight": (32, 32)}},
             "blk.0.attn_q.weight": {"typed": {"blk.0.attn_q.weight": 19}}}
    for name, wrong in named.items():
        put(path, tiny_gguf(1, **wrong))
        message = refused(lambda: chat(dlls, "victim"), 400, 500)
        assert name in message, f"{name} is not in: {message}"
    head = good.index(b"output_norm.weight") + 500
    chance = random.Random(SEED)
    for length in sorted({1, 3, 4, 12, 24, *(chance.randrange(1, len(good)) for _ in range(25)), len(good) - 1}):
        put(path, good[:length])
        refused(lambda: chat(dlls, "victim"), 400, 500)
    for _ in range(60):  # of the header, the metadata, the table: some do no harm
        flipped = bytearray(good)
        for _ in range(chance.randrange(1, 4)):
            flipped[chance.randrange(head)] ^= 1 << chance.randrange(8)
        put(path, flipped)
        with contextlib.suppress(Refused):
            chat(dlls, "victim")
        dlls.alive("node")
    put(path, good)
    assert said(dlls, "victim") == first == said(dlls)
    assert dlls.processes["node"].pid == pid and dlls.alive("node")
    assert {"good", "twin", "victim"} <= {m["id"] for m in dlls.get("/v1/models")["data"]}


# --- what cannot fit

def too_small_a_cache(dlls):
    """Both numbers are said; what fits is answered, by this model or another."""
    message = refused(lambda: chat(dlls, words="word " * 200), 400)
    assert "256" in message, message
    if not MODEL_FILE.exists():
        return "no model whose cache takes more than a MiB"
    for mib, asked, status, numbers in ((1, {}, 409, ("1024 KiB", "1440 KiB")),
                                        (2, {"words": "word " * 300}, 400, ("339", "64")),
                                        (2, {"max_completion_tokens": 200}, 400, ("231", "64"))):
        with Dlls(with_model=True) as small:
            (small.home / "models/good.gguf").write_bytes(tiny_gguf(1))
            small.start_coordinator()
            small.start_node("--cache-mib", str(mib))
            small.wait_linked()
            message = refused(lambda: chat(small, MODEL, **asked), status)
            assert all(number in message for number in numbers), message
            assert said(small)
            if mib > 1:
                assert chat(small, MODEL)["usage"]["completion_tokens"] == 8


# --- clients that go

def hangs_up(dlls):
    """In each phase. All in all far more than places and queue hold together: one left behind would be noticed."""
    if not MODEL_FILE.exists():
        return "no model that takes long to answer"
    assert chat(dlls, "big")["choices"]
    long = {"model": "big", "temperature": 0, "max_completion_tokens": 2000, "logit_bias": NEVER_ENDS}
    turn = lambda words: [{"role": "user", "content": words}]
    phases = {
        "decoding, streamed": ("/v1/chat/completions", {**long, "messages": turn("Hi"), "stream": True}, 4),
        "decoding": ("/v1/chat/completions", {**long, "messages": turn("Hi")}, 4),
        "n": ("/v1/chat/completions", {**long, "messages": turn("Hi"), "n": 4}, 2),
        "prefill": ("/v1/chat/completions", {**long, "messages": turn("abc " * 3000)}, 2),
        "queue": ("/v1/chat/completions", {**long, "messages": turn("Hi")}, 50),
        "embeddings": ("/v1/embeddings", {"model": "big", "input": ["abc " * 2000] * 8}, 2)}
    before = None
    for round in range(3):
        for phase, (path, body, count) in phases.items():
            asking = [Request(dlls, path, body) for _ in range(count)]
            there = count * body.get("n", 1)
            until(f"{phase}: they are there", lambda: len(at_engine(dlls)) == there)
            for one in asking:
                one.hang_up()
            until(f"{phase}: nobody is left", lambda: not at_engine(dlls))
            assert chat(dlls, "big", max_completion_tokens=2), phase
        now = resident_kib(dlls, "node"), resident_kib(dlls, "coordinator")
        before = before or now
    assert all(n < b + 32_768 for n, b in zip(now, before)), (before, now)


def hangs_up_while_loading(dlls):
    if not MODEL_FILE.exists():
        return "no model that takes long to load"
    path = dlls.home / "models/big.gguf"
    for _ in range(3):
        put(path, MODEL_FILE.read_bytes())
        asked = Request(dlls, "/v1/chat/completions", {
            "model": "big", "messages": [{"role": "user", "content": "Hi"}], "stream": True,
            "max_completion_tokens": 4000, "logit_bias": NEVER_ENDS})
        until("it is mapped", lambda: "big.gguf" in
              pathlib.Path(f"/proc/{dlls.processes['node'].pid}/maps").read_text())
        asked.hang_up()
        until("nobody is left", lambda: not at_engine(dlls))
    assert said(dlls, "big")


def stops_reading(dlls):
    """The watcher's window is full: it is cut off, the coordinator keeps little for it, others' streams go on."""
    before, cut = resident_kib(dlls, "coordinator"), "the client reads too slowly"
    many_bytes = {"logprobs": True, "top_logprobs": 20}
    lazy = [stream(dlls, "long", 60_000, many_bytes, receive_bytes=2048) for _ in range(4)]
    last = None
    for event in stream(dlls, "long", 3000).events():
        last = event["choices"][0]["finish_reason"] or last
    assert last == "length"
    until("they are cut off", lambda: dlls.log("coordinator").count(cut) == len(lazy) and not at_engine(dlls), 60)
    assert resident_kib(dlls, "coordinator") < before + 32_768
    assert said(dlls)
    for one in lazy:
        got = b""
        with contextlib.suppress(ConnectionError):
            while piece := one.plain.recv(1 << 20):
                got = got[-100:] + piece
        assert b"[DONE]" not in got
        one.hang_up()


CASES = [replaced, broken_files, changed_while_streaming, changed_while_loading, too_small_a_cache, hangs_up,
         hangs_up_while_loading, stops_reading]


def main():
    print(f"seed {SEED}", flush=True)
    with Dlls() as dlls:
        for name, seed, context in (("good", 1, 256), ("victim", 1, 256), ("twin", 2, 256), ("long", 1, 1 << 16)):
            (dlls.home / f"models/{name}.gguf").write_bytes(tiny_gguf(seed, context))
        if MODEL_FILE.exists():
            shutil.copy(MODEL_FILE, dlls.home / "models/big.gguf")
        dlls.start()
        run_cases(CASES, dlls)
    return 0


if __name__ == "__main__":
    sys.exit(main())
