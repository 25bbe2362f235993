"""The slots of a rank's batches, in anonymous memory that the trainer shares with its loader processes.

It has no name and no file: it goes when the last process does, however that ends, and a small /dev/shm (as in
containers) does not limit it.
"""

import mmap
import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.data.layout import BatchLayout


class SharedSlots:
    """`num_slots` batches of a layout; `fd` opens them in a process that inherits it."""

    def __init__(self, layout: BatchLayout, num_slots: int, fd: int | None = None) -> None:
        num_bytes = layout.slot_bytes * num_slots
        if fd is None:
            fd = os.memfd_create("rocket-batches")
            os.ftruncate(fd, num_bytes)
        self.fd, self._layout = fd, layout
        self._map = mmap.mmap(fd, num_bytes)

    def whole(self) -> NDArray[np.uint8]:
        """The memory of all slots."""
        return np.frombuffer(self._map, np.uint8)

    def slot(self, slot: int) -> NDArray[np.uint8]:
        """A new array over the memory of a slot; views of it keep it, and only it, alive."""
        num_bytes = self._layout.slot_bytes
        return np.frombuffer(self._map, np.uint8, num_bytes, slot * num_bytes)

    def row(self, slot: int, row: int) -> dict[str, NDArray[Any]]:
        """One lane's part of each field of a slot."""
        return {name: array[row, ...] for name, array in self._layout.views(self.slot(slot)).items()}

    def close_fd(self) -> None:
        """The descriptor is closed; arrays stay usable."""
        os.close(self.fd)
