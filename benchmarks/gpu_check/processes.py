"""Each check in a process of its own: a crash, a lack of memory or an end of time costs its own row alone."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import torch

from benchmarks.gpu_check.bench import Bench, CannotRun, Check
from benchmarks.gpu_check.checks import CHECKS

LIMIT_SECONDS = 460.0
"""Of all checks together."""


@dataclass(frozen=True)
class Row:
    """What became of a check: ok, FAIL or not run."""

    check: Check
    result: str
    found: str


def run_checks(bench: Bench, checks: tuple[Check, ...] = CHECKS, seconds: float = LIMIT_SECONDS) -> Iterator[Row]:
    """A row for each check in order, whatever becomes of it."""
    # Forked from a process that has imported everything and has never touched a GPU.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["benchmarks.gpu_check.checks"])
    deadline = time.monotonic() + seconds
    for check in checks:
        left = deadline - time.monotonic()
        if left <= 0:
            yield Row(check, "not run", f"the {seconds:.0f} s for all checks were over")
            continue
        log = bench.work / "log.txt"
        log.write_text("")
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=_in_child, args=(check, bench, theirs, log))
        began = time.monotonic()
        process.start()
        theirs.close()
        result, found = _wait(ours, left)
        _end_group(process.pid)
        process.kill()  # it may not have had the time to make a group
        process.join()
        if result == "died":
            ended = process.exitcode or 0
            how = f"killed by {signal.Signals(-ended).name}" if ended < 0 else f"exit status {ended}"
            result, found = "FAIL", f"its process ended: {how}"
        print(f"{check.name}: {result}, {time.monotonic() - began:.0f} s", flush=True)
        if result == "FAIL":
            print(f"{log.read_text(errors='replace')[-3000:]}\n{check.name}: {found}", file=sys.stderr, flush=True)
        yield Row(check, result, found)


def _wait(answers: Connection, seconds: float) -> tuple[str, str]:
    if not answers.poll(seconds):
        return "FAIL", f"not done in the {seconds:.0f} s that were left"
    try:
        result, found = answers.recv()
    except EOFError:
        return "died", ""
    return result, found


def _end_group(pid: int | None) -> None:
    """The check's process and all that it has started have ended."""
    assert pid is not None
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def _in_child(check: Check, bench: Bench, answers: Connection, log: Path) -> None:
    os.setsid()
    with open(log, "w", buffering=1) as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    try:
        found = check.run(bench)
        answers.send(("ok" if found.good else "FAIL", found.text))
    except CannotRun as reason:
        answers.send(("not run", str(reason)))
    except Exception as error:  # noqa: BLE001 (it becomes the row)
        traceback.print_exc()
        first = (str(error).splitlines() or [""])[0]
        answers.send(("FAIL", f"{type(error).__name__}: {first}"[:300]))
