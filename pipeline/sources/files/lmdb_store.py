"""MineStudio's LMDB environments: which episodes one holds, and their chunks.

Read-only and without locks.

Source: CraftJarvis/MineStudio, tools/convertion.py, which writes them.
"""

import struct
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any

from pipeline.rejection import SourceError, cannot_read
from pipeline.sources.files.pickles import load_pickle

_MAX_CHUNK_FRAMES = 4096
_MAX_FRAMES = 1 << 31

_MAGIC = 0xBEEFC0DE
_META = struct.Struct("<16x I 20x I 92x QQ")  # of a meta page: magic, page size, last page, transaction

_handles: dict[tuple[int, int], Any] = {}  # by device and inode: LMDB admits one handle a file in a process
_opening = Lock()


def close_environments() -> None:
    """No handle is open; the next read opens what it needs. For the parent of worker processes."""
    while _handles:
        _handles.popitem()[1].close()
    _listing.cache_clear()


def list_episodes(folder: Path) -> dict[str, int]:
    """The episodes of an environment and their number of frames, in its order.

    Raises:
        SourceError: if it is no such environment.
    """
    return {name: num_frames for name, (_, num_frames) in _listing(folder)[1].items()}


def num_frames(folder: Path, episode: str) -> int:
    return _entry(folder, episode)[1]


def read_chunks(folder: Path, episode: str) -> Iterator[tuple[int, int, bytes | None]]:
    """An episode's chunks in order: first frame, number of frames, and bytes, or None where they are missing.

    Raises:
        SourceError: if the environment cannot be read or does not have the episode.
    """
    size = _listing(folder)[0]
    index, stop = _entry(folder, episode)
    for start in range(0, stop, size):
        yield start, min(size, stop - start), _get(folder, str((index, start)))


def _entry(folder: Path, episode: str) -> tuple[int, int]:
    episodes = _listing(folder)[1]
    if episode not in episodes:
        raise SourceError(f"{folder}: no episode {episode}. Download the set again.")
    return episodes[episode]


@lru_cache(maxsize=256)
def _listing(folder: Path) -> tuple[int, dict[str, tuple[int, int]]]:
    """The frames of a chunk; and the episodes, by name their index in the keys and number of frames."""
    size = _meta(folder, "__chunk_size__")
    infos = _meta(folder, "__chunk_infos__")
    if type(size) is not int or not 0 < size <= _MAX_CHUNK_FRAMES or not isinstance(infos, list):
        raise _wrong(folder, f"chunks of {size!r:.20} frames and a {type(infos).__name__} of episodes")
    episodes: dict[str, tuple[int, int]] = {}
    for info in infos:
        fields = (
            [info.get(name) for name in ("episode", "episode_idx", "num_frames")] if isinstance(info, dict) else []
        )
        match fields:
            case [str(name), int(index), int(num_frames)] if index >= 0 and 0 <= num_frames < _MAX_FRAMES:
                episodes[name] = index, num_frames
            case _:
                raise _wrong(folder, f"an episode {info!r:.80}")
    return size, episodes


def _meta(folder: Path, key: str) -> Any:
    raw = _get(folder, key)
    if raw is None:
        raise _wrong(folder, f"no {key}")
    return load_pickle(raw, f"{folder} ({key})")


def _get(folder: Path, key: str) -> bytes | None:
    import lmdb

    try:
        with _open(folder).begin() as transaction:
            value: bytes | None = transaction.get(key.encode())
    except lmdb.Error as error:
        raise SourceError(f"{folder}: LMDB cannot read it, got {error}. Download it again.") from error
    return value


def _open(folder: Path) -> Any:
    import lmdb

    file = folder / "data.mdb"
    try:
        status = file.stat()
        with _opening:
            handle = _handles.get((status.st_dev, status.st_ino))
            if handle is None:
                _check_size(file, status.st_size)
                handle = lmdb.open(str(folder), readonly=True, lock=False, readahead=False, create=False)
                _handles[status.st_dev, status.st_ino] = handle
        return handle
    except OSError as error:
        raise cannot_read(file, error) from error


def _check_size(file: Path, num_bytes: int) -> None:
    """The file reaches to the last page that it names: reading a missing page kills the process (SIGBUS).

    Source: LMDB, mdb.c: `MDB_page`, `MDB_meta`, `MDB_db`, as a 64-bit little-endian machine writes them.
    """
    with open(file, "rb") as opened:
        metas = [_META.unpack(opened.read(_META.size).ljust(_META.size, b"\0"))]
        page_bytes = metas[0][1]
        opened.seek(page_bytes)
        metas.append(_META.unpack(opened.read(_META.size).ljust(_META.size, b"\0")))
    magic, _, last_page, _ = max(
        (meta for meta in metas if meta[0] == _MAGIC), key=lambda meta: meta[3], default=metas[0]
    )
    if magic != _MAGIC:
        raise SourceError(f"{file}: not an LMDB file. Download it again.")
    expected = (last_page + 1) * page_bytes
    if num_bytes < expected:
        raise SourceError(f"{file}: truncated, got {num_bytes} bytes, expected {expected}. Download it again.")


def _wrong(folder: Path, got: str) -> SourceError:
    return SourceError(
        f"{folder}: not an environment of MineStudio's, got {got}, expected __chunk_size__ and __chunk_infos__. "
        "Download the set again."
    )
