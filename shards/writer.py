"""Writing episodes as parts of a shard, and shards out of parts.

    part:   [episode][episode]...
    shard:  [all episodes of part 0][all episodes of part 1]...[end of archive]

An episode is a run of tar members, and a shard a plain WebDataset tar. The same clips give the same bytes: members
carry no time and no owner.
"""

import os
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from shards.clip import CORE_MEMBERS, EXTENSIONS, Clip, ClipArrays, Interaction, checksum, clip_key
from shards.events import is_measure
from shards.manifest import CandidateRun, ClipRow, EpisodeRow, EventRow, RecordingRow

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
        self._num_frames = 0
        self._runs: list[CandidateRun] = []
        self._events: dict[int, EventRow] = {}
        self._buttons: np.ndarray | None = None
        self._num_camera_frames = self._num_gui_frames = 0

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
        self._count(clip.arrays, clip.info.events)

    def end_episode(
        self,
        episode_id: str,
        recordings: Sequence[RecordingRow],
        interactions: Sequence[Interaction],
    ) -> EpisodeRow:
        """The clips added since the last episode are an episode; its row is the last of `rows`."""
        assert self._buttons is not None, "an episode has at least one clip"
        row = EpisodeRow(
            episode_id=episode_id,
            num_frames=self._num_frames,
            start_byte=self._start_byte,
            stop_byte=self._file.tell(),
            recordings=list(recordings),
            interactions=list(interactions),
            candidate_runs=self._runs,
            events=[self._events[index] for index in sorted(self._events)],
            button_counts=self._buttons.tolist(),
            num_camera_frames=self._num_camera_frames,
            num_gui_frames=self._num_gui_frames,
            clips=self._clips,
        )
        self.rows.append(row)
        self._start_byte, self._num_frames = row.stop_byte, 0
        self._clips, self._runs, self._events, self._buttons = [], [], {}, None
        self._num_camera_frames = self._num_gui_frames = 0
        return row

    def _count(self, arrays: ClipArrays, event_names: Mapping[int, str]) -> None:
        for frame in range(arrays.num_frames):
            candidates = tuple(arrays.candidates(frame).tolist())
            if not candidates:
                continue
            at = self._num_frames + frame
            last = self._runs[-1] if self._runs else None
            if last and last.stop == at and last.interactions == candidates:
                self._runs[-1] = CandidateRun(last.start, at + 1, candidates)
            else:
                self._runs.append(CandidateRun(at, at + 1, candidates))
        for index, name in event_names.items():
            chosen = arrays.event_name == index
            before = self._events.get(index, EventRow(name, 0, ()))
            count = before.count + int(arrays.event_count[chosen].sum())
            frames = () if is_measure(name) else (arrays.event_frame[chosen] + self._num_frames).tolist()
            self._events[index] = EventRow(name, count, (*before.frames, *frames))
        counts = arrays.buttons.sum(axis=0, dtype=np.int64)
        self._buttons = counts if self._buttons is None else self._buttons + counts
        self._num_camera_frames += int((arrays.camera != 0).any(axis=1).sum())
        self._num_gui_frames += int(arrays.gui.sum(dtype=np.int64))
        self._num_frames += arrays.num_frames

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if exception is None:
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
    temporary = shard.with_name(shard.name + ".tmp")
    try:
        write_shard(temporary, pieces)
        os.replace(temporary, shard)
    finally:
        temporary.unlink(missing_ok=True)
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
