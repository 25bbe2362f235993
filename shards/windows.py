"""Reading one window: its pictures, actions and masks, from whichever clips it spans, into given arrays.

episode   0        128       256       384
clips     [   0    ][   1    ][   2    ]
window        [96 ........ 224)          decodes clip 0 from the keyframe at or before 96, clip 1 up to 96
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shards.clip import ClipArrays
from shards.errors import DamagedClip
from shards.manifest import ClipRow, shard_name
from shards.masks import runs_to_packed_bits
from shards.members import check_members, read_members
from shards.schedule.goals import NO_GOAL
from shards.storage import CacheSettings, Storage, open_storage
from shards.video import decode_yuv

_KEPT_CLIPS = 8
"""Clips whose members stay in memory: windows shorter than a clip come back to it."""


@dataclass(frozen=True)
class WindowSource:
    """Where a window's frames lie: all that is needed to read it, without the manifest.

    Attributes:
        dataset: the folder or address of the dataset.
        start, stop: the window's frames in the episode.
        clips: the clips that it spans, in order.
        goals: the interaction whose mask each frame shows, i32 (stop - start,); None where no masks are wanted.
        members: the bytes of each clip's members by name, where they were read already.
    """

    dataset: str
    shard: int
    episode_id: str
    start: int
    stop: int
    clips: tuple[ClipRow, ...]
    goals: NDArray[np.int32] | None
    members: tuple[Mapping[str, bytes], ...] | None = None


@dataclass(frozen=True)
class WindowArrays:
    """Where a window's T frames go; frames past its end are left as they are.

    Attributes:
        yuv: u8 (T, height * 3 // 2, width), planar I420.
        mask_bits: u8 (T, masks.packed_size(height, width)).
        buttons: u8 (T, 23).
        camera: (T, 2) degrees, any float type.
    """

    yuv: NDArray[np.uint8]
    mask_bits: NDArray[np.uint8]
    buttons: NDArray[np.uint8]
    camera: NDArray[np.floating]


def clips_of_window(rows: Sequence[ClipRow], start: int, stop: int) -> tuple[ClipRow, ...]:
    """Those of an episode's clips that hold frames of [start, stop)."""
    return tuple(row for row in rows if row.start_frame < stop and start < row.start_frame + row.num_frames)


class WindowReader:
    """Reads windows of any of several datasets; it keeps the storages open and the last clips at hand."""

    def __init__(self, height: int, width: int, cache: CacheSettings | None = None) -> None:
        self._height, self._width, self._cache = height, width, cache
        self._storages: dict[str, Storage] = {}
        self._clips: OrderedDict[tuple[str, int, int], tuple[bytes, ClipArrays]] = OrderedDict()

    def read(self, source: WindowSource, out: WindowArrays) -> None:
        """The window's frames lie at the beginning of the arrays.

        Raises:
            DamagedClip: if a clip's bytes are missing, changed or do not decode; the arrays may hold anything.
            OSError: if the storage fails.
        """
        for place, row in enumerate(source.clips):
            start = max(source.start, row.start_frame)
            stop = min(source.stop, row.start_frame + row.num_frames)
            target = slice(start - source.start, stop - source.start)
            frames = slice(start - row.start_frame, stop - row.start_frame)
            try:
                video, arrays = self._clip(source, place)
                if arrays.num_frames != row.num_frames:
                    raise ValueError(f"{arrays.num_frames} frames, expected {row.num_frames}")
                decode_yuv(video, frames.start, frames.stop, out.yuv[target])
                out.buttons[target] = arrays.buttons[frames]
                out.camera[target] = arrays.camera[frames]
                if source.goals is not None:
                    self._masks(arrays, frames, source.goals[target], out.mask_bits[target])
            except ValueError as error:
                where = f"{source.dataset}/{shard_name(source.shard)}"
                raise DamagedClip(where, source.episode_id, row.clip, str(error)) from error

    def prefetch(self, source: WindowSource) -> None:
        """The window will be read soon: its bytes may be on their way."""
        if source.members is not None:
            return
        storage = self._storage(source.dataset)
        for row in source.clips:
            if (source.dataset, source.shard, row.json_offset) not in self._clips:
                storage.prefetch(shard_name(source.shard), *row.core)

    def _storage(self, dataset: str) -> Storage:
        if dataset not in self._storages:
            self._storages[dataset] = open_storage(dataset, self._cache)
        return self._storages[dataset]

    def _clip(self, source: WindowSource, place: int) -> tuple[bytes, ClipArrays]:
        row = source.clips[place]
        key = (source.dataset, source.shard, row.json_offset)
        if key in self._clips:
            self._clips.move_to_end(key)
            return self._clips[key]
        members = self._members(source, row) if source.members is None else source.members[place]
        if source.members is not None:
            check_members(members, row)
        clip = members["mp4"], ClipArrays.from_bytes(members["arrays"])
        self._clips[key] = clip
        if len(self._clips) > _KEPT_CLIPS:
            self._clips.popitem(last=False)
        return clip

    def _members(self, source: WindowSource, row: ClipRow) -> Mapping[str, bytes]:
        storage = self._storage(source.dataset)
        try:
            return read_members(storage, source.shard, row, ("mp4", "arrays"))
        except ValueError:
            # A copy may be bad, or the bytes may have suffered on their way: ask the source once more.
            if not storage.forget(shard_name(source.shard), *row.core):
                raise
            return read_members(storage, source.shard, row, ("mp4", "arrays"))

    def _masks(self, arrays: ClipArrays, frames: slice, goals: NDArray[np.int32], out: NDArray[np.uint8]) -> None:
        """Each frame's row of `out` is the packed mask of its goal; zeros where it has none."""
        first, last = arrays.candidate_offsets[frames.start], arrays.candidate_offsets[frames.stop]
        frame_of = np.repeat(
            np.arange(frames.stop - frames.start),
            np.diff(arrays.candidate_offsets[frames.start : frames.stop + 1]),
        )
        shown = np.flatnonzero(arrays.candidate_interaction[first:last] == goals[frame_of])
        if np.count_nonzero(goals != NO_GOAL) != shown.size:
            raise ValueError("the candidates are not those that the manifest lists")
        out[:] = 0
        runs = [arrays.runs(int(first) + int(candidate)) for candidate in shown]
        out[frame_of[shown]] = runs_to_packed_bits(runs, self._height, self._width)
