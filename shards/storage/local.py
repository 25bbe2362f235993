"""Datasets in a folder."""

import os
from pathlib import Path


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
