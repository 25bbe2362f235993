"""The simplest engine: one task after the other in this process, where tests can reach in."""

from collections.abc import Iterator, Sequence

from pipeline.build.engines.tasks import Event, FramesDone, Task, TaskQueue, attempt


class InlineEngine:
    """Runs tasks in this process."""

    def run(self, tasks: Sequence[Task]) -> Iterator[Event]:
        """Events until every task is done or has failed; a task's progress comes after its end."""
        queue = TaskQueue(tasks)
        while (task := queue.next()) is not None:
            reports: list[int] = []
            outcome = attempt(task, reports.append)
            yield FramesDone(sum(reports))
            yield from queue.settle(task, outcome, sum(reports))
