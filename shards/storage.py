"""Reading a dataset's files whole or by byte range."""

import os
from pathlib import Path
from typing import Protocol


class Storage(Protocol):
    """Where a dataset's files lie."""

    def read(self, name: str) -> bytes:
        """A file's bytes; FileNotFoundError where there is none."""

    def read_range(self, name: str, start: int, stop: int) -> bytes:
        """Bytes [start, stop) of a file, fewer where it ends before."""

    def size(self, name: str) -> int | None:
        """A file's size in bytes; None where there is none."""


class LocalStorage:
    """Files in a folder."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def read(self, name: str) -> bytes:
        return (self._root / name).read_bytes()

    def read_range(self, name: str, start: int, stop: int) -> bytes:
        descriptor = os.open(self._root / name, os.O_RDONLY)
        try:
            return os.pread(descriptor, stop - start, start)
        finally:
            os.close(descriptor)

    def size(self, name: str) -> int | None:
        try:
            return (self._root / name).stat().st_size
        except FileNotFoundError:
            return None


def open_storage(path: str) -> Storage:
    """The storage at a folder."""
    return LocalStorage(Path(path))
