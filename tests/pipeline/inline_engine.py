"""The simplest engine: one group after the other in this process, where tests can reach in."""

from collections.abc import Iterator, Sequence

from pipeline.build.engines.tasks import Event, FramesDone, TaskQueue, attempt
from pipeline.build.group import GroupTask


class InlineEngine:
    """Builds groups in this process."""

    def run(self, tasks: Sequence[GroupTask]) -> Iterator[Event]:
        """Events until every task is done or has failed; a group's progress comes after its end."""
        queue = TaskQueue(tasks)
        while (task := queue.next()) is not None:
            reports: list[int] = []
            outcome = attempt(task, reports.append)
            yield FramesDone(sum(reports))
            yield from queue.settle(task, outcome, sum(reports))
