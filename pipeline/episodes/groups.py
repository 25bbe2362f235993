"""Groups of recordings, and the shards they go to: what a build will do, known before any picture is decoded.

A group is the unit of work: one play session without a gap, as far as can be seen from outside. It becomes one
episode, or several where a damaged recording leaves a hole in it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pipeline.episodes.grouping import group_episodes
from pipeline.recording import MINESTUDIO_FRAME_PX, Extent, Recording, VideoHeader
from pipeline.rejection import Rejection
from pipeline.settings import BuildSettings


@dataclass(frozen=True, slots=True)
class PlannedRecording:
    """A recording that looks usable from outside.

    Attributes:
        header: None where the video is no file.
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
        return self.header.counts.coded if self.header else 0


@dataclass(frozen=True, slots=True)
class Group:
    """Recordings that follow each other without a gap; shards without an episode are left out in the end."""

    index: int
    shard: int
    recordings: tuple[PlannedRecording, ...]

    @property
    def num_frames(self) -> int:
        return sum(planned.num_frames for planned in self.recordings)


@dataclass(frozen=True)
class BuildPlan:
    """The groups of a build, in order, and what was left out before the start."""

    groups: tuple[Group, ...]
    rejections: tuple[Rejection, ...]

    @classmethod
    def of(
        cls, usable: Sequence[PlannedRecording], rejections: Sequence[Rejection], settings: BuildSettings
    ) -> "BuildPlan":
        """The plan for these recordings; it depends on them and the settings alone, so that all machines agree."""
        left_out = [*rejections, *_missing_masks(usable)]
        by_name = {planned.recording.name: planned for planned in usable}
        joined = group_episodes(
            [(planned.recording, planned.extent) for planned in usable], settings.max_hole_seconds, settings.compat
        )
        groups = [[by_name[recording.name] for recording in recordings] for recordings in joined]
        if settings.compat == "minestudio":
            groups = _without_other_sizes(groups, left_out)
        return cls(_in_shards(groups, settings.shard_frames), tuple(left_out))

    @cached_property
    def shards(self) -> list[list[int]]:
        """For each shard the indices of its groups."""
        shards: list[list[int]] = [[] for _ in range(self.groups[-1].shard + 1 if self.groups else 0)]
        for group in self.groups:
            shards[group.shard].append(group.index)
        return shards

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


def _without_other_sizes(
    groups: Sequence[list[PlannedRecording]], left_out: list[Rejection]
) -> list[list[PlannedRecording]]:
    """The groups whose frames all have the size that MineStudio's converter accepts."""
    kept = []
    for group in groups:
        odd = next((one for one in group if one.header and one.header.size_px != MINESTUDIO_FRAME_PX), None)
        if odd is None:
            kept.append(group)
            continue
        detail = f"{odd.recording.name} is not 640x360, which empties MineStudio's whole episode"
        for planned in group:
            name, video = planned.recording.name, str(planned.recording.video)
            left_out.append(Rejection(name, "minestudio_rule", detail, video, num_frames=planned.num_frames))
    return kept


def _missing_masks(usable: Sequence[PlannedRecording]) -> list[Rejection]:
    """Recordings that lack masks where others have them; a source without any masks is meant so."""
    endings = {
        one.source: one.masks.name.removeprefix(one.name) if one.masks.name.startswith(one.name) else ".rle"
        for one in (planned.recording for planned in usable)
        if one.masks is not None
    }
    if not endings:
        return []
    return [
        Rejection(
            planned.recording.name,
            "missing_masks",
            "other recordings have masks, this one has none; it is used without",
            str(planned.recording.actions),
            num_frames=0,
            remedy=f"Put {planned.recording.name}{ending} beside it and build again.",
        )
        for planned in usable
        for ending in [endings.get(planned.recording.source, ".masks.jsonl")]
        if planned.recording.masks is None
    ]


def _in_shards(groups: Sequence[Sequence[PlannedRecording]], shard_frames: int) -> tuple[Group, ...]:
    numbered: list[Group] = []
    shard = in_shard = 0
    for index, recordings in enumerate(groups):
        num_frames = sum(planned.num_frames for planned in recordings)
        if in_shard and in_shard + num_frames > shard_frames:
            shard, in_shard = shard + 1, 0
        in_shard += num_frames
        numbered.append(Group(index, shard, tuple(recordings)))
    return tuple(numbered)
