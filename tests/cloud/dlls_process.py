"""Starts the built programs in a folder of their own and stops them again. Waits on conditions, never for a time."""
import contextlib
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("DLLS_BIN", ROOT / "build/release/bin"))
MODEL_FILE = pathlib.Path(
    os.environ.get("DLLS_TEST_MODEL", ROOT / ".cache/models/SmolLM2-135M-Instruct.Q4_1.gguf"))
MODEL = "smollm2-135m-instruct"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def until(what, condition, seconds=30):
    """The first true value of `condition()`; what it raises while waiting counts as not yet."""
    end = time.monotonic() + seconds
    last = None
    while time.monotonic() < end:
        try:
            value = condition()
            if value:
                return value
        except (OSError, Refused, KeyError) as why:
            last = why
        time.sleep(0.02)
    raise AssertionError(f"{what}: not within {seconds} s ({last!r})")


def run_cases(cases, dlls):
    """Those that the command line names, or all; a case returns why it was skipped, or nothing."""
    for case in [c for c in cases if not sys.argv[1:] or c.__name__ in sys.argv[1:]]:
        skipped = case(dlls)
        print(f"{case.__name__}: {'SKIPPED: ' + skipped if skipped else 'ok'}", flush=True)


class Refused(Exception):
    def __init__(self, status, body):
        super().__init__(f"{status}: {body}")
        self.status, self.body = status, body


class Dlls:
    """One home folder: a coordinator and a node, each started and killed at will."""

    def __init__(self, folder=None, with_model=False):
        self.home = pathlib.Path(folder or tempfile.mkdtemp(prefix="dlls-test-"))
        self.http, self.link = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.http}"
        self.processes = {}
        self.key = None
        (self.home / "models").mkdir(parents=True, exist_ok=True)
        if with_model:
            shutil.copy(MODEL_FILE, self.home / "models" / f"{MODEL}.gguf")

    def environment(self):
        return {**os.environ, "DLLS_HOME": str(self.home), "DLLS_URL": self.url}

    def spawn(self, name, program, *arguments, token=None):
        log = open(self.home / f"{name}.log", "ab")
        process = subprocess.Popen([BIN / program, *arguments], env=self.environment(), stdout=log,
                                   stderr=log, stdin=subprocess.PIPE)
        with contextlib.suppress(BrokenPipeError):
            if token:
                process.stdin.write(token.encode() + b"\n")
            process.stdin.close()
        self.processes[name] = process
        return process

    def start_coordinator(self):
        self.spawn("coordinator", "dlls-coordinator", "coordinator", "--keep-key", "--http",
                   f"127.0.0.1:{self.http}", "--link", f"127.0.0.1:{self.link}")
        until("the coordinator answers", lambda: self.alive("coordinator") and self.get("/health", key=False))
        self.key = (self.home / "api-key").read_text().strip()

    def start_node(self, *more):
        joined = (self.home / "node/credentials/home.pem").exists()
        token = None if joined else self.post("/v1/enrolments", {"name": "home"})["token"]
        self.spawn("node", "dlls", "node", "--join", f"127.0.0.1:{self.link}", *more, token=token)

    def wait_linked(self, seconds=60):
        until("the node is linked",
              lambda: any(n["connected"] for n in self.get("/v1/nodes")["data"]), seconds)

    def start(self):
        self.start_coordinator()
        self.start_node()
        self.wait_linked()
        return self

    def alive(self, name):
        code = self.processes[name].poll()
        if code is not None:
            raise AssertionError(f"{name} ended with {code}:\n{self.log(name)}")
        return True

    def log(self, name):
        return (self.home / f"{name}.log").read_text(errors="replace")

    def kill(self, name, how=signal.SIGKILL):
        process = self.processes.pop(name, None)
        if process and process.poll() is None:
            process.send_signal(how)
            process.wait(30)
        return process

    def stop(self, keep=False):
        for name in ("node", "coordinator", *list(self.processes)):
            self.kill(name, signal.SIGTERM)
        if not keep:
            shutil.rmtree(self.home, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if kind:
            for name in ("coordinator", "node"):
                if (self.home / f"{name}.log").exists():
                    print(f"--- {name}.log\n" + "\n".join(self.log(name).splitlines()[-40:]))
        self.stop()

    # --- HTTP
    def request(self, method, path, data=None, headers=None, key=True, timeout=60):
        headers = dict(headers or {})
        if key:
            headers["Authorization"] = f"Bearer {self.key}"
        request = urllib.request.Request(self.url + path, data=data, headers=headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=timeout) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as refused:
            raise Refused(refused.code, refused.read().decode(errors="replace")) from None

    def get(self, path, key=True):
        return self.request("GET", path, key=key)

    def post(self, path, body, headers=None):
        return self.request("POST", path, json.dumps(body).encode(),
                            {"Content-Type": "application/json", **(headers or {})})

    def upload(self, name, content, purpose="fine-tune"):
        edge = "dlls-test-boundary"
        body = (f'--{edge}\r\nContent-Disposition: form-data; name="purpose"\r\n\r\n{purpose}\r\n'
                f'--{edge}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
                "Content-Type: application/octet-stream\r\n\r\n").encode() + content + f"\r\n--{edge}--\r\n".encode()
        return self.request("POST", "/v1/files", body,
                            {"Content-Type": f"multipart/form-data; boundary={edge}"})

    def wait_job(self, job, states=("fetched", "released", "failed", "cancelled"), seconds=120):
        return until(f"job {job} ends",
                     lambda: (j := self.get(f"/v1/jobs/{job}"))["state"] in states and j, seconds)

    def artifact(self, job, name):
        result = self.get(f"/v1/jobs/{job}/result")
        found = next(a for a in result["artifacts"] if a["name"] == name)
        return self.get(f"/v1/jobs/{job}/artifacts/{found['sha256']}")

    def run(self, *arguments, program="dlls", stdin="", key=True, env={}, **more):
        """A command that ends; gives the finished process."""
        environment = self.environment() | env
        if key and self.key:
            environment["DLLS_API_KEY"] = self.key
        return subprocess.run([BIN / program, *arguments], env=environment, input=stdin,
                              capture_output=True, text=True, timeout=60, **more)
