"""Core-seconds and memory of a process with all its children, and running measured programs as children.

Standard library only: the same file serves our programs and the peers', each in its own environment.
A measured program prints one line of JSON at the end of its output.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).resolve().parent.parent
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_PR_SET_CHILD_SUBREAPER = 36


class ProgramFailed(RuntimeError):
    """A measured program ended otherwise than it should."""

    def reason(self) -> str:
        """The line of its output that says most."""
        lines = [line.strip() for line in str(self).splitlines() if line.strip()]
        told = next((line for line in reversed(lines) if "Error" in line), lines[-1])
        return told.split(": ", 1)[-1][:160]


@dataclass(frozen=True)
class Spread:
    """The median of several measurements, and their range."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(statistics.median(values), min(values), max(values))

    def text(self, digits: int = 0) -> str:
        """The median with its range, such as `412 (398 to 420)`."""
        median, low, high = (f"{value:,.{digits}f}" for value in (self.median, self.low, self.high))
        return median if low == high else f"{median} ({low} to {high})"


def tree_core_seconds(pid: int | None = None) -> float:
    """CPU time used so far by a process (this one by default) and all that descend from it, seconds.

    Children that have ended count once their parent has waited for them.
    """
    return sum(_core_seconds(member) for member in process_tree(pid or os.getpid()))


def process_tree(root: int) -> list[int]:
    """The process and its living descendants."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (fields := _stat(int(entry))):
            children.setdefault(int(fields[1]), []).append(int(entry))
    found, pending = [], [root]
    while pending:
        found.append(pid := pending.pop())
        pending += children.get(pid, [])
    return found


class MemorySampler:
    """While it runs, the largest memory of this process's children, and of itself too if asked, is found.

    Attributes:
        peak_mb: proportional set size of the processes together (shared pages once), MB.
        peak_process_mb: resident set size of the largest single process.
        peak_child_mb: the same among the children.
    """

    def __init__(self, *, with_self: bool, interval_seconds: float = 1.0) -> None:
        self.peak_mb = self.peak_process_mb = self.peak_child_mb = 0.0
        self._with_self, self._interval_seconds = with_self, interval_seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while True:
            own, *children = process_tree(os.getpid())
            sizes = [_memory_mb(pid) for pid in children]
            self.peak_child_mb = max([self.peak_child_mb, *(resident for resident, _ in sizes)])
            if self._with_self:
                sizes.append(_memory_mb(own))
            self.peak_process_mb = max([self.peak_process_mb, *(resident for resident, _ in sizes)])
            self.peak_mb = max(self.peak_mb, sum(proportional for _, proportional in sizes))
            if self._stop.wait(self._interval_seconds):
                return


@dataclass(frozen=True)
class Finished:
    """What a child program answered and used.

    Attributes:
        answer: the JSON that it printed last ({} where it printed none).
        core_seconds: CPU time of it and everything that it started, orphans too.
        peak_mb: largest proportional set size of all its processes together.
        peak_process_mb: largest resident set size of a single one.
    """

    answer: dict[str, Any]
    core_seconds: float
    wall_seconds: float
    peak_mb: float
    peak_process_mb: float


def run_program(
    command: Sequence[str],
    *,
    extra_environment: Mapping[str, str] | None = None,
    timeout_seconds: float = 1200.0,
    cwd: Path = ROOT,
) -> Finished:
    """The program has ended well and so has everything that it started.

    Raises:
        ProgramFailed: if it ended with another status than 0, or not in time; the end of its output is given.
    """
    _adopt_orphans()
    environment = {**os.environ, "PYTHONWARNINGS": "ignore", **(extra_environment or {})}
    before, start = _children_core_seconds(), time.perf_counter()
    with MemorySampler(with_self=False) as memory:
        try:
            done = subprocess.run(
                list(command),
                cwd=cwd,
                env=environment,
                capture_output=True,
                text=True,
                timeout=timeout_seconds,
                check=False,
            )
        except subprocess.TimeoutExpired as late:
            _reap_orphans(patience_seconds=0.0)
            said = (late.stderr or b"").decode(errors="replace")
            raise ProgramFailed(
                f"{' '.join(command)}: not done after {timeout_seconds:g} s\n{said[-3000:]}"
            ) from late
        wall_seconds = time.perf_counter() - start
        _reap_orphans()
    if done.returncode != 0:
        raise ProgramFailed(
            f"{' '.join(command)}: ended with {done.returncode}\n{done.stdout[-1500:]}\n{done.stderr[-3000:]}"
        )
    answers = [line for line in done.stdout.splitlines() if line.startswith("{")]
    return Finished(
        json.loads(answers[-1]) if answers else {},
        _children_core_seconds() - before,
        wall_seconds,
        memory.peak_mb,
        memory.peak_process_mb,
    )


def alternate(trials: Mapping[str, Callable[[], Any]], repeats: int) -> dict[str, list[Any]]:
    """Each trial's results, the trials taken in turn so that a slow minute of the machine meets them all."""
    results: dict[str, list[Any]] = {name: [] for name in trials}
    for number in range(repeats):
        for name, trial in trials.items():
            print(f"  {name} ({number + 1}/{repeats})", flush=True)
            results[name].append(trial())
    return results


def answer(**values: Any) -> None:
    """The measured program's answer stands on a line of its own."""
    print("\n" + json.dumps(values), flush=True)


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the state on; empty where there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _core_seconds(pid: int) -> float:
    fields = _stat(pid)
    return sum(int(ticks) for ticks in fields[11:15]) / _TICKS_PER_SECOND if fields else 0.0


def _memory_mb(pid: int) -> tuple[float, float]:
    """Resident and proportional set size."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0, 0.0
    sizes = {line.split()[0]: int(line.split()[1]) / 1024 for line in lines[1:]}
    return sizes.get("Rss:", 0.0), sizes.get("Pss:", 0.0)


def _children_core_seconds() -> float:
    times = os.times()
    return times.children_user + times.children_system


def _adopt_orphans() -> None:
    """Daemons that a child leaves behind become ours, so that their time can be counted when they end."""
    import ctypes

    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _reap_orphans(patience_seconds: float = 20.0) -> None:
    deadline = time.monotonic() + patience_seconds
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            if time.monotonic() > deadline:
                for orphan in process_tree(os.getpid())[1:]:
                    os.kill(orphan, 9)
                deadline = time.monotonic() + patience_seconds
            time.sleep(0.05)
