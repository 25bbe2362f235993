"""Progress on stderr: a bar with rate and time left in a terminal, now and then a plain line elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from pipeline.look.wording import count, duration

_LINE_SECONDS = 10.0


class Report(Protocol):
    """Told how far the work is."""

    def __call__(self, done: int, total: int) -> None: ...


@contextmanager
def progress(what: str, unit: str) -> Iterator[Report]:
    """Yield a function that is told (done, total) and keeps whoever waits informed; stdout stays untouched."""
    if sys.stderr.isatty():
        with _bar(what, unit) as report:
            yield report
    else:
        yield _lines(what, unit)


@contextmanager
def _bar(what: str, unit: str) -> Iterator[Report]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TextColumn(f"{{task.completed:,.0f}}/{{task.total:,.0f}} {unit} {{task.fields[rate]}}"),
        TimeRemainingColumn(compact=True),
    )
    started = time.monotonic()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(what, total=None, rate="")

        def report(done: int, total: int) -> None:
            rate = done / max(time.monotonic() - started, 1e-3)
            bars.update(task, completed=done, total=total, rate=f"{count(rate)}/s")

        yield report


def _lines(what: str, unit: str) -> Report:
    started = last = time.monotonic()

    def report(done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < _LINE_SECONDS or not done:
            return
        last = now
        left = duration((now - started) / done * (total - done))
        sys.stderr.write(f"{what}: {count(done)} of {count(total)} {unit}, {left} left\n")
        sys.stderr.flush()

    return report
