"""A block of anonymous memory that the trainer shares with its loader processes.

It has no name and no file: it goes when the last process does, however that ends, and a small /dev/shm (as in
containers) does not limit it.
"""

import mmap
import os
import tempfile

import numpy as np
from numpy.typing import NDArray


class SharedBlock:
    """`num_bytes` of shared memory; `fd` opens it in a process that inherits it."""

    def __init__(self, num_bytes: int, fd: int | None = None) -> None:
        if fd is None:
            fd = _anonymous_file()
            os.ftruncate(fd, num_bytes)
        self.fd = fd
        self._map = mmap.mmap(fd, num_bytes)

    def array(self, offset: int, num_bytes: int) -> NDArray[np.uint8]:
        """A new array over bytes [offset, offset + num_bytes); views of it keep it, and only it, alive."""
        return np.frombuffer(self._map, np.uint8, num_bytes, offset)

    def close_fd(self) -> None:
        """The descriptor is closed; arrays stay usable."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def _anonymous_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("rocket-batches")
    with tempfile.TemporaryFile() as file:  # systems other than Linux
        return os.dup(file.fileno())
