"""What engines have in common: tasks, running one, which is next, and what becomes of them."""

import traceback
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from pipeline.build.folder import cannot_write
from pipeline.transcode.encoding import EncodingFailed
from shards.errors import RocketError

if TYPE_CHECKING:  # a worker draws no bar
    from pipeline.progress import ProgressReport

_REPORT_FRAMES = 50

MAX_TRIES = 3
"""How often a task is tried whose worker or ffmpeg was killed."""

Progress = Callable[[int], None]
"""Called with a number of source frames that are done since the last call; negative where some are done again."""


@dataclass(frozen=True)
class Task:
    """A piece of work that any process may do; small and picklable.

    Attributes:
        index: its number among the run's tasks.
        name: what it is called in messages.
        num_frames: the source frames that it is expected to take.
        place: where `run` writes its files.
    """

    index: int
    name: str
    num_frames: int
    place: Path
    run: Callable[[Progress], None]


class FrameCounter:
    """Reports a task's progress in steps, and in the end exactly the expected number of frames."""

    def __init__(self, expected: int, progress: Progress) -> None:
        self._expected, self._progress = expected, progress
        self._done = self._reported = 0

    def add(self, num_frames: int = 1) -> None:
        self._done = min(self._done + num_frames, self._expected)
        if self._done - self._reported >= _REPORT_FRAMES:
            self._report(self._done)

    def undo(self) -> None:
        """None are done: the task begins again."""
        self._done = 0
        self._report(0)

    def finish(self) -> None:
        self._report(self._expected)

    def _report(self, done: int) -> None:
        if done != self._reported:
            self._progress(done - self._reported)
        self._reported = done


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a task ended, in words that another process can read.

    Attributes:
        problem: None if its files are written, else one line for the user.
        killed: it may go well the next time.
        stop: it will go wrong for every other group, too.
        crash: a traceback where the fault is the program's.
    """

    problem: str | None = None
    killed: bool = False
    stop: bool = False
    crash: str | None = None


def attempt(task: Task, progress: Progress) -> Outcome:
    """Run a task; nothing is raised but what ends the process."""
    try:
        task.run(progress)
    except EncodingFailed as error:
        return Outcome(str(error), killed=error.killed, stop=error.disk_full)
    except RocketError as error:
        return Outcome(str(error))
    except OSError as error:
        return Outcome(cannot_write(error, task.place), stop=True)
    except Exception as error:  # noqa: BLE001 (whatever it is, the parent has to know)
        return Outcome(f"{task.name}: {error!r}", stop=True, crash=traceback.format_exc())
    return Outcome()


class TaskQueue:
    """Tasks that wait, the longest first, so that no long one is left for the end; and what became of the others.

    Attributes:
        progress: told how many source frames are done.
        failures: a line for each task that cannot be done now.
    """

    def __init__(self, tasks: Sequence[Task], progress: "ProgressReport", done: Callable[[int], None]) -> None:
        """All tasks wait; `done` is called with the index of each that is done."""
        self.progress, self.failures = progress, list[str]()
        self._tasks = deque(sorted(tasks, key=lambda task: (-task.num_frames, task.index)))
        self._done = done
        self._tries, self._reported = Counter[int](), Counter[int]()
        self._stopped = False

    def next(self) -> Task | None:
        """The task to start now; None if none waits."""
        return None if self._stopped or not self._tasks else self._tasks.popleft()

    def report(self, index: int, num_frames: int) -> None:
        """So many frames more of the task of that number are done."""
        self._reported[index] += num_frames
        self.progress.advance(num_frames)

    def settle(self, task: Task, outcome: Outcome) -> None:
        """A task has ended: it is done, waits again, or has failed; unless it is done, its frames are not."""
        num_frames = self._reported.pop(task.index, 0)
        if outcome.problem is None:
            self._done(task.index)
            return
        if num_frames:
            self.progress.advance(-num_frames)
        self._tries[task.index] += 1
        if outcome.killed and self._tries[task.index] < MAX_TRIES:
            self._tasks.append(task)
            problem = outcome.problem.removesuffix(" Run again with --resume.")
            self.progress.note(f"{task.name}: {problem} Trying again.")
            return
        self._stopped = self._stopped or outcome.stop
        if outcome.crash is not None:
            self.progress.note(outcome.crash)
        self.failures.append(outcome.problem)


class Engine(Protocol):
    """Runs tasks; where it is interrupted, all of its processes end."""

    def run(self, queue: TaskQueue) -> None:
        """Every task of the queue is done or has failed."""
        ...


def run_tasks(
    engine: Engine,
    tasks: Sequence[Task],
    progress: "ProgressReport",
    unit: str,
    done: Callable[[int], None] = lambda _: None,
) -> None:
    """All tasks are done, and `done` was called with the index of each.

    Raises:
        RocketError: some have failed, each a `unit`, such as "group".
    """
    queue = TaskQueue(tasks, progress, done)
    if tasks:
        engine.run(queue)
    if queue.failures:
        num_others = len(queue.failures) - 1
        others = f" {num_others} more {unit}s failed." if num_others else ""
        raise RocketError(f"{queue.failures[0]}{others}")
