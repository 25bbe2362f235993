"""The local engine: worker processes on this machine, each with an ffmpeg of its own."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path

from pipeline.build.engines import Event, FramesDone
from pipeline.build.engines.outcome import Outcome
from pipeline.build.engines.task_queue import TaskQueue
from pipeline.build.engines.worker import ENDED
from pipeline.build.group import GroupTask
from pipeline.processes import die_with_parent


@dataclass
class _Worker:
    process: subprocess.Popen[bytes]
    connection: Connection
    task: GroupTask | None = None
    frames_reported: int = 0


class LocalEngine:
    """Builds groups in `num_workers` processes that end with this one, however it ends."""

    def __init__(self, num_workers: int) -> None:
        assert num_workers > 0
        self._num_workers = num_workers

    def run(self, tasks: Sequence[GroupTask]) -> Iterator[Event]:
        """Events until every task is done or has failed, in the order in which they happen."""
        queue = TaskQueue(tasks)
        workers: list[_Worker] = []
        try:
            while True:
                while len(workers) < self._num_workers and (task := queue.next()) is not None:
                    workers.append(_start(task))
                if not workers:
                    return
                for connection in wait([worker.connection for worker in workers]):
                    worker = next(worker for worker in workers if worker.connection is connection)
                    yield from _listen(worker, queue)
                    if worker.task is None:
                        task = queue.next()
                        if task is None or worker.process.poll() is not None:
                            if task is not None:
                                queue.put_back(task)
                            workers.remove(worker)
                            _end(worker)
                        else:
                            _give(worker, task)
        finally:
            for worker in workers:
                _end(worker)


def _start(task: GroupTask) -> _Worker:
    ours, theirs = socket.socketpair()
    # The package may not be installed: the worker finds it where this process did.
    package_root = str(Path(__file__).resolve().parents[2])
    paths = [package_root, *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", "pipeline.build.engines.worker", str(theirs.fileno())],
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            env=environment,
            start_new_session=True,
            preexec_fn=die_with_parent(),  # noqa: PLW1509 (only a system call, made with the GIL held)
        )
    worker = _Worker(process, Connection(ours.detach()))
    _give(worker, task)
    return worker


def _give(worker: _Worker, task: GroupTask) -> None:
    worker.task, worker.frames_reported = task, 0
    # If it died just now, reading from it will tell.
    with contextlib.suppress(OSError):
        worker.connection.send(task)


def _listen(worker: _Worker, queue: TaskQueue) -> Iterator[Event]:
    """One message of a worker as events; afterwards `worker.task` is None if the task is no longer its own."""
    task = worker.task
    assert task is not None
    try:
        kind, content = worker.connection.recv()
    except (EOFError, OSError):
        worker.process.wait()
        content = Outcome(f"a worker process ended with status {worker.process.returncode}", killed=True)
        kind = ENDED
    if kind != ENDED:
        worker.frames_reported += content
        yield FramesDone(content)
        return
    worker.task = None
    yield from queue.settle(task, content, worker.frames_reported)


def _end(worker: _Worker) -> None:
    worker.connection.close()
    if worker.task is not None:
        worker.process.kill()
    worker.process.wait()
