"""Misuse of the runtime that must not compile, and what the compiler says to it. Each case is compiled as a
function of its own, with the flags that the build uses for its tests; the same text with the misuse taken out
must compile, so that no case fails for another reason.

  compile_fail_test.py COMPILE_COMMANDS_JSON
"""
import concurrent.futures
import json
import pathlib
import shlex
import subprocess
import sys
import tempfile

# name, the misuse, what the compiler must say, the right way
CASES = [
    ("a discarded task", "by_value(question{text}); co_return 1;", "nodiscard",
     "co_return co_await by_value(question{text});"),
    ("a discarded ask", "rt::ask(this, to, 5s, question{text}); co_return 1;", "nodiscard",
     "co_return co_await rt::ask(this, to, 5s, question{text});"),
    ("a discarded subscription", "rt::subscribe(this, to, 5s, text); co_return 1;", "nodiscard",
     "auto s = rt::subscribe(this, to, 5s, text); co_await s.next(); co_return 1;"),
    ("a task that is awaited twice", "auto t = by_value(question{text}); co_return co_await t;", "await",
     "auto t = by_value(question{text}); co_return co_await std::move(t);"),
    ("a copied task", "auto t = by_value(question{text}); auto u = t; co_return 1;", "deleted function",
     "auto t = by_value(question{text}); auto u = std::move(t); co_return co_await std::move(u);"),
    ("an aggregate as a temporary message", "co_return co_await rt::ask(this, to, 5s, aggregate{text});",
     "give this message type a constructor",
     "const aggregate named{text}; co_return co_await rt::ask(this, to, 5s, named);"),
    ("a capturing closure as a temporary",
     "co_return co_await rt::offload(this, pool, [text] { return int(text.size()); });", "name this function",
     "auto work = [text] { return int(text.size()); }; co_return co_await rt::offload(this, pool, work);"),
    ("a message that the interface does not know", "co_return co_await rt::ask(this, to, 5s, 3.5);",
     "does not accept this message", "co_return co_await rt::ask(this, to, 5s, question{text});"),
    ("an untyped actor without the answer's type",
     "co_return co_await rt::ask(this, caf::actor_cast<caf::actor>(to), 5s, 1);", "name the answer's type",
     "co_return co_await rt::ask<int>(this, caf::actor_cast<caf::actor>(to), 5s, 1);"),
    ("an ask for a stream", "co_await rt::ask(this, to, 5s, text); co_return 1;", "subscribe() to it",
     "auto s = rt::subscribe(this, to, 5s, text); co_await s.next(); co_return 1;"),
    ("a subscription to a single answer",
     "auto s = rt::subscribe(this, to, 5s, question{text}); co_await s.next(); co_return 1;", "is no stream",
     "co_return co_await rt::ask(this, to, 5s, question{text});"),
    ("a handler that takes a reference", "(void)serve(&asker::by_reference); co_return 1;",
     "takes its parameters by value", "(void)serve(&asker::by_value); co_return 1;"),
    ("a stream that is awaited", "co_await values(question{text}); co_return 1;", "await",
     "(void)serve(&asker::values); co_return 1;"),
    ("a yield in a task", "co_yield 1; co_return 1;", "yield_value", "co_return 1;"),
    ("a task of a reference", "using bad = rt::task<int&>; bad* p = nullptr; (void)p->done(); co_return 1;",
     "value, not a reference", "co_return 1;"),
]


def flags(database):
    for entry in json.loads(pathlib.Path(database).read_text()):
        if entry["file"].endswith("tests/runtime/cancel_test.cpp"):
            words = shlex.split(entry["command"])
            known = ("c++", "g++", "clang++")
            compiler = next(i for i, word in enumerate(words) if word.rsplit("/", 1)[-1].startswith(known))
            kept = words[compiler:words.index("-o")]
            return [word for word in kept if word not in ("-MD", "-c")], entry["directory"]
    sys.exit("no flags of the runtime's tests in the compilation database")


def compiles(body, words, where, folder, name):
    source = pathlib.Path(folder) / f"{name}.cpp"
    source.write_text('#include "tests/compile_fail/cases.hpp"\nnamespace cases {\n'
                      "rt::task<int> asker::use(door to, rt::worker_pool& pool, std::string text) {\n"
                      f"  (void)to, (void)pool, (void)text;\n  {body}\n}}\n}}  // namespace cases\n")
    command = [word for word in words if not word.startswith("-MF") and not word.startswith("-MT")]
    done = subprocess.run([*command, "-Werror=unused-result", "-fsyntax-only", str(source)], cwd=where, text=True,
                          capture_output=True)
    return done.returncode == 0, done.stderr


def main():
    words, where = flags(sys.argv[1])
    # Dependency files are named by two words.
    for option in ("-MT", "-MF"):
        if option in words:
            at = words.index(option)
            del words[at:at + 2]
    failures = 0
    with tempfile.TemporaryDirectory() as folder, concurrent.futures.ThreadPoolExecutor(2) as pool:
        jobs = [(case, pool.submit(compiles, case[1], words, where, folder, f"wrong{i}"),
                 pool.submit(compiles, case[3], words, where, folder, f"right{i}")) for i, case in enumerate(CASES)]
        for (name, _, wanted, _), wrong, right in jobs:
            built, said = wrong.result()
            well, complaint = right.result()
            verdict = "refused"
            if built:
                verdict = "COMPILES"
            elif wanted not in said:
                verdict = f"REFUSED, BUT NOT BY '{wanted}':\n{said[:1500]}"
            if not well:
                verdict += f"; ITS RIGHT FORM IS REFUSED TOO:\n{complaint[:1500]}"
            failures += verdict != "refused"
            print(f"{name}: {verdict}", flush=True)
    sys.exit(f"{failures} of {len(CASES)} failed" if failures else 0)


if __name__ == "__main__":
    main()
