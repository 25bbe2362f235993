"""A bounded cache on a local disk: blocks of remote files, shared by all processes that use the folder.

    FOLDER/<dataset>/000012.tar.000003     block 3 (bytes 24 MiB to 32 MiB) of a shard

A block is written aside and renamed, so a reader sees it whole or not at all. The least recently used blocks go
first when the folder grows past its limit.
"""

import contextlib
import fcntl
import hashlib
import logging
import math
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

BLOCK_BYTES = 8 << 20
_FULL_SHARE, _EMPTIED_SHARE = 0.85, 0.75
"""Shares of the limit at which a clean-up begins and ends. What is above is room for what the processes of a
machine add between two looks, a 512th of the limit each."""
_LOOK_AFTER_SHARE = 1 / 512
_NUM_LOCKS = 16

_log = logging.getLogger(__name__)


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


class BlockCache:
    """Blocks of one dataset's files."""

    def __init__(self, address: str, settings: CacheSettings) -> None:
        name = f"{address}\0{settings.fingerprints.get(address, '')}"
        self._root = Path(settings.folder)
        self._folder = self._root / hashlib.sha256(name.encode()).hexdigest()[:16]
        self._max_bytes = settings.max_bytes
        self._locks = [threading.Lock() for _ in range(_NUM_LOCKS)]  # a block has one of them
        self._added_bytes = math.inf  # look at what others left when the first block is kept
        self._broken = False

    def read(self, name: str, start: int, stop: int, fetch: Callable[[int, int], bytes]) -> bytes:
        """Bytes [start, stop) of a file; `fetch(start, stop)` gets what is not here yet."""
        parts = []
        for block in range(start // BLOCK_BYTES, -(-stop // BLOCK_BYTES)):
            begin = block * BLOCK_BYTES
            parts.append(self._part(name, block, max(start - begin, 0), min(stop - begin, BLOCK_BYTES), fetch))
        return b"".join(parts)

    def forget(self, name: str, start: int, stop: int) -> None:
        """The blocks of that range are gone."""
        for block in range(start // BLOCK_BYTES, -(-stop // BLOCK_BYTES)):
            self._path(name, block).unlink(missing_ok=True)

    def _path(self, name: str, block: int) -> Path:
        return self._folder / f"{name}.{block:06d}"

    def _part(self, name: str, block: int, start: int, stop: int, fetch: Callable[[int, int], bytes]) -> bytes:
        """Bytes [start, stop) of a block; the whole block is kept."""
        path = self._path(name, block)
        with self._locks[hash((name, block)) % _NUM_LOCKS]:  # threads do not fetch the same block twice
            with contextlib.suppress(OSError), open(path, "rb") as file:
                os.utime(file.fileno())  # it was used just now
                file.seek(start)
                return file.read(stop - start)
            data = fetch(block * BLOCK_BYTES, (block + 1) * BLOCK_BYTES)
            self._keep(path, data)
        return data[start:stop]

    def _keep(self, path: Path, data: bytes) -> None:
        if self._broken:
            return
        temporary = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}.tmp")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(data)
            os.replace(temporary, path)
            self._added_bytes += len(data)
            if self._added_bytes >= _LOOK_AFTER_SHARE * self._max_bytes:
                self._clean_up()
        except OSError as error:
            self._broken = True
            _log.warning(
                "%s: the cache cannot be written (%s), so shards are read without it. Make room, or use another "
                "data.cache_dir.",
                self._root,
                error,
            )
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)

    def _clean_up(self) -> None:
        """All blocks in the folder together take no more than the limit allows."""
        self._added_bytes = 0
        with open(self._root / "lock", "a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return  # another process is at it
            blocks = []
            for path in self._root.glob("*/*"):
                with contextlib.suppress(FileNotFoundError):
                    facts = path.stat()
                    blocks.append((facts.st_mtime_ns, facts.st_size, path))
            total = sum(size for _, size, _ in blocks)
            if total <= self._max_bytes * _FULL_SHARE:
                return
            for _, size, path in sorted(blocks, key=lambda block: block[0]):
                path.unlink(missing_ok=True)
                total -= size
                if total <= self._max_bytes * _EMPTIED_SHARE:
                    return
