"""Installs the component `runtime`, builds examples/embedded_service against it and runs it: two processes, a
killed worker, a reconnect. Arguments: cmake, the build folder, the example's folder."""
import json
import os
import pathlib
import queue
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

CMAKE, BUILD, EXAMPLE = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
# The same paths each time, so that ccache knows them again.
PLACE = BUILD / "embedded"
PREFIX = PLACE / "prefix"
PATIENCE = 30  # seconds; far beyond what any single step takes


def command(*words, fails_with=None):
    done = subprocess.run([str(w) for w in words], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if fails_with is None:
        assert done.returncode == 0, f"{words}\n{done.stdout}"
    else:
        said = " ".join(done.stdout.split())  # CMake breaks its lines
        assert done.returncode != 0 and fails_with in said, f"{words}: not '{fails_with}' but\n{done.stdout}"


def configure(source, build, *options):
    ccache = shutil.which("ccache")
    if ccache:
        # New headers are in order: they have just been installed.
        os.environ["CCACHE_SLOPPINESS"] = "include_file_mtime,include_file_ctime"
        options += (f"-DCMAKE_CXX_COMPILER_LAUNCHER={ccache}",)
    return (CMAKE, "-S", source, "-B", build, "-DCMAKE_BUILD_TYPE=Release", f"-DCMAKE_PREFIX_PATH={PREFIX}",
            "-DCMAKE_EXPORT_COMPILE_COMMANDS=ON", *(("-G", "Ninja") if shutil.which("ninja") else ()), *options)


def write_project(folder, text):
    folder.mkdir()
    (folder / "CMakeLists.txt").write_text("cmake_minimum_required(VERSION 3.25)\n" + text)


def test_only_the_component_is_installed():
    command(CMAKE, "--install", BUILD, "--component", "runtime", "--prefix", PREFIX)
    files = {str(p.relative_to(PREFIX)) for p in PREFIX.rglob("*") if p.is_file()}
    assert "include/dlls/runtime/task.hpp" in files and "include/dlls/runtime/link/dial.hpp" in files
    foreign = [f for f in files if not re.match(
        r"include/dlls/(base|runtime)/|lib\S*/cmake/dlls/|lib\S*/libdlls_(base|runtime|link)\.a$", f)]
    assert not foreign, foreign
    for header in (PREFIX / "include").rglob("*.hpp"):
        for name in re.findall(r'#include "([^"]+)"', header.read_text()):
            assert name.startswith("dlls/") and (PREFIX / "include" / name).is_file(), f"{header}: {name}"


def test_what_is_not_there_is_refused_in_words():
    write_project(PLACE / "unknown", "project(unknown NONE)\nfind_package(dlls ${WANTED})\n")
    for wanted, words in (("0.1;REQUIRED;COMPONENTS;ledger", "dlls has no component 'ledger'; it has: runtime"),
                          ("9.0;REQUIRED", "compatible with requested version \"9.0\"")):
        command(*configure(PLACE / "unknown", PLACE / "unknown/build", f"-DWANTED={wanted}"), fails_with=words)


def test_every_header_stands_alone():
    """All of them in one file, and in another the other way round: each comes before those it needs."""
    headers = sorted(str(p.relative_to(PREFIX / "include")) for p in (PREFIX / "include").rglob("*.hpp")
                     if "detail" not in p.parts)
    write_project(PLACE / "headers", """project(headers CXX)
find_package(dlls 0.1 REQUIRED COMPONENTS runtime)
add_library(headers OBJECT forwards.cpp backwards.cpp)
target_link_libraries(headers PRIVATE dlls::runtime dlls::link)
""")
    for name, order in (("forwards", headers), ("backwards", headers[::-1])):
        (PLACE / "headers" / f"{name}.cpp").write_text("".join(f"#include <{h}>\n" for h in order))
    command(*configure(PLACE / "headers", PLACE / "headers/build"))
    command(CMAKE, "--build", PLACE / "headers/build")


def test_the_example_builds_with_flags_of_its_own():
    command(*configure(EXAMPLE, PLACE / "service"))
    command(CMAKE, "--build", PLACE / "service")
    for entry in json.loads((PLACE / "service/compile_commands.json").read_text()):
        for ours in ("-Werror", "-Wpedantic", "DLLS_VERSION", "cmake_pch", str(EXAMPLE.parents[1]) + " "):
            assert ours not in entry["command"], f"{ours} is inherited: {entry['command']}"


class Program:
    """A process of ours: its lines are read by a thread, and waited for."""
    running = []

    def __init__(self, name, *arguments):
        self.errors = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            [PLACE / "service" / name, *map(str, arguments)], text=True, bufsize=1, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=self.errors)
        Program.running.append(self)
        self.lines, self.seen = queue.Queue(), []
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            self.lines.put(line.rstrip("\n"))
        self.lines.put(None)

    def say(self, line):
        self.process.stdin.write(line + "\n")

    def expect(self, pattern, seconds=PATIENCE):
        """The first line, of those not yet expected, that the pattern fits."""
        end = time.monotonic() + seconds
        while True:
            for line in self.seen:
                if found := re.match(pattern, line):
                    self.seen.remove(line)
                    return found
            try:
                line = self.lines.get(timeout=max(0, end - time.monotonic()))
            except queue.Empty:
                line = None
            if line is None:
                self.errors.seek(0)
                raise AssertionError(f"no '{pattern}' in {self.seen}\n{self.errors.read()}")
            self.seen.append(line)

    def ends(self):
        return self.process.wait(timeout=PATIENCE)


