"""Prints what each suite took against its budget, and the closing line 'N passed, N failed, N skipped'.
Arguments: the whole run's seconds, then build folders with tests.xml (ctest --output-junit)."""
import json
import subprocess
import sys
import xml.etree.ElementTree as xml

MINUTES = 60  # for everything, from nothing, on two cores


def budgets(folder):
    plan = json.loads(subprocess.check_output(["ctest", "--test-dir", folder, "--show-only=json-v1"]))
    found = {}
    for test in plan["tests"]:
        for entry in test.get("properties", []):
            if entry["name"] == "TIMEOUT":
                found[test["name"]] = entry["value"]
    return found


def main():
    whole, folders = int(sys.argv[1]), sys.argv[2:]
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    print(f"\n{'suite':<34}{'seconds':>9}{'budget':>9}  outcome")
    for folder in folders:
        limits = budgets(folder)
        for case in xml.parse(folder + "/tests.xml").getroot().iter("testcase"):
            name, status = case.get("name"), case.get("status")
            outcome = {"run": "passed", "fail": "failed"}.get(status, "skipped")
            counts[outcome] += 1
            label = f"{folder.rsplit('/', 1)[-1]}/{name}"
            print(f"{label:<34}{float(case.get('time')):>9.1f}{limits.get(name, 0):>9.0f}  {outcome}")
    print(f"{'everything, with the build':<34}{whole:>9}{MINUTES * 60:>9}")
    print(f"\n{counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped")


main()
