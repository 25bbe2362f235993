"""What each loader can do besides being fast, really tried: lanes, the same order anywhere, exact resume.

Every loader walks through an epoch and tells which window each place of the batch got in each step.
"""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.loading import Contender
from benchmarks.measure import ProgramFailed
from benchmarks.report import Table

Rows = list[list[Any]]
_STOP_AFTER = 3


def try_all(entrants: list[Contender], num_frames: Mapping[str, Mapping[str, int]]) -> Table:
    """The table of abilities; `num_frames` holds for each dataset how long its episodes are."""
    result = Table(
        "Lanes and resume, tried",
        [
            "",
            "broken lane transitions",
            "two ranks: steps, episodes cut between them",
            "order with 2 workers as with 0",
            f"resumed after {_STOP_AFTER} batches",
            "with other workers",
            "on two ranks",
            "first batch after resume",
        ],
    )
    for entrant in entrants:
        print(f"  {entrant.title}", flush=True)
        result.add(entrant.title, *_try(entrant, num_frames[entrant.name]))
    return result


def _try(entrant: Contender, num_frames: Mapping[str, int]) -> list[str]:
    alone = replace(entrant, num_workers=0)
    with_workers = replace(entrant, num_workers=2)
    rows: Rows = with_workers.run("walk")["rows"]
    broken, transitions = count_broken(rows, num_frames)
    order = "the same" if alone.run("walk")["rows"] == rows else "another"
    cells = [f"{broken} of {transitions}", _two_ranks(with_workers, num_frames), order]
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder) / "state"
        try:
            with_workers.run("walk", "--batches", str(_STOP_AFTER), "--state-out", str(state))
        except ProgramFailed as problem:
            return [*cells, f"not able: {_reason(problem)}", "", "", ""]
        resume = ("--state-in", str(state))
        seconds = []
        for contender in (with_workers, alone):
            try:
                done = contender.run("walk", *resume)
                seconds.append(done["first_batch_seconds"])
                cells.append(_compare(done["rows"], rows[_STOP_AFTER:]))
            except ProgramFailed as problem:
                cells.append(f"not able: {_reason(problem)}")
        try:
            cells.append(_compare(_join(_run_ranks(with_workers, *resume)), rows[_STOP_AFTER:]))
        except ProgramFailed as problem:
            cells.append(f"not able: {_reason(problem)}")
    return [*cells, f"{min(seconds):.1f} s" if seconds else ""]


def count_broken(rows: Rows, num_frames: Mapping[str, int]) -> tuple[int, int]:
    """Transitions of a place of the batch to a window that does not follow, and all transitions."""
    broken = total = 0
    for before, after in pairwise(rows):
        for previous, current in zip(before, after, strict=False):
            total += 1
            if previous is None:
                broken += current is not None and current[1] != 0
            elif previous[2] < num_frames[previous[0]]:
                broken += current is None or current[:2] != [previous[0], previous[2]]
            else:
                broken += current is not None and current[1] != 0
    return broken, total


def _two_ranks(entrant: Contender, num_frames: Mapping[str, int]) -> str:
    """Steps of each of two ranks, and how many episodes both of them read."""
    try:
        ranks = _run_ranks(entrant)
    except ProgramFailed as problem:
        return f"not able: {_reason(problem)}"
    episodes = [{row[0] for rows in rank for row in rows if row is not None} for rank in ranks]
    steps = " and ".join(str(len(rank)) for rank in ranks)
    return f"{steps}, {len(episodes[0] & episodes[1])} of {len(num_frames)}"


def _run_ranks(entrant: Contender, *words: str) -> list[Rows]:
    """The walks of two processes of one group."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = str(found.getsockname()[1])

    def run(rank: int) -> Rows:
        place = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
        group = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "NODE_RANK": "0", "GROUP_RANK": "0"}
        rows: Rows = entrant.run("walk", *words, **place, **group)["rows"]
        return rows

    with ThreadPoolExecutor(2) as threads:
        return list(threads.map(run, range(2)))


def _join(ranks: Sequence[Rows]) -> Rows:
    """Global batches."""
    return [[row for rows in step for row in rows] for step in zip(*ranks, strict=False)]


def _compare(rows: Rows, expected: Rows) -> str:
    if rows == expected:
        return "exactly"
    flat = [row for step in rows for row in step]
    wanted = [row for step in expected for row in step]
    missing = sum(row not in flat for row in wanted)
    again = sum(row not in wanted for row in flat)
    if not missing and not again:
        return "the same windows in another order"
    return f"{missing} of {len(wanted)} windows missing, {again} again"


def _reason(problem: ProgramFailed) -> str:
    lines = [line.strip() for line in str(problem).splitlines() if line.strip()]
    last = next((line for line in reversed(lines) if "Error" in line), lines[-1])
    return last.split(": ", 1)[-1][:160]
