"""`dlls inspect` on running processes: an actor, a task, a wait with a plausible age; and every way it can fail."""
import contextlib
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time

from dlls_process import Dlls, until


def actors_of(dlls, folder, program="dlls"):
    done = dlls.run("inspect", "--state", str(dlls.home / folder), "--json", program=program)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["actors"]


def waits_of(actors, name):
    """(task, wait) of all actors of that class."""
    return [(task, wait) for actor in actors if actor["name"] == name and actor["condition"] == "answered"
            for task in actor["tasks"] for wait in task["waits"]]


def sees_waits(dlls):
    began = time.monotonic()
    first = until("the node waits for something", lambda: waits_of(actors_of(dlls, "node"), "dlls::actors::node"))
    for task, wait in first:
        assert wait["what"] and 0 <= wait["age_ms"] < 120_000, wait
        assert task["age_ms"] >= wait["age_ms"], task
    # The same wait, later: older by at most the time between.
    task, wait = next((t, w) for t, w in first if w["what"] == "a completion")
    def older():
        return [w for t, w in waits_of(actors_of(dlls, "node"), "dlls::actors::node")
                if t["what"] == task["what"] and w["what"] == wait["what"] and w["age_ms"] > wait["age_ms"]]
    again = until("it is older now", older)
    passed_ms = (time.monotonic() - began) * 1e3
    assert again[0]["age_ms"] - wait["age_ms"] <= passed_ms + 1, (again[0], wait, passed_ms)
    assert any(".cpp:" in task["what"] for task, _ in first), first

    names = {actor["name"] for actor in actors_of(dlls, "coordinator", program="dlls-coordinator")}
    assert {"dlls::actors::coordinator", "dlls::actors::outbox", "dlls::actors::door"} <= names, names


def prints_a_tree(dlls):
    """Without flags: both processes of this home, as text."""
    done = dlls.run("inspect")
    assert done.returncode == 0, done.stderr
    for folder, name in (("coordinator", "dlls::actors::coordinator"), ("node", "dlls::actors::node")):
        pid = dlls.processes[folder].pid
        assert f"{dlls.home / folder / 'inspect.sock'} (process {pid}): " in done.stdout, done.stdout
        assert name in done.stdout, done.stdout
    assert "waits" in done.stdout and "for a completion" in done.stdout, done.stdout


def tells_no_secrets(dlls):
    token = dlls.post("/v1/enrolments", {"name": "second"})["token"]
    text = dlls.run("inspect").stdout + json.dumps(actors_of(dlls, "coordinator"))
    for secret in (dlls.key, *token.split(".")[1:]):
        assert secret not in text


def is_private(dlls):
    path = dlls.home / "coordinator/inspect.sock"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    if os.geteuid() != 0:
        return "not root: no other user to be"
    # Root made this process; as somebody else it gets nothing, even where the file's mode is no bar.
    folders = [path, path.parent, dlls.home]
    modes = [(folder, folder.stat().st_mode) for folder in folders]
    try:
        for folder, mode in modes:
            folder.chmod(mode | (0o666 if folder == path else 0o755))
        ask = ("import os,socket,sys\nos.setuid(65534)\ns=socket.socket(socket.AF_UNIX)\ns.connect(sys.argv[1])\n"
               "s.settimeout(20)\ntry:\n s.sendall(b'text\\n')\n print(len(s.recv(100)))\nexcept OSError: print(0)\n")
        done = subprocess.run([sys.executable, "-c", ask, str(path)], capture_output=True, text=True, timeout=60)
        assert done.stdout.strip() == "0", (done.stdout, done.stderr)
        with contextlib.suppress(PermissionError):  # the program itself may be out of its reach
            done = dlls.run("inspect", "--socket", str(path), user=65534)
            assert done.returncode == 4, (done.returncode, done.stderr)
            assert "user 0" in done.stderr, done.stderr
    finally:
        for folder, mode in modes:
            folder.chmod(stat.S_IMODE(mode))
    done = dlls.run("inspect", "--socket", str(path))
    assert done.returncode == 0, done.stderr


def survives_bad_callers(dlls):
    path = str(dlls.home / "coordinator/inspect.sock")
    crowd = []
    for words in (b"", b"\xff" * 100, b"GET / HTTP/1.1\r\n\r\n", b"json"):
        one = socket.socket(socket.AF_UNIX)
        one.settimeout(20)
        one.connect(path)
        one.sendall(words)
        crowd.append(one)  # and says no more
    done = dlls.run("inspect", "--socket", path)
    assert done.returncode == 0, done.stderr
    for one in crowd:
        one.close()


def fails_clearly(dlls):
    def said(code, *words, arguments):
        done = dlls.run("inspect", *arguments)
        assert done.returncode == code, (done.returncode, done.stderr)
        for word in words:
            assert word in done.stderr, done.stderr
    said(3, "no such socket", "--state", arguments=["--state", str(dlls.home / "nowhere")])
    said(2, arguments=["--state", "a", "--socket", "b"])
    dlls.kill("node", signal.SIGKILL)
    assert (dlls.home / "node/inspect.sock").exists()
    said(5, "nobody listens", arguments=["--state", str(dlls.home / "node")])
    assert str(dlls.home / "node") not in dlls.run("inspect").stdout
    dlls.start_node()  # replaces what was left behind
    until("the new node answers", lambda: dlls.run("inspect", "--state", str(dlls.home / "node")).returncode == 0)
    for name in ("node", "coordinator"):
        dlls.kill(name, signal.SIGTERM)
        assert not (dlls.home / name / "inspect.sock").exists(), name
    said(3, "neither", arguments=[])


def main():
    with Dlls() as dlls:
        dlls.start()
        for case in (sees_waits, prints_a_tree, tells_no_secrets, is_private, survives_bad_callers, fails_clearly):
            why_not = case(dlls)
            print(f"{case.__name__}: {'SKIPPED: ' + why_not if why_not else 'ok'}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
