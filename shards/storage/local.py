"""What a place that holds datasets can do; datasets in a folder."""

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

    def prefetch(self, name: str, start: int, stop: int) -> None:
        """That range will be read soon."""

    def forget(self, name: str, start: int, stop: int) -> bool:
        """No copy of that range is kept; whether reading it again can give anything else."""


class LocalStorage:
    """Files in a folder, opened for each read: a clip is much to read."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def read(self, name: str) -> bytes:
        return (self._root / name).read_bytes()

    def read_range(self, name: str, start: int, stop: int) -> bytes:
        with open(self._root / name, "rb") as file:
            file.seek(start)
            return file.read(stop - start)

    def size(self, name: str) -> int | None:
        try:
            return (self._root / name).stat().st_size
        except FileNotFoundError:
            return None

    def prefetch(self, name: str, start: int, stop: int) -> None:
        if hasattr(os, "posix_fadvise"):
            with open(self._root / name, "rb") as file:
                os.posix_fadvise(file.fileno(), start, stop - start, os.POSIX_FADV_WILLNEED)

    def forget(self, name: str, start: int, stop: int) -> bool:  # noqa: ARG002 (a folder keeps no copies)
        return False
