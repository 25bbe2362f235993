"""The local engine: worker processes on this machine, each with an ffmpeg of its own.

They are our own and no process pool: a pool breaks as a whole when one of its processes is killed.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait

from pipeline.build.engines.tasks import Outcome, Task, TaskQueue, attempt
from pipeline.processes import clean_path, die_with_parent

_START = (
    "import sys; sys.path[:] = sys.argv[2:]; "
    "from pipeline.build.engines.local import serve; serve(int(sys.argv[1]))"
)

WORKER_SLOT = "ROCKET_PREP_WORKER"
"""Environment variable of a worker: its number among those at work, such as the GPU that it should take."""


@dataclass
class _Worker:
    process: subprocess.Popen[bytes]
    connection: Connection
    slot: int
    task: Task | None = None


class LocalEngine:
    """Runs tasks in processes that end with this one, however it ends."""

    def __init__(self, num_workers: int | None = None) -> None:
        """Nothing is started yet; without a number, there will be a process for each core that may be used."""
        self._num_workers = num_workers or len(os.sched_getaffinity(0))

    def run(self, queue: TaskQueue) -> None:
        """Every task of the queue is done or has failed."""
        workers: list[_Worker] = []
        try:
            while True:
                while len(workers) < self._num_workers and (task := queue.next()) is not None:
                    free = set(range(self._num_workers)) - {worker.slot for worker in workers}
                    workers.append(_start(task, min(free)))
                if not workers:
                    return
                for connection in wait([worker.connection for worker in workers]):
                    worker = next(worker for worker in workers if worker.connection is connection)
                    _listen(worker, queue)
                    if worker.task is None:
                        task = queue.next() if worker.process.poll() is None else None
                        if task is None:
                            workers.remove(worker)
                            _end(worker)
                        else:
                            _give(worker, task)
        finally:
            for worker in workers:
                _end(worker)


def _start(task: Task, slot: int) -> _Worker:
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", _START, str(theirs.fileno()), *clean_path()],
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            env={**os.environ, "OMP_NUM_THREADS": "1", WORKER_SLOT: str(slot)},
            start_new_session=True,
            preexec_fn=die_with_parent(),  # noqa: PLW1509 (only a system call, made with the GIL held)
        )
    worker = _Worker(process, Connection(ours.detach()), slot)
    _give(worker, task)
    return worker


def _give(worker: _Worker, task: Task) -> None:
    worker.task = task
    # If it died just now, reading from it will tell.
    with contextlib.suppress(OSError):
        worker.connection.send(task)


def _listen(worker: _Worker, queue: TaskQueue) -> None:
    """One message of a worker is taken; afterwards `worker.task` is None if the task is no longer its own."""
    task = worker.task
    assert task is not None
    try:
        message: int | Outcome = worker.connection.recv()
    except (EOFError, OSError):
        worker.process.wait()
        message = Outcome(f"a worker process ended with status {worker.process.returncode}", killed=True)
    if isinstance(message, int):
        queue.report(task.index, message)
        return
    worker.task = None
    queue.settle(task, message)


def _end(worker: _Worker) -> None:
    worker.connection.close()
    if worker.task is not None:
        worker.process.kill()
    worker.process.wait()


def serve(descriptor: int) -> None:
    """A worker's side: run tasks from the socket, answer with frames done and the outcome, until it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business
    connection: Connection = Connection(descriptor)
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while True:
            connection.send(attempt(connection.recv(), connection.send))
