"""Reading a dataset's files whole or by byte range, from a folder or from any address that fsspec knows."""

import os
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

_KEPT_FILES = 16


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


@dataclass(frozen=True)
class CacheSettings:
    """A bounded cache on a local disk for datasets that lie elsewhere.

    Attributes:
        folder: where the copies go; the processes of a machine share it.
        max_bytes: what all copies in it may take together.
        fingerprints: of each dataset, by address; a rebuilt dataset never meets copies of the old one.
    """

    folder: str
    max_bytes: int
    fingerprints: Mapping[str, str] = field(default_factory=dict)


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


def open_storage(path: str, cache: CacheSettings | None = None) -> Storage:
    """The storage at a folder or an address such as https://host/dataset or s3://bucket/dataset.

    Args:
        cache: where to keep copies of what is read from an address; folders need none.

    Raises:
        RocketError: if the address needs a package that is not installed.
    """
    if "://" not in path:
        return LocalStorage(Path(path))
    from shards.remote import RemoteStorage

    return RemoteStorage(path, cache)
