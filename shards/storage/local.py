"""Datasets in a folder."""

import os
from collections import OrderedDict
from pathlib import Path

_KEPT_FILES = 16


class LocalStorage:
    """Files in a folder; the last few stay open."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._open: OrderedDict[str, int] = OrderedDict()

    def read(self, name: str) -> bytes:
        return (self._root / name).read_bytes()

    def read_range(self, name: str, start: int, stop: int) -> bytes:
        descriptor = self._descriptor(name)
        parts = []
        while start < stop:  # one call gives at most 2 GiB, and may give less
            part = os.pread(descriptor, stop - start, start)
            if not part:
                break
            parts.append(part)
            start += len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def size(self, name: str) -> int | None:
        try:
            return (self._root / name).stat().st_size
        except FileNotFoundError:
            return None

    def prefetch(self, name: str, start: int, stop: int) -> None:
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(self._descriptor(name), start, stop - start, os.POSIX_FADV_WILLNEED)

    def forget(self, name: str, start: int, stop: int) -> bool:  # noqa: ARG002 (a folder keeps no copies)
        return False

    def __getstate__(self) -> dict[str, object]:
        return {"_root": self._root, "_open": OrderedDict()}

    def __del__(self) -> None:
        for descriptor in getattr(self, "_open", {}).values():
            os.close(descriptor)

    def _descriptor(self, name: str) -> int:
        if name not in self._open:
            self._open[name] = os.open(self._root / name, os.O_RDONLY)
            if len(self._open) > _KEPT_FILES:
                os.close(self._open.popitem(last=False)[1])
        self._open.move_to_end(name)
        return self._open[name]
