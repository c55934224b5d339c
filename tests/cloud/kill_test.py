"""kill -9 of coordinator or node at random moments of a job's life, and a restart: every acknowledged job ends
once, with the right result. DLLS_KILLS (30) and DLLS_SEED replay a run."""
import hashlib
import os
import random
import sys
import threading
import time
import urllib.error

from dlls_process import Dlls, Refused, until

KILLS = int(os.environ.get("DLLS_KILLS", "30"))
SEED = int(os.environ.get("DLLS_SEED", random.SystemRandom().randrange(1 << 32)))


class Submitter:
    """Submits checksum jobs one after the other; repeats a request with its key until it is answered."""

    def __init__(self, dlls, chance):
        self.dlls, self.chance = dlls, chance
        self.jobs = {}  # id -> expected SHA-256
        self.stopping = False
        self.thread = threading.Thread(target=self.run)
        self.failure = None

    def insist(self, what):
        """Until the service answers: it may be dead right now."""
        while True:
            try:
                return what()
            except Refused as refused:
                if refused.status < 500 and refused.status != 429:
                    raise
            except (OSError, urllib.error.URLError, ConnectionError, ValueError):
                pass
            time.sleep(0.05)

    def run(self):
        try:
            number = 0
            while not self.stopping:
                number += 1
                content = self.chance.randbytes(self.chance.randrange(200_000, 1_500_000))
                file = self.insist(lambda: self.dlls.upload(f"input-{number}", content, "user_data"))
                body = {"kind": "checksum", "files": [file["id"]],
                        "spec": {"rounds": self.chance.randrange(50, 400)}}
                key = {"Idempotency-Key": f"seed-{SEED}-{number}"}
                job = self.insist(lambda: self.dlls.post("/v1/jobs", body, key))
                again = self.insist(lambda: self.dlls.post("/v1/jobs", body, key))
                assert again["id"] == job["id"], "one key, two jobs"
                self.jobs[job["id"]] = hashlib.sha256(content).hexdigest()
                time.sleep(self.chance.uniform(0.1, 0.6))  # the pace of the load, not a wait for anything
        except BaseException as why:
            self.failure = why


def main():
    print(f"seed {SEED} (replay: DLLS_SEED={SEED} DLLS_KILLS={KILLS} python {__file__})", flush=True)
    chance = random.Random(SEED)
    with Dlls() as dlls:
        dlls.start()
        load = Submitter(dlls, random.Random(SEED + 1))
        load.thread.start()
        for number in range(KILLS):
            time.sleep(chance.uniform(0.05, 2.0))  # the random moment
            victim = chance.choice(["coordinator", "node"])
            dlls.kill(victim)
            dlls.start_coordinator() if victim == "coordinator" else dlls.start_node()
            if load.failure:
                raise load.failure
            print(f"kill {number + 1:>3}: {victim:<12} {len(load.jobs)} jobs acknowledged", flush=True)
        load.stopping = True
        load.thread.join()
        if load.failure:
            raise load.failure
        dlls.wait_linked(120)
        wrong = []
        for job, expected in load.jobs.items():
            ended = dlls.wait_job(job, seconds=180)
            got = dlls.artifact(job, "checksum.json")["sha256"] if ended["state"] == "fetched" else None
            if ended["state"] != "fetched" or got != expected:
                wrong.append((job, ended["state"], ended.get("error"), got, expected))
        listed, after = [], ""
        while True:
            page = dlls.get(f"/v1/jobs?limit=100{'&after=' + after if after else ''}")
            listed += [j["id"] for j in page["data"]]
            if not page["has_more"]:
                break
            after = listed[-1]
        assert sorted(listed) == sorted(load.jobs), "jobs that nobody submitted, or lost ones"
        ready = {j: sum(e["message"] == "ready on the node" for e in
                        dlls.get(f"/v1/jobs/{j}/events?limit=1000")["data"]) for j in load.jobs}
        assert all(n == 1 for n in ready.values()), f"a job took effect twice: {ready}"
        assert not wrong, wrong
        until("the node has nothing left to do",
              lambda: all(n["jobs_running"] == 0 for n in dlls.get("/v1/nodes")["data"]))
        print(f"{KILLS} kills, {len(load.jobs)} acknowledged jobs, each ended once with the right result")
    return 0


if __name__ == "__main__":
    sys.exit(main())
