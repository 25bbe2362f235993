"""A worker process of the local engine: takes tasks from a socket, builds them, reports back.

Run as `python -m pipeline.build.engines.worker FD`.
"""

from __future__ import annotations

import signal
import sys
from multiprocessing.connection import Connection

_REPORTED = "frames"
ENDED = "ended"


def main(descriptor: int) -> None:
    """Serve tasks until the other end of the socket is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business
    from pipeline.build.engines.outcome import attempt

    connection: Connection = Connection(descriptor)
    try:
        while True:
            task = connection.recv()
            outcome = attempt(task, lambda num_frames: connection.send((_REPORTED, num_frames)))
            connection.send((ENDED, outcome))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return


if __name__ == "__main__":
    main(int(sys.argv[1]))
