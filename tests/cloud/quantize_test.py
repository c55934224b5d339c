"""`dlls quantize` as a user meets it: sizes at the end, clear refusals, and an interruption that leaves nothing."""
import pathlib
import re
import signal
import subprocess
import sys
import tempfile

from dlls_process import BIN, MODEL_FILE, until


def quantize(*arguments):
    return subprocess.run([BIN / "dlls", "quantize", *map(str, arguments)], capture_output=True, text=True, timeout=120)


def tells_sizes(folder):
    done = quantize(MODEL_FILE, folder / "f16.gguf", "--type", "f16")
    assert done.returncode == 0, done.stderr
    done = quantize(folder / "f16.gguf", folder / "q.gguf", "--type", "Q8_0")
    assert done.returncode == 0, done.stderr
    assert re.search(r"q\.gguf: 14\d\.\d MB, 8\.5\d bits a weight, 53\.\d % of the 27\d\.\d MB", done.stdout), done.stdout
    lines = [line for line in done.stderr.splitlines() if line.startswith("quantize")]
    assert lines and "100 %" in lines[-1] and "\r" not in done.stderr, done.stderr
    assert quantize(MODEL_FILE, folder / "twice.gguf", "--type", "q8_0").stderr.startswith("dlls: "), "a warning"


def refuses_clearly(folder):
    def said(code, words, *arguments):
        done = quantize(*arguments)
        assert done.returncode == code and words in done.stderr, (done.returncode, done.stderr)
    source, there = folder / "f16.gguf", folder / "q.gguf"
    before = there.read_bytes()
    said(3, "--force replaces it", source, there, "--type", "q4_0")
    assert there.read_bytes() == before
    said(2, "one of: f16, q8_0", source, folder / "new.gguf", "--type", "q3")
    said(2, "is the file that is read", source, source, "--type", "q4_0", "--force")
    said(2, "--type", source, folder / "new.gguf")
    (folder / "text").write_text("no model")
    said(1, "", folder / "text", folder / "new.gguf", "--type", "q4_0")
    said(3, "", source, folder / "nowhere" / "new.gguf", "--type", "q4_0")
    assert quantize(source, there, "--type", "q4_0", "--force", "--threads", "1").returncode == 0
    assert there.stat().st_size < len(before)


def leaves_nothing_when_interrupted(folder):
    for which in (signal.SIGINT, signal.SIGTERM):
        names = {path.name for path in folder.iterdir()}
        process = subprocess.Popen([BIN / "dlls", "quantize", folder / "f16.gguf", folder / "cut.gguf", "--type", "q4_k_m",
                                    "--threads", "1"], stderr=subprocess.PIPE, text=True)
        until("it has begun to write", lambda: any(".tmp-" in path.name for path in folder.iterdir()))
        process.send_signal(which)
        _, said = process.communicate(timeout=60)
        assert process.returncode == 130 and "interrupted" in said, (process.returncode, said)
        assert {path.name for path in folder.iterdir()} == names


def main():
    if not MODEL_FILE.exists():
        print(f"SKIPPED: no model at {MODEL_FILE}")
        return 77
    with tempfile.TemporaryDirectory() as name:
        for case in (tells_sizes, refuses_clearly, leaves_nothing_when_interrupted):
            case(pathlib.Path(name))
            print(f"{case.__name__}: ok", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
