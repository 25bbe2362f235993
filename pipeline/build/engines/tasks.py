"""What engines have in common: the events that they report, running one task, and which task is next."""

from __future__ import annotations

import traceback
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from pipeline.build.folder import cannot_write
from pipeline.build.group import GroupTask, Progress, build_group
from pipeline.transcode.encoding import EncodingFailed
from shards.errors import RocketError

MAX_TRIES = 3
"""How often a group is tried whose worker or ffmpeg was killed."""


@dataclass(frozen=True, slots=True)
class FramesDone:
    """So many source frames more are done; negative where some have to be done again."""

    num_frames: int


@dataclass(frozen=True, slots=True)
class GroupDone:
    """The part of this group is finished."""

    group: int


@dataclass(frozen=True, slots=True)
class GroupFailed:
    """This group cannot be built now; `message` is one line for the user."""

    group: int
    message: str


@dataclass(frozen=True, slots=True)
class Note:
    """Something that the user may want to know, such as a second try."""

    message: str


Event = FramesDone | GroupDone | GroupFailed | Note


class Engine(Protocol):
    """Runs tasks; closing the iterator early ends all of its processes."""

    def run(self, tasks: Sequence[GroupTask]) -> Iterator[Event]:
        """Events until every task is done or has failed, in the order in which they happen."""
        ...


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a task ended, in words that another process can read.

    Attributes:
        problem: None if the part is finished, else one line for the user.
        killed: it may go well the next time.
        stop: it will go wrong for every other group, too.
        crash: a traceback where the fault is the program's.
    """

    problem: str | None = None
    killed: bool = False
    stop: bool = False
    crash: str | None = None


def attempt(task: GroupTask, progress: Progress) -> Outcome:
    """Build a group; nothing is raised but what ends the process."""
    try:
        build_group(task, progress)
    except EncodingFailed as error:
        return Outcome(str(error), killed=error.killed, stop=error.disk_full)
    except RocketError as error:
        return Outcome(str(error))
    except OSError as error:
        return Outcome(cannot_write(error, task.parts), stop=True)
    except Exception as error:  # noqa: BLE001 (whatever it is, the parent has to know)
        return Outcome(f"group {task.group.index}: {error!r}", stop=True, crash=traceback.format_exc())
    return Outcome()


class TaskQueue:
    """Tasks that wait, the longest first, so that no long one is left for the end."""

    def __init__(self, tasks: Sequence[GroupTask]) -> None:
        self._tasks = deque(sorted(tasks, key=lambda task: (-task.group.num_frames, task.group.index)))
        self._tries: dict[int, int] = {}
        self._stopped = False

    def next(self) -> GroupTask | None:
        """The task to start now; None if none waits."""
        return None if self._stopped or not self._tasks else self._tasks.popleft()

    def put_back(self, task: GroupTask) -> None:
        """The task is the next one again."""
        self._tasks.appendleft(task)

    def settle(self, task: GroupTask, outcome: Outcome, frames_reported: int) -> Iterator[Event]:
        """A task has ended: it is done, waits again, or has failed.

        Args:
            task: which.
            outcome: how.
            frames_reported: what its progress adds up to.
        """
        group = task.group.index
        if outcome.problem is None:
            yield GroupDone(group)
            return
        if frames_reported:
            yield FramesDone(-frames_reported)
        self._tries[group] = self._tries.get(group, 0) + 1
        if outcome.killed and self._tries[group] < MAX_TRIES:
            self._tasks.append(task)
            yield Note(f"group {group}: {outcome.problem.removesuffix(' Run again with --resume.')} Trying again.")
            return
        self._stopped = self._stopped or outcome.stop
        if outcome.crash is not None:
            yield Note(outcome.crash)
        yield GroupFailed(group, outcome.problem)
