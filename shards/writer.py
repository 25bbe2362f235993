"""Writing episodes as parts of a shard, and shards out of parts.

    part:   [episode][episode]...
    shard:  [all episodes of part 0][all episodes of part 1]...[end of archive]

An episode is a run of tar members, and a shard a plain WebDataset tar. The same clips give the same bytes: members
carry no time and no owner.
"""

import os
import tarfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Self

from shards.clip import CORE_MEMBERS, EXTENSIONS, Clip, Interaction, checksum, clip_key
from shards.episode_sums import EpisodeSums
from shards.manifest import ClipRow, EpisodeRow, RecordingRow
from shards.places import replacing

_COPY_BYTES = 1 << 20


class PartWriter:
    """A file that grows by clips, episode after episode; `rows` describes what it holds.

    Use it as a context manager. It writes to the very path it is given: give it a temporary one and rename.
    """

    def __init__(self, path: Path) -> None:
        self.rows: list[EpisodeRow] = []
        self._file = open(path, "wb")  # noqa: SIM115 (closed in __exit__)
        self._clips: list[ClipRow] = []
        self._start_byte = 0
        self._sums = EpisodeSums()

    def add_clip(self, clip: Clip) -> None:
        """The clip lies at the end of the part, as the next one of the episode under way.

        Raises:
            OSError: if the file cannot be written.
        """
        members = clip.members()
        key = clip_key(clip.info.episode_id, clip.info.clip)
        places = dict.fromkeys(("log_offset", "log_size"), 0)
        for name, data in members.items():
            self._file.write(_header(f"{key}.{EXTENSIONS[name]}", len(data)))
            places |= {f"{name}_offset": self._file.tell(), f"{name}_size": len(data)}
            self._file.write(data)
            self._file.write(bytes(-len(data) % tarfile.BLOCKSIZE))
        self._clips.append(
            ClipRow(
                clip=clip.info.clip,
                start_frame=clip.info.start_frame,
                num_frames=clip.arrays.num_frames,
                crc32=checksum([members[name] for name in CORE_MEMBERS]),
                log_crc32=checksum([members["log"]]) if "log" in members else 0,
                **places,
            )
        )
        self._sums.add(clip.arrays, clip.info.events)

    def end_episode(
        self,
        episode_id: str,
        recordings: Sequence[RecordingRow],
        interactions: Sequence[Interaction],
    ) -> EpisodeRow:
        """The clips added since the last episode are an episode; its row is the last of `rows`."""
        assert self._clips, "an episode has at least one clip"
        row = EpisodeRow(
            episode_id=episode_id,
            start_byte=self._start_byte,
            stop_byte=self._file.tell(),
            recordings=list(recordings),
            interactions=list(interactions),
            clips=self._clips,
            **self._sums.fields(),
        )
        self.rows.append(row)
        self._start_byte, self._clips, self._sums = row.stop_byte, [], EpisodeSums()
        return row

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                assert not self._clips, "end_episode comes after the last clip"
                self._file.flush()
                os.fsync(self._file.fileno())
        finally:
            self._file.close()


def join_parts(parts: Sequence[tuple[Path, Sequence[EpisodeRow]]], shard: Path) -> list[EpisodeRow]:
    """The shard holds the parts' episodes in order; their rows come back, counted from the shard's start.

    The shard is written aside, synced and renamed.

    Raises:
        OSError: if a part cannot be read or the shard cannot be written; the shard's name is then untouched.
    """
    rows: list[EpisodeRow] = []
    pieces: list[tuple[Path, int, int]] = []
    for path, episodes in parts:
        if episodes:
            start = rows[-1].stop_byte if rows else 0
            rows += [episode.moved(start) for episode in episodes]
            pieces.append((path, 0, episodes[-1].stop_byte))
    with replacing(shard) as partial:
        write_shard(partial, pieces)
    return rows


def write_shard(shard: Path, pieces: Iterable[tuple[Path, int, int]]) -> None:
    """The shard, synced, holds whole episodes: the bytes [start, stop) of each of these files, in this order.

    Raises:
        OSError: if a file cannot be read or ends early, or the shard cannot be written.
    """
    with open(shard, "wb") as target:
        for path, start, stop in pieces:
            with open(path, "rb") as source:
                source.seek(start)
                left = stop - start
                while left:
                    block = source.read(min(left, _COPY_BYTES))
                    if not block:
                        raise OSError(f"{path}: ends {left} bytes early")
                    left -= target.write(block)
        target.write(bytes(shard_size(target.tell()) - target.tell()))
        target.flush()
        os.fsync(target.fileno())


def shard_size(num_bytes: int) -> int:
    """Bytes of a shard with so many bytes of episodes: zeros end a tar, and fill its last record."""
    return -(-(num_bytes + 2 * tarfile.BLOCKSIZE) // tarfile.RECORDSIZE) * tarfile.RECORDSIZE


def _header(name: str, size: int) -> bytes:
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o444
    header = member.tobuf(tarfile.USTAR_FORMAT)
    assert len(header) == tarfile.BLOCKSIZE, "names are short"
    return header
