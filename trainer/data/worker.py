"""A loader process: reads windows into the shared slots until its socket closes.

It is started as a fresh interpreter, not forked: a fork would inherit the trainer's locks, threads and memory.
"""

import contextlib
import faulthandler
import signal
import socket
import sys
import traceback
from collections import deque
from multiprocessing.connection import Connection

from shards.errors import DamagedClip
from shards.windows import WindowReader
from trainer.data.fill import WindowTask, fill_row
from trainer.data.shared import SharedSlots

_THE_TRAINERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
"""Ctrl-C, a batch system's notice and the like are for the trainer, who may want to save first and needs batches
until then. A loader process ends when its socket closes."""
STACK_SIGNAL = signal.SIGUSR2
"""Asks for the process's stack on stderr; the trainer sends it where a read hangs."""


def main(socket_fd: int, memory_fd: int) -> None:
    """Serve tasks (slot, row, WindowTask) with (DamagedClip | None, fault | None)."""
    for number in _THE_TRAINERS:
        signal.signal(number, signal.SIG_IGN)
    faulthandler.register(STACK_SIGNAL, all_threads=True)
    connection = Connection(socket.socket(fileno=socket_fd).detach())
    try:
        layout, num_slots, cache = connection.recv()
        slots = SharedSlots(layout, num_slots, memory_fd)
        slots.close_fd()
        serve(connection, slots, WindowReader(layout.height, layout.width, cache))
    except (EOFError, ConnectionError):
        sys.exit(0)  # the trainer is gone or has closed the loader


def serve(connection: Connection, slots: SharedSlots, reader: WindowReader) -> None:
    """Answer tasks in order, until the socket closes; what waits behind a task is on its way meanwhile.

    Raises:
        EOFError, ConnectionError: the trainer closed it.
    """
    waiting: deque[tuple[int, int, WindowTask]] = deque()
    while True:
        while not waiting or connection.poll():
            waiting.append(connection.recv())
            with contextlib.suppress(OSError):  # it will come up again, with the window's name
                reader.prefetch(waiting[-1][2].source)
        slot, row, task = waiting.popleft()
        damage: DamagedClip | None = None
        fault: str | None = None
        try:
            damage = fill_row(reader, task, slots.row(slot, row))
        except OSError as error:
            fault = f"{type(error).__name__}: {error}"
        except Exception:  # noqa: BLE001 (the trainer raises it again, with this process's traceback)
            fault = traceback.format_exc()
        connection.send((damage, fault))
