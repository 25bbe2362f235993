"""Reads the recordings of a group, one after the other, each as far as it can be used."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pipeline.episodes.grouping import group_episodes
from pipeline.episodes.groups import Group, PlannedRecording
from pipeline.episodes.usable import Usable, kept_like_minestudio, usable_frames
from pipeline.recording import EPISODE_START, Breakage, Rejection, SourceError
from pipeline.settings import BuildSettings
from pipeline.sources import source_of


class GroupReader:
    """Opens a group's recordings, one after the other."""

    def __init__(self, group: Group, settings: BuildSettings, video_ends: Mapping[str, Breakage]) -> None:
        """Nothing is read yet.

        Args:
            group: whose recordings.
            settings: of the build.
            video_ends: by recording, where earlier tries found that a video ends; may be added to later.
        """
        self._group, self._settings, self._video_ends = group, settings, video_ends

    def open(self, planned: PlannedRecording, previous: Usable | None) -> tuple[Usable | None, list[Rejection]]:
        """The recording's actions as far as they can be used, None if not at all; and what is left out."""
        recording, settings = planned.recording, self._settings
        try:
            continues = previous is not None and self._continues(previous, planned)
            state = previous.content.state if previous is not None and continues else EPISODE_START
            content = source_of(recording).load_log(recording, state, settings).thinned(planned.extent.every)
        except SourceError as error:
            log = str(recording.actions)
            return None, [Rejection(recording.name, error.reason, str(error), log, 0, planned.num_frames)]
        num_frames, rejections = usable_frames(planned, content, self._video_ends.get(recording.name), settings)
        if not num_frames:
            return None, rejections
        every = planned.extent.every
        taken = np.arange(num_frames) % every == 0
        if every > 1:
            detail = f"every frame but one in {every} was left out; its actions count for the one before"
            num_left_out = int((~taken).sum())
            rejections.append(
                Rejection(recording.name, "reduced_rate", detail, str(recording.video), 0, num_left_out)
            )
        keep = taken if settings.noops == "keep" else content.keep[:num_frames]
        return Usable(planned, content, keep, continues), rejections

    def minestudio_limit(self, first: PlannedRecording) -> int | None:
        """How many frames MineStudio keeps of the episode that starts with this recording; None: all."""
        if self._settings.compat != "minestudio":
            return None
        num_frames = 0
        previous: Usable | None = None
        recordings = self._group.recordings
        for planned in recordings[recordings.index(first) :]:
            usable, _ = self.open(planned, previous)
            if usable is None:
                continue
            if previous is not None and not usable.continues:
                break
            num_frames += int(usable.keep.sum())
            previous = usable
        return kept_like_minestudio(num_frames)

    def _continues(self, previous: Usable, planned: PlannedRecording) -> bool:
        """Whether the recording belongs to the same episode, now that it is known how far the last one reaches."""
        pair = [(previous.planned.recording, previous.extent), (planned.recording, planned.extent)]
        return len(group_episodes(pair, self._settings.max_hole_seconds, self._settings.compat)) == 1
