"""The coordinator at rest: memory, start, and what an idle link carries. Prints the figures as JSON.
DLLS_IDLE_SECONDS: how long to watch the link (5; the record in benchmarks/results.md took 600)."""
import json
import os
import pathlib
import sys
import time

from dlls_process import Dlls, until

SECONDS = float(os.environ.get("DLLS_IDLE_SECONDS", "5"))


def resident_kib(process):
    status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")))


def reading(dlls):
    total = dlls.get("/v1/traffic")["data"][0]
    return [total[k] for k in ("bytes_sent", "bytes_received", "frames_sent", "frames_received")]


def main():
    with Dlls() as dlls:
        began = time.monotonic()
        dlls.start_coordinator()
        start_s = time.monotonic() - began
        dlls.start_node()
        dlls.wait_linked()
        until("the hello has been answered", lambda: reading(dlls)[3] > 0)
        time.sleep(2)  # what follows a hello has been sent by then: this measures, it waits for nothing
        before = reading(dlls)
        time.sleep(SECONDS)  # the measurement itself
        after = reading(dlls)
        figures = {
            "start_s": round(start_s, 3),
            "resident_mib": round(resident_kib(dlls.processes["coordinator"]) / 1024, 1),
            "idle_s": SECONDS,
            "link_tls_bytes": after[0] - before[0] + after[1] - before[1],
            "link_packets": after[2] - before[2] + after[3] - before[3],
        }
        # Without options an IP packet with TCP timestamps is 52 bytes.
        figures["link_ip_bytes"] = figures["link_tls_bytes"] + 52 * figures["link_packets"]
        print(json.dumps(figures))
        assert figures["resident_mib"] <= 32, "more than the promise of 32 MiB"
        assert figures["start_s"] < 1, "slower than the promise of a second"
        assert figures["link_tls_bytes"] == 0, "an idle link carries something"
    return 0


if __name__ == "__main__":
    sys.exit(main())
