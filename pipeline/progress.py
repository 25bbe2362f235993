"""How far a run is, on stderr: a bar with rate and time left, or plain lines where nobody watches."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from shards.display.wording import duration

_SECONDS_BETWEEN_LINES = 10.0


class ProgressReport:
    """What a run tells while it works; this one shows nothing of it."""

    def start(self, title: str, total: int, unit: str) -> None:
        """A stage with so many units of work begins; the last one has ended."""

    def advance(self, count: int) -> None:
        """So many units more are done; may be negative."""

    def note(self, message: str) -> None:
        """The user sees the message."""


class PlainLines(ProgressReport):
    """A line on stderr every ten seconds, for logs."""

    def __init__(self) -> None:
        self._title = self._unit = ""
        self._total = self._done = 0
        self._began = self._last_line = 0.0

    def start(self, title: str, total: int, unit: str) -> None:
        self.end_stage()
        self._title, self._total, self._unit, self._done = title, total, unit, 0
        self._began = self._last_line = time.monotonic()

    def advance(self, count: int) -> None:
        self._done += count
        self._total = max(self._total, self._done)  # an estimate may be too low
        if time.monotonic() - self._last_line >= _SECONDS_BETWEEN_LINES:
            self._line()

    def note(self, message: str) -> None:
        sys.stderr.write(message + "\n")
        sys.stderr.flush()

    def end_stage(self) -> None:
        """What the last stage took has been told."""
        if self._total:
            self.note(f"{self._title}: {self._done} {self._unit} in {duration(time.monotonic() - self._began)}")

    def _line(self) -> None:
        self._last_line = time.monotonic()
        rate = self._done / max(self._last_line - self._began, 1e-9)
        left = (self._total - self._done) / rate if rate > 0 else 0.0
        share = 100 * self._done / self._total if self._total else 100.0
        self.note(
            f"{self._title}: {self._done} of {self._total} {self._unit} ({share:.0f} %), "
            f"{rate:.0f} {self._unit}/s, {duration(left)} left"
        )


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        unit = task.fields["unit"]
        return Text(f"{task.speed:,.0f} {unit}/s" if task.speed else f"- {unit}/s")


class Bar(ProgressReport):
    """A bar on a terminal."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task: TaskID | None = None

    def start(self, title: str, total: int, unit: str) -> None:
        if self._task is not None:
            self._progress.stop_task(self._task)
        self._task = self._progress.add_task(title, total=total, unit=unit)

    def advance(self, count: int) -> None:
        assert self._task is not None, "start comes first"
        self._progress.advance(self._task, count)
        task = next(task for task in self._progress.tasks if task.id == self._task)
        if task.total is not None and task.completed > task.total:  # an estimate
            self._progress.update(self._task, total=task.completed)

    def note(self, message: str) -> None:
        self._progress.console.print(message, markup=False, highlight=False)


@contextmanager
def progress_on_stderr() -> Iterator[ProgressReport]:
    """A bar if stderr is a terminal, else plain lines."""
    if not sys.stderr.isatty():
        lines = PlainLines()
        yield lines
        lines.end_stage()
        return
    columns = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Rate(), TextColumn("left:")]
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as progress:
        yield Bar(progress)
