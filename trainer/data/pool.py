"""The loader processes of a rank: tasks in, answers out, and a clear word when one dies or hangs."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait

from shards.errors import DamagedClip, RocketError
from shards.storage import CacheSettings
from shards.windows import WindowReader
from trainer.data.fill import WindowTask, fill_row
from trainer.data.layout import BatchLayout
from trainer.data.shared import SharedSlots
from trainer.data.worker import STACK_SIGNAL

WINDOW_SECONDS = 600.0
"""How long a loader process may take over a window."""
_START = (
    "import sys; sys.path[:] = sys.argv[3:]; from trainer.data.worker import main; "
    "main(int(sys.argv[1]), int(sys.argv[2]))"
)


@dataclass
class _Worker:
    process: subprocess.Popen[bytes]
    connection: Connection
    tasks: deque[tuple[int, int, WindowTask]] = field(default_factory=deque)
    """What it has not answered: slot, row and window, in the order in which it answers."""


class WorkerPool:
    """Loader processes that fill rows of shared slots; tasks go round in turn, so lanes stay with a process.

    One that dies, hangs or cannot read its storage is an error. With no processes, the rows are filled in this
    one, when the answer is asked for.
    """

    def __init__(self, layout: BatchLayout, num_slots: int, num_workers: int, cache: CacheSettings | None) -> None:
        self._layout, self._cache = layout, cache
        self._timeout_seconds = WINDOW_SECONDS
        self.slots = SharedSlots(layout, num_slots)
        self._num_submitted = 0
        self._local: deque[tuple[int, int, WindowTask]] = deque()
        self._reader = WindowReader(layout.height, layout.width, cache)
        self._workers = [self._start(num_slots) for _ in range(num_workers)]
        self.slots.close_fd()

    def submit(self, slot: int, row: int, task: WindowTask) -> None:
        """The window will be read into that row of that slot."""
        if not self._workers:
            self._local.append((slot, row, task))
            return
        worker = self._workers[self._num_submitted % len(self._workers)]
        self._num_submitted += 1
        worker.tasks.append((slot, row, task))
        try:
            worker.connection.send((slot, row, task))
        except (BrokenPipeError, ConnectionError):
            raise self._died(worker) from None

    def collect(self) -> list[tuple[int, int, DamagedClip | None]]:
        """Slot and row of some finished tasks, one at least, each with the damage that it met.

        Raises:
            RocketError: if a process died, hung, or could not read its storage.
        """
        if not self._workers:
            slot, row, task = self._local.popleft()
            try:
                return [(slot, row, fill_row(self._reader, task, self.slots.row(slot, row)))]
            except OSError as error:
                raise RocketError(_storage_fault(task, f"{type(error).__name__}: {error}")) from error
        busy = {worker.connection: worker for worker in self._workers if worker.tasks}
        ready = wait(list(busy), self._timeout_seconds)
        if not ready:
            raise self._hung(next(iter(busy.values())))
        finished = []
        for connection in ready:
            worker = busy[connection]  # type: ignore[index]
            try:
                damage, fault = worker.connection.recv()
            except (EOFError, ConnectionError):
                raise self._died(worker) from None
            slot, row, task = worker.tasks.popleft()
            if fault is not None:
                raise RocketError(_storage_fault(task, fault))
            finished.append((slot, row, damage))
        return finished

    def close(self) -> None:
        """All processes have ended."""
        for worker in self._workers:
            worker.connection.close()
        deadline = time.monotonic() + 5
        for worker in self._workers:
            try:
                worker.process.wait(max(deadline - time.monotonic(), 0.1))
            except subprocess.TimeoutExpired:
                worker.process.kill()
                worker.process.wait()
        self._workers = []

    @property
    def pids(self) -> list[int]:
        return [worker.process.pid for worker in self._workers]

    def _start(self, num_slots: int) -> _Worker:
        ours, theirs = socket.socketpair()
        command = [sys.executable, "-P", "-c", _START, str(theirs.fileno()), str(self.slots.fd), *sys.path]
        one_thread = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        with theirs:
            process = subprocess.Popen(
                command,
                pass_fds=(theirs.fileno(), self.slots.fd),
                stdin=subprocess.DEVNULL,
                env={**os.environ, **one_thread},
                process_group=0,  # so that the terminal's Ctrl-C reaches the trainer alone
            )
        worker = _Worker(process, Connection(ours.detach()))
        with contextlib.suppress(ConnectionError):  # it died at once: the first task says so
            worker.connection.send((self._layout, num_slots, self._cache))
        return worker

    def _died(self, worker: _Worker) -> RocketError:
        code = worker.process.wait()
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
        return RocketError(
            f"loader process {worker.process.pid}: ended ({how}){_at_work(worker)}, expected it to run until the "
            "training ends. SIGKILL mostly means too little memory: use fewer data.num_workers."
        )

    def _hung(self, worker: _Worker) -> RocketError:
        with contextlib.suppress(ProcessLookupError):
            worker.process.send_signal(STACK_SIGNAL)  # its stack goes to stderr
            time.sleep(0.5)
        return RocketError(
            f"loader process {worker.process.pid}: no answer for {self._timeout_seconds:g} seconds"
            f"{_at_work(worker)}, expected a window. Its stack is on stderr; check the storage."
        )


def _at_work(worker: _Worker) -> str:
    if not worker.tasks:
        return ""
    source = worker.tasks[0][2].source
    return (
        f" while reading {source.dataset}/{source.shard:06d}.tar, episode {source.episode_id}, "
        f"frames {source.start} to {source.stop}"
    )


def _storage_fault(task: WindowTask, fault: str) -> str:
    source = task.source
    return (
        f"{source.dataset}/{source.shard:06d}.tar: episode {source.episode_id}, frames {source.start} to "
        f"{source.stop} cannot be read: {fault}"
    )
