"""Writing episodes as tar parts, and joining parts into shards.

    part:   [episode][episode]...[end of archive]
    shard:  [all episodes of part 0][all episodes of part 1]...[end of archive]

Both are plain WebDataset tars. The same clips give the same bytes: members carry a fixed time and owner.
"""

import os
import tarfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import numpy as np
import webdataset

from shards.clip import MEMBERS, Clip, ClipArrays, Interaction, checksum, clip_key
from shards.manifest import CandidateRun, ClipRow, EpisodeRow, RecordingRow

_END_OF_ARCHIVE = bytes(2 * tarfile.BLOCKSIZE)
_COPY_BYTES = 1 << 20


class PartWriter:
    """A tar that grows by clips, episode after episode; `rows` describes what it holds.

    Use it as a context manager. It writes to the very path it is given: give it a temporary one and rename.
    """

    def __init__(self, path: Path) -> None:
        self.rows: list[EpisodeRow] = []
        self._file = open(path, "wb")  # noqa: SIM115 (closed in __exit__)
        # An integer time: without one the writer stamps the current time, and a float costs 1,024 bytes a member.
        self._tar = webdataset.TarWriter(self._file, encoder=False, mtime=0, user="", group="")
        self._position = 0
        self._clips: list[ClipRow] = []
        self._start_byte = 0
        self._num_frames = 0
        self._runs: list[CandidateRun] = []
        self._buttons: np.ndarray | None = None
        self._num_camera_frames = self._num_gui_frames = 0

    def add_clip(self, clip: Clip) -> None:
        """The clip lies at the end of the part, as the next one of the episode under way.

        Raises:
            OSError: if the file cannot be written.
        """
        members = clip.members()
        places: dict[str, int] = {}
        for ext in MEMBERS:
            self._position += tarfile.BLOCKSIZE
            places |= {f"{ext}_offset": self._position, f"{ext}_size": len(members[ext])}
            self._position += -(-len(members[ext]) // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
        self._tar.write({"__key__": clip_key(clip.info.episode_id, clip.info.clip), **members})
        self._clips.append(
            ClipRow(
                clip=clip.info.clip,
                start_frame=clip.info.start_frame,
                num_frames=clip.arrays.num_frames,
                crc32=checksum([members[ext] for ext in MEMBERS]),
                **places,
            )
        )
        self._count(clip.arrays)

    def end_episode(
        self, episode_id: str, recordings: Sequence[RecordingRow], interactions: Sequence[Interaction]
    ) -> EpisodeRow:
        """The clips added since the last episode are an episode; its row is the last of `rows`."""
        assert self._buttons is not None, "an episode has at least one clip"
        row = EpisodeRow(
            episode_id=episode_id,
            num_frames=self._num_frames,
            start_byte=self._start_byte,
            stop_byte=self._position,
            recordings=list(recordings),
            interactions=list(interactions),
            candidate_runs=self._runs,
            button_counts=self._buttons.tolist(),
            num_camera_frames=self._num_camera_frames,
            num_gui_frames=self._num_gui_frames,
            clips=self._clips,
        )
        self.rows.append(row)
        self._start_byte, self._num_frames = self._position, 0
        self._clips, self._runs, self._buttons = [], [], None
        self._num_camera_frames = self._num_gui_frames = 0
        return row

    def _count(self, arrays: ClipArrays) -> None:
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
                self._tar.close()
                self._file.flush()
                os.fsync(self._file.fileno())
        finally:
            # Where the disk is full, tarfile would try to write its end again when it is collected.
            self._tar.tarstream.fileobj.closed = True
            self._file.close()


def join_parts(parts: Sequence[tuple[Path, Sequence[EpisodeRow]]], shard: Path) -> list[EpisodeRow]:
    """The shard holds the parts' episodes in order; their rows come back, counted from the shard's start.

    The shard is written aside, synced and renamed.

    Raises:
        OSError: if a part cannot be read or the shard cannot be written; the shard's name is then untouched.
    """
    rows: list[EpisodeRow] = []
    temporary = shard.with_name(shard.name + ".tmp")
    try:
        with open(temporary, "wb") as target:
            for path, episodes in parts:
                if not episodes:
                    continue
                rows += [episode.moved(target.tell()) for episode in episodes]
                with open(path, "rb") as source:
                    _copy(source, target, episodes[-1].stop_byte)
            target.write(_END_OF_ARCHIVE)
            target.write(bytes(-target.tell() % tarfile.RECORDSIZE))
            target.flush()
            os.fsync(target.fileno())
        os.replace(temporary, shard)
    finally:
        temporary.unlink(missing_ok=True)
    return rows


def _copy(source: BinaryIO, target: BinaryIO, num_bytes: int) -> None:
    while num_bytes:
        block = source.read(min(num_bytes, _COPY_BYTES))
        if not block:
            raise OSError(f"{source.name}: ends {num_bytes} bytes early")
        target.write(block)
        num_bytes -= len(block)
