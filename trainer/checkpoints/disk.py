"""Writing to a disk that may be full: the run waits for room instead of losing what it has computed."""

import errno
import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

from shards.display.wording import size
from shards.errors import RocketError

WAIT_SECONDS = 600.0
"""How long a write waits for room before it gives up."""
SECONDS_BETWEEN_TRIES = 2.0
_FULL = (errno.ENOSPC, errno.EDQUOT)


def write_when_room(write: Callable[[], None], path: Path, num_bytes: int) -> None:
    """`write` has succeeded; on a full disk it is tried again, and one line on standard error asks for room.

    Raises:
        RocketError: after `WAIT_SECONDS`.
    """
    began = time.monotonic()
    asked = False
    while True:
        try:
            return write()
        except OSError as error:
            if error.errno not in _FULL:
                raise
            free = size(shutil.disk_usage(path.parent).free)
            problem = f"{path}: the disk is full ({error.strerror}), got {free} free, expected {size(num_bytes)}."
            if time.monotonic() - began > WAIT_SECONDS:
                raise RocketError(f"{problem} Make room, then continue with --resume auto.") from error
        if not asked:
            asked = True
            sys.stderr.write(f"{problem} The run waits {WAIT_SECONDS / 60:.0f} minutes for you to make room.\n")
            sys.stderr.flush()
        time.sleep(SECONDS_BETWEEN_TRIES)


def write_atomically(path: Path, content: bytes | memoryview) -> None:
    """The file holds the content, also after a power cut; readers see the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.part")
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
