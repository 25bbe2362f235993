"""How long the commands take to start: the best of a few runs, wall and core seconds.

.venv/bin/python -m benchmarks.starting
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time

from benchmarks.measure import ROOT

NUM_RUNS = 3
COMMANDS = {
    "rocket-prep --help": ("prep", ["--help"]),
    "rocket-prep inspect NOWHERE": ("prep", ["inspect", "nowhere"]),
    "rocket-train --help": ("train", ["--help"]),
    "rocket-train demo with a misspelt key": ("train", ["demo", "trainer.max_step=3"]),
    "rocket-train demo with a missing dataset": ("train", ["demo", "data.datasets=nowhere"]),
    "rocket-train rocket1 --dry-run": ("train", ["rocket1", "--dry-run"]),
}


def seconds_of(program: str, words: list[str]) -> tuple[float, float]:
    """Wall and core seconds of the quickest of some runs."""
    code = f"import sys, rocket1; sys.argv[1:] = {words!r}; rocket1.{program}()"
    found = []
    for _ in range(NUM_RUNS):
        began, cores = time.perf_counter(), _children_seconds()
        subprocess.run(
            [sys.executable, "-P", "-c", code], cwd=ROOT, env=_environment(), capture_output=True, check=False
        )
        found.append((time.perf_counter() - began, _children_seconds() - cores))
    return min(found)


def main() -> None:
    for name, (program, words) in COMMANDS.items():
        wall, cores = seconds_of(program, words)
        print(f"{name:<44}{wall:6.2f} s{cores:8.2f} core-seconds")


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def _children_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
