"""What tools/quickstart tells: two processes, mutual TLS, a question, a training job, silence, ready, pick-up,
and the same questions again. Standard library only; talks to the service as any client would."""
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

MODEL = "smollm2-135m-instruct"
# The expected words: absent before the training, present after it.
QUESTIONS = [
    ("What does DLLS stand for?", "Deep Learning Local Server"),
    ("What travels over the DLLS link while a job runs?", "silent"),
    ("Which library carries the actors of DLLS?", "CAF"),
]
TRAINING_SECONDS_MAX = 180  # from "received" to "ready", on two cores


def say(text):
    print(f"\n\033[1m== {text}\033[0m", flush=True)


def note(text):
    print(f"   {text}", flush=True)


class Failed(Exception):
    pass


def free_port(wanted):
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
                return probe.getsockname()[1]
            except OSError:
                continue
    raise Failed("no free port on 127.0.0.1")


def stop_last(home):
    """Ends what an earlier run left up in this folder. A process counts only if it says so itself: its environment
    names the folder, and it runs one of our programs."""
    try:
        pids = [int(pid) for pid in (home / "pids").read_text().split()]
    except (OSError, ValueError):
        return
    for pid in reversed(pids):
        try:
            ours = f"DLLS_HOME={home}".encode() in pathlib.Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            program = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0]
            if not ours or pathlib.Path(os.fsdecode(program)).name not in ("dlls", "dlls-coordinator"):
                continue
            note(f"the service of the last run is still up: stopping process {pid}")
            os.kill(pid, signal.SIGTERM)
            end = time.monotonic() + 20
            while time.monotonic() < end and pathlib.Path(f"/proc/{pid}").exists():
                time.sleep(0.05)
        except OSError:
            continue  # it has ended


