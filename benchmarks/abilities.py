"""What each loader can do besides being fast, really tried: lanes, the same order anywhere, exact resume.

Every loader walks through an epoch and tells which window each place of the batch got in each step.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
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
    alone, with_workers = replace(entrant, num_workers=0), replace(entrant, num_workers=2)
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder) / "state"
        whole = with_workers.run("walk", "--batches", str(_STOP_AFTER), "--state-out", str(state))
        rows: Rows = whole["rows"]
        broken, transitions = count_broken(rows, num_frames)
        cells = [
            f"{broken} of {transitions}",
            _attempt(lambda: _two_ranks(_run_ranks(with_workers), num_frames)),
            _attempt(lambda: "the same" if alone.run("walk")["rows"] == rows else "another"),
        ]
        if not state.exists():
            return [*cells, f"not able: {whole['no_state']}", "", "", ""]
        rest, resume = rows[_STOP_AFTER:], ("--state-in", str(state))
        seconds: list[float] = []

        def resumed(contender: Contender) -> str:
            done = contender.run("walk", *resume)
            seconds.append(done["first_batch_seconds"])
            return _compare(done["rows"], rest)

        cells += [
            _attempt(lambda: resumed(with_workers)),
            _attempt(lambda: resumed(alone)),
            _attempt(lambda: _compare(_join(_run_ranks(with_workers, *resume)), rest)),
        ]
    return [*cells, f"{min(seconds):.1f} s" if seconds else ""]


def _attempt(trial: Callable[[], str]) -> str:
    """What the trial found, or the error that it gave."""
    try:
        return trial()
    except ProgramFailed as problem:
        return f"not able: {problem.reason()}"


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


def _two_ranks(ranks: list[Rows], num_frames: Mapping[str, int]) -> str:
    """Steps of each of two ranks, and how many episodes both of them read."""
    episodes = [{row[0] for rows in rank for row in rows if row is not None} for rank in ranks]
    steps = " and ".join(str(len(rank)) for rank in ranks)
    return f"{steps}; {len(episodes[0] & episodes[1])} of {len(num_frames)}"


def _run_ranks(entrant: Contender, *words: str) -> list[Rows]:
    """The walks of two processes of one group."""
    return [done["rows"] for done in entrant.run("walk", *words, program="two_ranks")["ranks"]]


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
