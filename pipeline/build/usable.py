"""How much of a group's recordings can be used, and which of them go on where the last one ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pipeline.build.plan import Group, PlannedRecording
from pipeline.episodes.grouping import group_episodes
from pipeline.episodes.minestudio_rules import kept_frames, video_objection
from pipeline.recording import (
    EPISODE_START,
    CarryState,
    Extent,
    RecordingContent,
    Rejection,
    SourceError,
    pair_frames,
)
from pipeline.settings import BuildSettings
from pipeline.sources import load_log


@dataclass(frozen=True)
class Ending:
    """A recording's video ends before its log, or is damaged: `num_frames` of it can be used."""

    name: str
    num_frames: int
    reason: str
    detail: str


@dataclass(frozen=True)
class Previous:
    """The last recording that frames were taken from."""

    planned: PlannedRecording
    extent: Extent
    state: CarryState


@dataclass(frozen=True)
class Usable:
    """A recording whose frames will be taken: `keep` says which of its first ones."""

    planned: PlannedRecording
    content: RecordingContent
    keep: NDArray[np.bool_]
    continues: bool

    def as_previous(self) -> Previous:
        """What the next recording has to know of this one."""
        extent, num_frames = self.planned.extent, len(self.keep)
        if extent.num_frames is not None and num_frames < extent.num_frames:
            # What the log says of its end is not where the frames end.
            extent = Extent(num_frames, extent.first, None)
        return Previous(self.planned, extent, self.content.state)


class GroupReader:
    """Opens a group's recordings, one after the other."""

    def __init__(self, group: Group, settings: BuildSettings, endings: Mapping[str, Ending]) -> None:
        """Nothing is read yet.

        Args:
            group: whose recordings.
            settings: of the build.
            endings: by recording, where earlier tries found that a video ends; may be added to later.
        """
        self._group, self._settings, self._endings = group, settings, endings

    def open(self, planned: PlannedRecording, previous: Previous | None) -> tuple[Usable | None, list[Rejection]]:
        """The recording's actions as far as they can be used, None if not at all; and what is left out."""
        recording = planned.recording
        rejections: list[Rejection] = []
        usable: Usable | None = None
        try:
            continues = previous is not None and self._continues(previous, planned)
            state = previous.state if previous is not None and continues else EPISODE_START
            content = load_log(recording, state, self._settings.read_options())
        except SourceError as error:
            rejections = [
                Rejection(recording.name, error.reason, str(error), str(recording.actions), 0, planned.num_frames)
            ]
        else:
            num_frames, rejections = self._usable_frames(planned, content)
            if num_frames:
                keep = content.keep[:num_frames]
                if self._settings.noops == "keep":
                    keep = np.ones(num_frames, bool)
                usable = Usable(planned, content, keep, continues)
        return usable, rejections

    def minestudio_limit(self, first: PlannedRecording) -> int | None:
        """How many frames MineStudio keeps of the episode that starts with this recording; None: all."""
        if self._settings.compat != "minestudio":
            return None
        num_frames = 0
        previous: Previous | None = None
        recordings = list(self._group.recordings)
        for planned in recordings[recordings.index(first) :]:
            usable, _ = self.open(planned, previous)
            if usable is None:
                continue
            if previous is not None and not usable.continues:
                break
            num_frames += int(usable.keep.sum())
            previous = usable.as_previous()
        return kept_frames(num_frames)

    def _usable_frames(self, planned: PlannedRecording, content: RecordingContent) -> tuple[int, list[Rejection]]:
        """How many frames can be used, with an account of the others."""
        name, log = planned.recording.name, str(planned.recording.actions)
        video = str(planned.recording.video)
        num_frames, rejections = content.num_frames, []
        if content.breakage is not None:
            broken = content.breakage
            num_left_out = max(0, content.num_lines - broken.first_frame)
            rejections.append(Rejection(name, broken.reason, broken.detail, log, broken.first_frame, num_left_out))
        num_in_header = planned.header.num_frames_from_header if planned.header else 0
        if num_in_header:
            pairing = pair_frames(num_in_header, content.num_lines)
            detail = f"the video has {num_in_header} frames, the log {content.num_lines} lines"
            if pairing.num_unpaired_frames:
                first = content.num_lines
                rejections.append(
                    Rejection(name, "lengths_differ", detail, video, first, pairing.num_unpaired_frames)
                )
            elif pairing.num_unpaired_lines and num_in_header < num_frames and name not in self._endings:
                rejections.append(
                    Rejection(name, "lengths_differ", detail, video, num_in_header, num_frames - num_in_header)
                )
                num_frames = num_in_header
        ending = self._endings.get(name)
        if ending is not None and ending.num_frames < num_frames:
            num_left_out = num_frames - ending.num_frames
            rejections.append(
                Rejection(name, ending.reason, ending.detail, video, ending.num_frames, num_left_out)
            )
            num_frames = ending.num_frames
        if self._settings.compat == "minestudio":
            return self._all_or_nothing(planned, content, num_frames, rejections)
        return num_frames, rejections

    def _all_or_nothing(
        self, planned: PlannedRecording, content: RecordingContent, num_frames: int, rejections: list[Rejection]
    ) -> tuple[int, list[Rejection]]:
        """MineStudio's rules: a recording with anything wrong is left out whole."""
        header, name = planned.header, planned.recording.name
        objection = None
        if header is not None and planned.recording.source == "contractor":
            objection = video_objection(
                header.num_frames_from_header,
                content.num_lines,
                header.frames_per_second,
                header.width_px,
                header.height_px,
            )
        if objection is not None:
            video = str(planned.recording.video)
            return 0, [Rejection(name, "minestudio_rule", objection, video, 0, content.num_lines)]
        if rejections:
            return 0, [replace(rejections[0], first_frame=0, num_frames=content.num_lines)]
        return num_frames, []

    def _continues(self, previous: Previous, planned: PlannedRecording) -> bool:
        """Whether the recording belongs to the same episode, now that it is known how far the last one reaches."""
        pair = [(previous.planned.recording, previous.extent), (planned.recording, planned.extent)]
        return len(group_episodes(pair, self._settings.max_hole_seconds, self._settings.compat)) == 1
