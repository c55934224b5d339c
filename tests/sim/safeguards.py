"""The job protocol's safeguards, and the proof that the simulation notices when one is missing.

  tests/sim/safeguards.py              removes each in turn in a copy of the tree, builds test_sim, runs it
  tests/sim/safeguards.py NAME...      only these
  tests/sim/safeguards.py --check      only looks whether each source text stands exactly once; builds nothing

Prints a table. Exits 1 when a safeguard's absence goes unnoticed, 2 when a text no longer matches.
DLLS_SEEDS: how many runs may notice (1000)."""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
from typing import NamedTuple

ROOT = pathlib.Path(__file__).resolve().parents[2]


class Safeguard(NamedTuple):
    name: str
    file: str
    text: str  # stands exactly once in the file
    without: str  # what stands there when the safeguard is removed
    why: str


SAFEGUARDS = [
    Safeguard(
        "ledger-fence", "ledger/detail/edges.cpp",
        "  if (e.fence)\n    if (auto ok = check_fence(j, *e.fence); !ok)",
        "  if (false)\n    if (auto ok = check_fence(j, *e.fence); !ok)",
        "The ledger writes no edge under a fence that is not the job's."),
    Safeguard(
        "pause-fence", "ledger/detail/edges.cpp",
        "  if (auto ok = check_fence(row->job, fence); !ok)",
        "  if (auto ok = check_fence(row->job, fence); false && !ok)",
        "A deadline that passed under an older grant does not pause the newer one."),
    Safeguard(
        "grant-fence", "ledger/detail/edges.cpp",
        "  if (fence)\n    if (auto ok = check_fence(row->job, *fence); !ok)",
        "  if (false)\n    if (auto ok = check_fence(row->job, *fence); !ok)",
        "A job is granted only by who knows its last grant."),
    Safeguard(
        "resume-fence", "ledger/detail/edges.cpp",
        "  if (auto ok = check_fence(j, fence); !ok)",
        "  if (auto ok = check_fence(j, fence); false && !ok)",
        "A node that comes back resumes no lease that was granted anew."),
    Safeguard(
        "spool-before-received", "actors/node_door.cpp",
        "auto store = [jobs = services_.jobs, entry] { return jobs->store(entry); };",
        "auto store = [jobs = services_.jobs, entry] { return result<>{}; };",
        "`received` follows the disk: an acknowledged job survives a power cut."),
    Safeguard(
        "spool-before-ready", "actors/node_work.cpp",
        "    return jobs->store(entry);\n  };",
        "    return result<>{};\n  };",
        "`ready` follows the disk: a result that was announced survives a power cut."),
    Safeguard(
        "offer-again", "actors/node_door.cpp",
        "    if (held_fence == job.fence) co_return done;\n",
        "",
        "An offer that comes again is acknowledged again, and the work or its result stays."),
    Safeguard(
        "offer-older", "actors/node_door.cpp",
        "    if (held_fence > job.fence) refuse(errc::stale, \"a newer grant of this job is held\");\n",
        "",
        "An offer of an older grant does not replace the newer one that is held."),
    Safeguard(
        "repeat-ready", "actors/node_link.cpp",
        "    if (session_ != on) continue;\n    base::log_warning(\"node\", \"job {} not noted yet",
        "    if (session_ != on) continue;\n    break;\n    base::log_warning(\"node\", \"job {} not noted yet",
        "`ready` and `failed` are repeated until they are noted."),
    Safeguard(
        "deliver-at-welcome", "actors/node_link.cpp",
        "    if (job.entry.state != held_state::accepted) deliver_soon(id);\n  co_return",
        "    (void)id, (void)job;\n  co_return",
        "What ended while the link was away is told at the next welcome."),
    Safeguard(
        "drop-at-welcome", "actors/coordinator_state.cpp",
        "    if (!wanted) plan.drop.push_back(one.job);\n",
        "    (void)wanted;\n",
        "A node that missed a release or a cancel is told at its next hello."),
    Safeguard(
        "result-until-release", "actors/node_link.cpp",
        "      if (answer->drop && find(ref)) co_await drop(ref.id);",
        "      if (find(ref)) co_await drop(ref.id);",
        "A node keeps its result after it was noted, until it is released."),
    Safeguard(
        "fetched-after-pick-up", "actors/coordinator_results.cpp",
        "  for (std::size_t i = 0; done && i < listed->artifacts.size(); ++i) {",
        "  for (std::size_t i = 0; false && i < listed->artifacts.size(); ++i) {",
        "A job is fetched only when its result is verified in the cloud."),
    Safeguard(
        "released-after-fetched", "actors/coordinator_jobs.cpp",
        "  if (!moved) throw failure(moved.error());\n  tasks().spawn(tell_node<release>(*moved));",
        "  if (!moved) moved = *job;\n  tasks().spawn(tell_node<release>(*moved));",
        "A node is told to release a job only once the ledger has released it."),
    Safeguard(
        "older-link-ends", "actors/coordinator_nodes.cpp",
        "  if (!gone || gone->epoch != who.epoch) return;",
        "  if (!gone) return;",
        "The late end of a link does not end the one that replaced it."),
    Safeguard(
        "stale-ready", "actors/coordinator_results.cpp",
        "  if (!job || job->node != word.node || ref_of(*job) != said.job || ledger::is_final(job->state))\n"
        "    co_return noted{true};\n  if (job->state == job_state::fetched)",
        "  if (!job || ledger::is_final(job->state))\n"
        "    co_return noted{true};\n  if (job->state == job_state::fetched)",
        "A result of an older grant, or of another node's, is not taken for the job's."),
    Safeguard(
        "pause-at-restart", "actors/coordinator_nodes.cpp",
        "    tasks().spawn(pause_jobs(node, \"the coordinator was restarted\"));\n",
        "",
        "After a restart the jobs of nodes that do not come back go to others."),
    Safeguard(
        "deadline", "actors/coordinator_jobs.cpp",
        "      tasks().spawn(ask_when_late(moved->id, moved->fence));\n",
        "",
        "A hung node is asked once its job is late, and loses it when it does not answer."),
    Safeguard(
        "inputs-of-offers", "actors/node_work.cpp",
        "  for (const auto& [id, order] : taking_) add(order.inputs);\n",
        "",
        "Inputs of an offer that is being taken are not removed with another job's."),
]


