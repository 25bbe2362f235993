"""The Ray engine: the same tasks on a cluster, whose nodes share the sources' and the output's storage.

A task is given again when the node that had it dies. This process alone keeps the account; Ray's retries are off,
so that a task is never at work twice on purpose, and twice by accident is harmless: files are renamed into place.
"""

import time
from pathlib import Path
from typing import Any

from pipeline.build.engines.tasks import Outcome, Task, TaskQueue, attempt
from shards.errors import RocketError
from shards.places import install_command

_POLL_SECONDS = 1.0
_REPORT_SECONDS = 2.0


class RayEngine:
    """Runs tasks on the Ray cluster of `RAY_ADDRESS`, or one of this machine where there is none."""

    def __init__(self, num_workers: int | None = None, gpus_per_task: int = 0) -> None:
        """Nothing is started yet, but Ray is installed.

        Args:
            num_workers: tasks at a time; None: as many as the cluster has cores, or GPUs if tasks need them.
            gpus_per_task: GPUs that each task has for itself.

        Raises:
            RocketError: Ray is not installed.
        """
        try:
            import ray
            import ray.util.queue
            import ray.util.scheduling_strategies
        except ImportError as error:
            raise RocketError(
                "--engine ray: the package ray is not installed, got none, expected one. "
                f"Run: {install_command('ray')}"
            ) from error
        self._ray: Any = ray
        self._num_workers, self._gpus_per_task = num_workers, gpus_per_task

    def run(self, queue: TaskQueue) -> None:
        """Every task of the queue is done or has failed."""
        started = self._connect()
        # On this node: the account of progress must not go down with another one.
        here = self._ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
            self._ray.get_runtime_context().get_node_id(), soft=False
        )
        reports = self._ray.util.queue.Queue(actor_options={"num_cpus": 0, "scheduling_strategy": here})
        # A node's death is settled here, where tries are counted.
        work = self._ray.remote(
            num_cpus=1, num_gpus=self._gpus_per_task, max_retries=0, scheduling_strategy="SPREAD"
        )(_work)
        running: dict[Any, Task] = {}
        try:
            while True:
                while len(running) < self._limit() and (task := queue.next()) is not None:
                    running[work.remote(task, reports)] = task
                if not running:
                    return
                done, _ = self._ray.wait(list(running), timeout=_POLL_SECONDS)
                _tell(queue, reports)
                for reference in done:
                    task = running.pop(reference)
                    outcome = self._outcome(reference)
                    _tell(queue, reports)
                    queue.settle(task, outcome)
        finally:
            for reference in running:
                self._ray.cancel(reference, force=True)
            reports.shutdown(force=True)
            if started:
                self._ray.shutdown()

    def _connect(self) -> bool:
        """There is a connection to a cluster; True if it is this call's."""
        if self._ray.is_initialized():
            return False
        package_root = str(Path(__file__).resolve().parents[3])
        try:
            self._ray.init(
                log_to_driver=False,
                logging_level="error",
                # The package may not be installed: workers find it where this process did.
                runtime_env={"env_vars": {"PYTHONPATH": package_root, "OMP_NUM_THREADS": "1"}},
            )
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise RocketError(
                f"--engine ray: no cluster, got {' '.join(str(error).split())}. "
                "Start one with: ray start --head, or unset RAY_ADDRESS"
            ) from error
        return True

    def _limit(self) -> int:
        if self._num_workers is not None:
            return self._num_workers
        # Asked for each time: nodes come and go.
        resources = self._ray.cluster_resources()
        if self._gpus_per_task:
            return max(1, int(resources.get("GPU", 0)) // self._gpus_per_task)
        return max(1, int(resources.get("CPU", 1)))

    def _outcome(self, reference: Any) -> Outcome:
        try:
            outcome: Outcome = self._ray.get(reference)
            return outcome
        except self._ray.exceptions.RayTaskError as error:
            return Outcome(f"a Ray task failed: {error.cause!r}.", stop=True, crash=str(error))
        except self._ray.exceptions.RayError as error:
            return Outcome(f"a Ray worker or node died ({type(error).__name__}).", killed=True)


def _tell(queue: TaskQueue, reports: Any) -> None:
    """What tasks reported since the last call is told."""
    for index, num_frames in reports.get_nowait_batch(reports.qsize()):
        queue.report(index, num_frames)


def _work(task: Task, reports: Any) -> Outcome:
    """Runs on a node; `reports` gets (task, frames done since its last report)."""
    waiting = 0
    last = time.monotonic()

    def report(num_frames: int) -> None:
        nonlocal waiting, last
        waiting += num_frames
        if time.monotonic() - last >= _REPORT_SECONDS:
            reports.put((task.index, waiting))
            waiting, last = 0, time.monotonic()

    outcome = attempt(task, report)
    reports.put((task.index, waiting))
    return outcome
