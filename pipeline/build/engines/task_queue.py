"""Which task is next, and what becomes of one that has ended."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

from pipeline.build.engines import MAX_TRIES, Event, FramesDone, GroupDone, GroupFailed, Note
from pipeline.build.engines.outcome import Outcome
from pipeline.build.group import GroupTask


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
        yield GroupFailed(group, outcome.problem, outcome.stop)