def matches(guard):
    return (ROOT / guard.file).read_text().count(guard.text)


def check(guards):
    wrong = [g for g in guards if matches(g) != 1]
    for guard in wrong:
        print(f"{guard.name}: its text stands {matches(guard)} times in {guard.file}, not once")
    names = [g.name for g in guards]
    return not wrong and len(set(names)) == len(names)


def copy_tree(to):
    listed = subprocess.check_output(["git", "-C", ROOT, "ls-files", "-z"], text=True)
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, to / name)


def build(tree):
    done = subprocess.run(["ninja", "-C", tree / "build/release", "test_sim"], capture_output=True, text=True)
    if done.returncode:
        print(done.stdout[-3000:])
    return done.returncode == 0


def run(tree):
    """How the run ended, and the first thing that it says about it."""
    environment = {**os.environ, "DLLS_SEEDS": os.environ.get("DLLS_SEEDS", "1000"), "DLLS_LOG": "off"}
    environment.pop("DLLS_SEED", None)
    try:
        done = subprocess.run(
            [tree / "build/release/bin/test_sim", "[random]", "--abort"], capture_output=True, text=True,
            env=environment, timeout=600)
    except subprocess.TimeoutExpired:
        return True, "it does not end"
    lines = done.stdout.splitlines()
    said = [n for n, line in enumerate(lines) if line.startswith("seed ")]
    first = "; ".join(
        [lines[said[0]].split(";")[0].replace(" fails", ""), lines[said[0] + 1].strip()]) if said else ""
    return done.returncode != 0, first or f"exit status {done.returncode}"


def main():
    arguments = sys.argv[1:]
    if not check(SAFEGUARDS):
        return 2
    if arguments == ["--check"]:
        print(f"{len(SAFEGUARDS)} safeguards, each stands once")
        return 0
    unknown = set(arguments) - {g.name for g in SAFEGUARDS}
    if unknown:
        sys.exit(f"no such safeguard: {', '.join(sorted(unknown))}")
    guards = [g for g in SAFEGUARDS if not arguments or g.name in arguments]
    missed = []
    with tempfile.TemporaryDirectory(prefix="dlls-safeguards-") as folder:
        tree = pathlib.Path(folder)
        copy_tree(tree)
        subprocess.run(
            ["cmake", "-G", "Ninja", "-S", tree, "-B", tree / "build/release", "-DCMAKE_BUILD_TYPE=Release",
             "-DDLLS_TESTS=ON", "-DDLLS_CUDA=OFF"],
            check=True, stdout=subprocess.DEVNULL)
        if not build(tree):
            sys.exit("the tree does not build as it is")
        failed, why = run(tree)
        if failed:
            sys.exit(f"the simulation fails with every safeguard in place: {why}")
        for guard in guards:
            began = time.monotonic()
            path = tree / guard.file
            original = path.read_text()
            path.write_text(original.replace(guard.text, guard.without))
            caught, why = run(tree) if build(tree) else (False, "does not build")
            path.write_text(original)
            if not caught:
                missed.append(guard.name)
            verdict = "caught" if caught else "NOT CAUGHT"
            seconds = time.monotonic() - began
            print(f"{guard.name:<24}{verdict:<12}{seconds:>5.0f} s  {why}", flush=True)
    print(f"{len(guards) - len(missed)} of {len(guards)} caught")
    return 1 if missed else 0


sys.exit(main())
