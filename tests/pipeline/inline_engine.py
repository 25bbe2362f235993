"""The simplest engine: one task after the other in this process, where tests can reach in."""

from pipeline.build.engines.tasks import TaskQueue, attempt


class InlineEngine:
    """Runs tasks in this process."""

    def run(self, queue: TaskQueue) -> None:
        """Every task is done or has failed; a task's progress comes after its end."""
        while (task := queue.next()) is not None:
            reports: list[int] = []
            outcome = attempt(task, reports.append)
            queue.report(task.index, sum(reports))
            queue.settle(task, outcome)
