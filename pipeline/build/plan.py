"""What a build will do, known before any picture is decoded: groups of recordings, and the shards they go to.

    recordings --measure, headers--> groups (one play session without a gap each) --by number of frames--> shards

A group is the unit of work. It becomes one episode, or several where a damaged recording leaves a hole in it. The
plan depends on the sources and the settings alone, so that every machine that works on a build makes the same one.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.episodes.grouping import group_episodes
from pipeline.recording import MINESTUDIO_FRAME_PX, Extent, Findings, Recording, Rejection, SourceError
from pipeline.settings import BuildSettings
from pipeline.sources import measure
from pipeline.transcode.probe import BadVideo, VideoHeader, read_header
from shards.action_space import ACTION_SPACE

_MAX_RATE_ERROR = 0.5  # frames per second: recorders that could not keep up say 19.9
_STAMP_BYTES = 4096
_PROBE_THREADS = 8  # they wait for the disk


@dataclass(frozen=True, slots=True)
class PlannedRecording:
    """A recording that looks usable from outside.

    Attributes:
        extent: its length by its log.
        header: what the video's container claims; None where the video is in pieces.
        stamp: sizes and checksums of the ends of its files, to notice that they changed.
    """

    recording: Recording
    extent: Extent
    header: VideoHeader | None
    stamp: str

    @property
    def num_frames(self) -> int:
        """The expected number of source frames."""
        if self.extent.num_frames is not None:
            return self.extent.num_frames
        return self.header.num_frames_from_header if self.header else 0


@dataclass(frozen=True, slots=True)
class Group:
    """Recordings that follow each other without a gap, as far as can be seen from outside.

    Attributes:
        index: 0-based among all groups of the build.
        shard: 0-based; shards in which no episode ends up are left out when they are numbered.
    """

    index: int
    shard: int
    recordings: tuple[PlannedRecording, ...]

    @property
    def num_frames(self) -> int:
        """The expected number of source frames."""
        return sum(planned.num_frames for planned in self.recordings)


@dataclass(frozen=True)
class BuildPlan:
    """The groups of a build, in order, and what was left out before the start."""

    groups: tuple[Group, ...]
    rejections: tuple[Rejection, ...]

    @property
    def num_shards(self) -> int:
        return self.groups[-1].shard + 1 if self.groups else 0

    @property
    def num_frames(self) -> int:
        """The expected number of source frames."""
        return sum(group.num_frames for group in self.groups)

    def to_record(self) -> dict[str, Any]:
        """What two plans of the same build have in common, as JSON holds it."""
        return {
            "groups": [[planned.recording.name for planned in group.recordings] for group in self.groups],
            "shards": [group.shard for group in self.groups],
            "sources": {
                planned.recording.name: planned.stamp for group in self.groups for planned in group.recordings
            },
            "rejected": [[rejection.recording, rejection.reason] for rejection in self.rejections],
        }


def make_plan(
    findings: Findings, settings: BuildSettings, advance: Callable[[int], None] = lambda _: None
) -> BuildPlan:
    """The plan of a build.

    Args:
        findings: what was found in the sources.
        settings: of the build.
        advance: called with a number of recordings that have been looked at since the last call.
    """
    usable: list[PlannedRecording] = []
    rejections = list(findings.rejections)
    # One bad file after another must not wait for each other's disk; results come back in order.
    with ThreadPoolExecutor(_PROBE_THREADS) as threads:
        for outcome in threads.map(_look_at, findings.recordings):
            if isinstance(outcome, Rejection):
                rejections.append(outcome)
            else:
                usable.append(outcome)
            advance(1)
    rejections += _missing_masks(usable)
    groups = _groups_of(usable, settings, rejections)
    return BuildPlan(_in_shards(groups, settings.shard_frames), tuple(rejections))


def _look_at(recording: Recording) -> PlannedRecording | Rejection:
    try:
        extent = measure(recording)
    except SourceError as error:
        return Rejection(recording.name, error.reason, str(error), str(recording.actions))
    header = None
    if recording.source != "lmdb":
        try:
            header = read_header(recording.video)
        except BadVideo as bad:
            return Rejection(
                recording.name,
                bad.reason,
                bad.detail,
                str(recording.video),
                num_frames=extent.num_frames,
                remedy="Download the video again.",
            )
        rate = header.frames_per_second
        if rate and abs(rate - ACTION_SPACE.frames_per_second) > _MAX_RATE_ERROR:
            return Rejection(
                recording.name,
                "frames_per_second",
                f"the video has {rate:g} frames per second, expected {ACTION_SPACE.frames_per_second}",
                str(recording.video),
                num_frames=extent.num_frames,
                remedy="Record at 20 frames per second; a conversion would lose the pairing with the log.",
            )
    try:
        stamp = _stamp(recording)
    except OSError as error:
        return Rejection(recording.name, "unreadable", f"{error.strerror}", str(error.filename))
    return PlannedRecording(recording, extent, header, stamp)


def _groups_of(
    usable: Sequence[PlannedRecording], settings: BuildSettings, rejections: list[Rejection]
) -> list[list[PlannedRecording]]:
    by_name = {planned.recording.name: planned for planned in usable}
    joined = group_episodes(
        [(planned.recording, planned.extent) for planned in usable], settings.max_hole_seconds, settings.compat
    )
    groups = [[by_name[recording.name] for recording in recordings] for recordings in joined]
    if settings.compat != "minestudio":
        return groups
    kept = []
    for group in groups:
        odd = next((planned for planned in group if not _has_minestudio_size(planned)), None)
        if odd is None:
            kept.append(group)
            continue
        detail = f"{odd.recording.name} is not 640x360, which empties MineStudio's whole episode"
        for planned in group:
            name, video = planned.recording.name, str(planned.recording.video)
            rejections.append(Rejection(name, "minestudio_rule", detail, video, num_frames=planned.num_frames))
    return kept


def _has_minestudio_size(planned: PlannedRecording) -> bool:
    header = planned.header
    return header is None or (header.width_px, header.height_px) == MINESTUDIO_FRAME_PX


def _missing_masks(usable: Sequence[PlannedRecording]) -> list[Rejection]:
    """Recordings that lack masks where others have them; a source without any masks is meant so."""
    if not any(planned.recording.masks for planned in usable):
        return []
    return [
        Rejection(
            planned.recording.name,
            "missing_masks",
            "other recordings have masks, this one has none; it is used without",
            str(planned.recording.actions),
            num_frames=0,
            remedy=f"Put {planned.recording.name}.rle beside it and build again.",
        )
        for planned in usable
        if planned.recording.masks is None
    ]


def _in_shards(groups: Sequence[Sequence[PlannedRecording]], shard_frames: int) -> tuple[Group, ...]:
    numbered: list[Group] = []
    shard = in_shard = 0
    for index, recordings in enumerate(groups):
        group = Group(index, shard, tuple(recordings))
        if in_shard and in_shard + group.num_frames > shard_frames:
            shard, in_shard = shard + 1, 0
            group = Group(index, shard, tuple(recordings))
        in_shard += group.num_frames
        numbered.append(group)
    return tuple(numbered)


def _stamp(recording: Recording) -> str:
    """Sizes of the files and checksums of their ends: an mp4's index and a log's last line tell most of it."""
    parts = []
    for path in (recording.video, recording.actions, recording.masks, recording.info):
        if path is None:
            parts.append("-")
            continue
        file = path / "data.mdb" if path.is_dir() else path
        parts.append(_file_stamp(file))
    return " ".join(parts)


def _file_stamp(path: Path) -> str:
    size = path.stat().st_size
    with open(path, "rb") as file:
        checksum = zlib.crc32(file.read(_STAMP_BYTES))
        file.seek(max(0, size - _STAMP_BYTES), os.SEEK_SET)
        checksum = zlib.crc32(file.read(_STAMP_BYTES), checksum)
    return f"{size}:{checksum:08x}"
