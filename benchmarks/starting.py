"""How long the commands take to start: the best of a few runs, wall and core seconds.

.venv/bin/python -m benchmarks.starting
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time

from benchmarks.measure import ROOT

NUM_RUNS = 3
_PATHS = os.pathsep.join([str(ROOT), str(ROOT / "configs/start")])
COMMANDS = {
    "rocket-prep --help": ("prep", ["--help"], 0),
    "rocket-prep inspect NOWHERE": ("prep", ["inspect", "nowhere"], 1),
    "rocket-train --help": ("train", ["--help"], 0),
    "rocket-train demo with a misspelt key": ("train", ["demo", "trainer.max_step=3"], 1),
    "rocket-train demo with a missing dataset": ("train", ["demo", "data.datasets=nowhere"], 1),
    "rocket-train rocket1 --dry-run": ("train", ["rocket1", "--dry-run"], 0),
    "... of a policy of your own, first of all": ("train", ["rocket1", "policy.hiddim=768", "--dry-run"], 0),
    "... again": ("train", ["rocket1", "policy.hiddim=768", "--dry-run"], 0),
}


def seconds_of(program: str, words: list[str], status: int, cache: str | None) -> tuple[float, float]:
    """Wall and core seconds of the quickest of some runs that end with this exit status.

    They use this cache folder, or each an empty one.
    """
    code = f"import sys, rocket1; sys.argv[1:] = {words!r}; rocket1.{program}()"
    found = []
    for _ in range(NUM_RUNS):
        with tempfile.TemporaryDirectory() as empty:
            environment = {**os.environ, "PYTHONPATH": _PATHS, "XDG_CACHE_HOME": cache or empty}
            began, cores = time.perf_counter(), _children_seconds()
            command = [sys.executable, "-P", "-c", code]
            ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
            found.append((time.perf_counter() - began, _children_seconds() - cores))
        if ended.returncode != status:
            problem = f"exit status {ended.returncode}, expected {status}: {ended.stderr}"
            raise SystemExit(f"{program} {words}: {problem}")
    return min(found)


def main() -> None:
    with tempfile.TemporaryDirectory() as cache:
        for name, (program, words, status) in COMMANDS.items():
            wall, cores = seconds_of(program, words, status, cache if name.endswith("again") else None)
            print(f"{name:<50}{wall:6.2f} s{cores:8.2f} core-seconds")


def _children_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
