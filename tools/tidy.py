"""Style as a test: line length, function length, arrows between folders, detail/ walls, leftovers, coroutine
rules, no global state in what others embed, format. Prints every breach as FILE:LINE: why, and exits 1 when there is one."""
import pathlib
import re
import shutil
import subprocess
import sys

COLUMNS = 100
FUNCTION_LINES = 70
FUNCTION_LINES_CUDA = 100
# Longer on purpose. FILE: reason. It only ever shrinks.
LONG_FUNCTIONS = {}

# Which folders each folder may include from (itself always). The exceptions have their reasons in
# docs/architecture.md.
ARROWS = {
    "base": [],
    "runtime": ["base"],
    "kernels": ["base"],
    "model": ["kernels", "base"],
    "ledger": ["base"],
    "gateway": ["base"],
    "actors": ["runtime", "ledger", "gateway", "model", "kernels", "base"],
    "cli": ["actors", "gateway", "model", "kernels", "base"],
}
OUTPUT_FOLDERS = {"cli", "tools", "benchmarks", "tests", "examples"}
ROOMS = [*ARROWS, "tests", "benchmarks", "examples"]
# What a process that embeds the runtime has once, however many runtimes. (FILE, NAME): reason.
STATELESS = {"base", "runtime"}
STATE = {
    ("base/log.cpp", "instance"): "one stream, standard error, and its level",
    ("base/mapped_file.cpp", "slots"): "one SIGBUS handler a process, and only once a file is mapped",
    ("base/mapped_file.cpp", "once"): "the same",
    ("runtime/detail/frames.cpp", "frames_of_this_thread"): "a counter for tests and benchmarks",
    ("runtime/detail/frames.cpp", "instance"): "the sum of those counters",
    ("runtime/detail/run_loop.cpp", "current_loop"): "whose turn this thread runs",
    ("runtime/link/detail/broker.cpp", "last_hop"): "from where the frame comes that this thread reads",
    ("runtime/link/detail/link_state.cpp", "last"): "epochs rise across all links of a process",
    ("runtime/link/detail/tls_callbacks.cpp", "method"): "a table of functions, written once",
}


def sources(root):
    for room in ROOMS:
        for path in sorted((root / room).rglob("*")):
            if path.suffix in {".hpp", ".cpp", ".cu", ".cuh"} and path.is_file():
                yield path


def check_lines(path, where, lines, report):
    room = where.parts[0]
    for number, line in enumerate(lines, 1):
        if len(line) > COLUMNS:
            report(where, number, f"{len(line)} columns, at most {COLUMNS}")
        if re.search(r"\b(FIXME|XXX|TODO)\b", line):
            report(where, number, "a leftover note")
        if "std::cout" in line and room not in OUTPUT_FOLDERS:
            report(where, number, "std::cout outside cli/, tools/, benchmarks/")
        include = re.match(r'#include "([^"]+)"', line)
        if include:
            check_include(room, where, number, include.group(1), report)


def check_include(room, where, number, target, report):
    other = target.split("/")[0]
    if other not in ARROWS or other == room:
        return
    if room in ARROWS and other not in ARROWS[room]:
        report(where, number, f"{room}/ may not include from {other}/")
    if "/detail/" in target and room in ARROWS:
        report(where, number, f"{target} is private to {other}/")


def check_functions(path, where, lines, report):
    """A function begins at a line that ends in '{' at depth of a namespace or class, and ends where it closes."""
    limit = FUNCTION_LINES_CUDA if path.suffix in {".cu", ".cuh"} else FUNCTION_LINES
    start = None
    for number, line in enumerate(lines, 1):
        if start is None and re.match(r"^(?!namespace|class|struct|enum|union|extern|//|#)\S.*\{$", line):
            start = number
            head = line
        elif start is not None and line.startswith("}"):
            is_data = line.startswith("};") or re.search(r"=\s*\{$", head)
            if not is_data and number - start > limit and str(where) not in LONG_FUNCTIONS:
                report(where, start, f"a function of {number - start} lines, at most {limit}")
            start = None


def check_coroutines(where, text, report):
    """The crude ones: a capturing lambda that is a coroutine; a task taking references."""
    for match in re.finditer(r"\[[^\]\n]+\]\s*\([^)]*\)[^{;]*->\s*(?:\w+::)*task<[^{;]*\{", text):
        if not re.match(r"\[(?:&)?\]", match.group(0)) and where.parts[0] in ARROWS:
            report(where, text.count("\n", 0, match.start()) + 1, "a capturing lambda that is a coroutine")
    if where.parts[0] == "actors" or where.parts[0] == "cli":
        for match in re.finditer(r"task<[^;{}()]*>\s+\w+\(([^)]*)\)", text):
            if "&" in match.group(1):
                report(where, text.count("\n", 0, match.start()) + 1, "a coroutine with a reference parameter")


def check_state(where, lines, seen, report):
    """Variables that outlive a call, at namespace scope or static, and are not constant through and through."""
    if where.parts[0] not in STATELESS:
        return
    no_variable = (r"(?:inline |static |thread_local )*(?:const|constexpr|consteval|class|struct|union|enum|using|"
                   r"namespace|template|concept|typedef|friend|return|goto|public|private)\b")
    declared = r"([\w:<>,*& ]+[\s*&])(\w+)\s*(?:\[\w*\]\s*)?(?:;|=[^=]|\{)"
    for number, line in enumerate(lines, 1):
        at_namespace_scope = re.match(r"[A-Za-z_]", line) is not None
        code = line.strip()
        if not at_namespace_scope and not re.match(r"(inline )?(static|thread_local) ", code):
            continue
        found = re.match(declared, code)
        if not found or "(" in found.group(0) or re.match(no_variable, code):
            continue
        seen.add((str(where), found.group(2)))
        if (str(where), found.group(2)) not in STATE:
            report(where, number, f"'{found.group(2)}' is state of the whole process")


def check_format(root, paths, report):
    program = shutil.which("clang-format") or shutil.which("clang-format-14")
    if not program:
        print("tidy: SKIPPED the format check: no clang-format", file=sys.stderr)
        return
    for begin in range(0, len(paths), 60):
        batch = [str(p) for p in paths[begin:begin + 60]]
        done = subprocess.run([program, "--dry-run", "--Werror", *batch], capture_output=True, text=True)
        for line in done.stderr.splitlines():
            found = re.match(r"(.*?):(\d+):\d+: error: (.*)", line)
            if found:
                path = pathlib.Path(found.group(1)).relative_to(root)
                report(path, int(found.group(2)), "not as clang-format writes it (clang-format -i)")


def main():
    root = pathlib.Path(sys.argv[1])
    breaches = []

    def report(where, number, why):
        breaches.append(f"{where}:{number}: {why}")

    seen = set()
    paths = list(sources(root))
    for path in paths:
        where = path.relative_to(root)
        text = path.read_text()
        lines = text.splitlines()
        check_lines(path, where, lines, report)
        check_functions(path, where, lines, report)
        check_coroutines(where, text, report)
        check_state(where, lines, seen, report)
    for file, name in STATE.keys() - seen:
        report(file, 1, f"'{name}' is gone: take it off the list of state in tools/tidy.py")
    check_format(root, paths, report)
    for breach in breaches:
        print(breach)
    print(f"tidy: {len(paths)} files, {len(breaches)} breach(es)", file=sys.stderr)
    return 1 if breaches else 0


sys.exit(main())