def start_worker(scene, port=0):
    worker = Program("worker", port, scene / "worker", scene / "texts")
    return worker, int(worker.expect(r"listening on port (\d+)$")[1])


def request_that_hangs(front, pipe):
    """Returns once the worker's thread is reading from a pipe into which nobody writes."""
    front.say("first.txt pipe")
    opened = queue.Queue()
    threading.Thread(target=lambda: opened.put(open(pipe, "w")), daemon=True).start()
    return opened.get(timeout=PATIENCE)


def test_two_processes(scene):
    (scene / "worker").mkdir()
    (scene / "texts").mkdir()
    (scene / "texts/first.txt").write_text("one two three\nfour\n")
    (scene / "texts/second.txt").write_text("five six\n")
    os.mkfifo(scene / "texts/pipe")
    worker, port = start_worker(scene)
    front = Program("front", port, scene / "front", scene / "worker/token")
    epoch = int(front.expect(r"linked to coordinator/worker: epoch (\d+), protocol 1$")[1])
    front.say("first.txt second.txt first.txt")
    told = front.expect(rf"10 words, 5 lines \(epoch {epoch}: (\d+) bytes out, (\d+) in\)$")
    assert int(told[1]) > 500 and int(told[2]) > 500, told[0]
    front.say("first.txt none.txt")
    front.expect(r"error not_found: no text none.txt$")

    kept = request_that_hangs(front, scene / "texts/pipe")
    worker.process.kill()
    killed = time.monotonic()
    front.expect(r"error unavailable: ")
    assert time.monotonic() - killed < 10, "the front waited for its deadline of 30 s"
    front.expect(r"link lost: ")
    front.say("first.txt")
    front.expect(r"error unavailable: no worker \(is it running\?\)$")
    kept.close()

    worker, _ = start_worker(scene, port)
    again = int(front.expect(r"linked to coordinator/worker: epoch (\d+), protocol 1$")[1])
    assert again > epoch
    front.say("second.txt")
    front.expect(rf"2 words, 1 lines \(epoch {again}: ")
    front.process.stdin.close()
    assert front.ends() == 0

    front = Program("front", port, scene / "front")  # the certificate is there: no token
    front.expect(r"linked to coordinator/worker: epoch ")
    front.process.stdin.close()
    assert front.ends() == 0
    worker.process.send_signal(signal.SIGTERM)
    assert worker.ends() == 0


def main():
    shutil.rmtree(PLACE, ignore_errors=True)
    PLACE.mkdir()
    scene = pathlib.Path(tempfile.mkdtemp(prefix="dlls-embedded-"))
    try:
        for test in (test_only_the_component_is_installed, test_what_is_not_there_is_refused_in_words,
                     test_every_header_stands_alone, test_the_example_builds_with_flags_of_its_own,
                     lambda: test_two_processes(scene)):
            began = time.monotonic()
            test()
            print(f"{time.monotonic() - began:6.1f} s  {test.__name__}", flush=True)
    finally:
        for program in Program.running:
            if program.process.poll() is None:
                program.process.kill()
                program.process.wait()
        shutil.rmtree(scene, ignore_errors=True)


main()