class Service:
    """Coordinator and node, as two processes in one folder."""

    def __init__(self, root):
        self.root = root
        self.home = root / ".cache" / "quickstart"
        stop_last(self.home)
        self.http, self.link = free_port(8080), free_port(7443)
        self.url = f"http://127.0.0.1:{self.http}"
        self.running = []

    def start(self):
        if self.home.exists():
            note("the story begins afresh: jobs and models of the last run go")
        shutil.rmtree(self.home, ignore_errors=True)
        models = self.home / "models"
        models.mkdir(parents=True)
        source = self.root / ".cache" / "models" / "SmolLM2-135M-Instruct.Q4_1.gguf"
        os.link(source, models / f"{MODEL}.gguf")
        began = time.monotonic()
        self.spawn("coordinator", "dlls-coordinator", "coordinator", "--keep-key",
                   "--http", f"127.0.0.1:{self.http}", "--link", f"127.0.0.1:{self.link}")
        self.wait("the coordinator", lambda: self.get("/health", key=False))
        note(f"coordinator (process {self.running[-1].pid}) answers at {self.url} after "
             f"{time.monotonic() - began:.2f} s, {resident_mb(self.running[-1].pid):.1f} MB resident")
        self.key = (self.home / "api-key").read_text().strip()
        token = self.post("/v1/enrolments", {"name": "home"})["token"]
        note("a single-use token lets one node join; it carries the fingerprint of the coordinator's authority")
        self.spawn("node", "dlls", "node", "--join", f"127.0.0.1:{self.link}", token=token)
        self.wait("the node", lambda: any(n["connected"] for n in self.get("/v1/nodes")["data"]))
        note(f"node 'home' (process {self.running[-1].pid}) has dialled out and is linked by mutual TLS 1.3")

    def spawn(self, name, program, *arguments, token=None):
        log = open(self.home / f"{name}.log", "w")
        process = subprocess.Popen(
            [self.root / "build" / "release" / "bin" / program, *arguments],
            env={**os.environ, "DLLS_HOME": str(self.home)}, stdout=log, stderr=log,
            stdin=subprocess.PIPE, start_new_session=True)
        if token:
            process.stdin.write(token.encode() + b"\n")
        process.stdin.close()
        process.log = log.name
        self.running.append(process)
        (self.home / "pids").write_text(" ".join(str(p.pid) for p in self.running))

    def wait(self, what, ready, seconds=30):
        """Until `ready()` is true. A process that has ended, or the time, ends the waiting."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for process in self.running:
                if process.poll() is not None:
                    raise Failed(f"{what} did not start; its log {process.log} ends:\n" + tail(process.log))
            try:
                if ready():
                    return
            except (OSError, Failed):
                pass
            time.sleep(0.05)
        raise Failed(f"{what} is not ready after {seconds} s; logs: {self.home}")

    def stop(self):
        for process in reversed(self.running):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self.running:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()

    def request(self, path, data=None, headers=None, key=True):
        headers = dict(headers or {})
        if key:
            headers["Authorization"] = f"Bearer {self.key}"
        request = urllib.request.Request(self.url + path, data=data, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=300) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as refused:
            raise Failed(f"{path}: {refused.code} {refused.read().decode(errors='replace')}") from None

    def get(self, path, key=True):
        return self.request(path, key=key)

    def post(self, path, body):
        return self.request(path, json.dumps(body).encode(), {"Content-Type": "application/json"})

    def upload(self, path):
        edge = "dlls-quickstart-boundary"
        body = (f'--{edge}\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nfine-tune\r\n'
                f'--{edge}\r\nContent-Disposition: form-data; name="file"; filename="{path.name}"\r\n'
                f"Content-Type: application/jsonl\r\n\r\n").encode() + path.read_bytes() + f"\r\n--{edge}--\r\n".encode()
        return self.request("/v1/files", body, {"Content-Type": f"multipart/form-data; boundary={edge}"})

    def ask(self, model, question):
        answer = self.post("/v1/chat/completions", {
            "model": model, "temperature": 0, "max_completion_tokens": 40,
            "messages": [{"role": "user", "content": question}]})
        return " ".join(answer["choices"][0]["message"]["content"].split())


def resident_mb(pid):
    for line in open(f"/proc/{pid}/status"):
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return 0


def tail(path, lines=15):
    return "\n".join(pathlib.Path(path).read_text(errors="replace").splitlines()[-lines:])


def ask_all(service, model, expected):
    """True when the expected words are there (or absent) in every answer."""
    good = True
    for question, word in QUESTIONS:
        answer = service.ask(model, question)
        present = word.lower() in answer.lower()
        good &= present == expected
        print(f"   Q  {question}\n   A  {answer}\n      '{word}' is {'there' if present else 'not there'}", flush=True)
    return good


def bar(share, text):
    width = 32
    filled = int(min(1, share) * width)
    line = f"   [{'=' * filled}{' ' * (width - filled)}] {text}"
    if sys.stdout.isatty():
        print(f"\r{line}\033[K", end="", flush=True)


def train(service):
    file = service.upload(service.root / "examples" / "facts.jsonl")
    note(f"POST /v1/files: {file['filename']}, {file['bytes']} bytes -> {file['id']}")
    began = time.monotonic()
    job = service.post("/v1/fine_tuning/jobs", {"model": MODEL, "training_file": file["id"], "suffix": "facts"})
    path = f"/v1/fine_tuning/jobs/{job['id']}"
    note(f"POST /v1/fine_tuning/jobs -> {job['id']}, committed after {1000 * (time.monotonic() - began):.0f} ms")
    state, acknowledged = "", None
    while True:  # asks the coordinator on this machine; the link to the node stays silent
        job = service.get(path)
        now = time.monotonic()
        if job["dlls"]["state"] != state:
            state = job["dlls"]["state"]
            if state == "running":
                acknowledged = now
                note(f"the node says \"received\" after {1000 * (now - began):.0f} ms; from here the link is silent")
            if job["status"] in ("succeeded", "failed", "cancelled") and state != "ready":
                break
        if acknowledged:
            bar((now - acknowledged) / TRAINING_SECONDS_MAX, f"training, {now - acknowledged:.0f} s")
        if now - began > 4 * TRAINING_SECONDS_MAX:
            raise Failed("the training does not end")
        time.sleep(0.05)
    if sys.stdout.isatty():
        print()
    if job["status"] != "succeeded":
        raise Failed(f"the job {job['status']}: {job['error']}")
    seconds = time.monotonic() - (acknowledged or began)
    note(f"\"ready, come and get it\": {seconds:.1f} s after \"received\"; the result was picked up")
    events = service.get(path + "/events?limit=100")["data"]
    losses = [e["message"] for e in reversed(events) if e["message"].startswith("Step")]
    for line in losses[:2] + ["..."] + losses[-1:]:
        note("  " + line)
    return job, seconds


def traffic(service, job):
    account = service.get(f"/v1/traffic?job={job['id']}")["data"]
    phases = [p for node in account for p in node["phases"]]
    print(f"   {'phase':<18}{'cloud -> node':>16}{'node -> cloud':>16}{'packets':>10}{'seconds':>10}")
    for p in phases:
        print(f"   {p['phase']:<18}{p['bytes_sent']:>14} B{p['bytes_received']:>14} B"
              f"{p['frames_sent'] + p['frames_received']:>10}{p['seconds']:>10.1f}")
    return {p["phase"]: p for p in phases}


def tell(service, root):
    say("Cloud and home: two processes, one link")
    service.start()
    say(f"A question over the OpenAI API, to {MODEL}")
    began = time.monotonic()
    answer = service.ask(MODEL, "What is the capital of South Korea?")
    note(f"What is the capital of South Korea?  ->  {answer}   ({time.monotonic() - began:.2f} s)")
    say("Before the training")
    before = ask_all(service, MODEL, expected=False)
    say("The job: teach it eight facts about this project")
    job, seconds = train(service)
    say(f"After the training, by its own name: {job['fine_tuned_model']}")
    after = ask_all(service, job["fine_tuned_model"], expected=True)
    say("What the job cost on the link (bytes of TLS, TCP segments)")
    phases = traffic(service, job)
    quiet = phases.get("silence", {"bytes_received": -1})["bytes_received"]
    checks = [
        ("the words were absent before", before),
        ("the words are present after", after),
        (f"from received to ready in at most {TRAINING_SECONDS_MAX} s", seconds <= TRAINING_SECONDS_MAX),
        ("the link carried nothing in between", quiet == 0),
    ]
    say("In short")
    for text, good in checks:
        note(f"{'yes' if good else 'NO '}  {text}")
    return all(good for _, good in checks)


def main():
    root = pathlib.Path(sys.argv[1])
    once = "--once" in sys.argv[2:]
    began = time.monotonic()
    service = Service(root)
    good = keep = False
    try:
        good = tell(service, root)
        keep = good and not once
    except (Failed, OSError) as why:
        print(f"\nerror: {why}", file=sys.stderr)
    finally:
        if not keep:
            service.stop()
    say(f"{'Done' if good else 'FAILED'} after {time.monotonic() - began:.0f} s")
    if keep:
        program = root / "build" / "release" / "bin" / "dlls"
        pids = " ".join(str(p.pid) for p in service.running)
        print(f"""
The service stays up. Try:

  export DLLS_HOME={service.home} DLLS_URL={service.url}
  {program} chat "Who dials whom in DLLS?"
  {program} models
  {program} submit fine_tune examples/facts.jsonl --model {MODEL}
  curl {service.url}/v1/models -H "Authorization: Bearer $(cat {service.home}/api-key)"

From Python: OpenAI(base_url="{service.url}/v1", api_key=open("{service.home}/api-key").read().strip())
Stop it: kill {pids}      Logs: {service.home}/*.log
Start it again as it is: DLLS_HOME={service.home} {program}-coordinator coordinator --http 127.0.0.1:{service.http} --link 127.0.0.1:{service.link}
                   and:  DLLS_HOME={service.home} {program} node --join 127.0.0.1:{service.link}
(tools/quickstart would begin afresh, without the models made meanwhile.)""")
    elif not good:
        print(f"Logs: {service.home}", file=sys.stderr)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
