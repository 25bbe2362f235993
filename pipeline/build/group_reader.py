"""Reads the recordings of a group in turn, each as far as it can be used, with an account of the rest."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pipeline.episodes.grouping import group_episodes
from pipeline.episodes.groups import Group, PlannedRecording
from pipeline.recording import EPISODE_START, MINESTUDIO_CHUNK_FRAMES, Breakage, Extent, RecordingContent
from pipeline.rejection import REMEDIES, Rejection, SourceError
from pipeline.settings import BuildSettings
from pipeline.sources import source_of


@dataclass(frozen=True)
class Usable:
    """A recording whose frames will be taken: `keep` says which of its first ones."""

    planned: PlannedRecording
    content: RecordingContent
    keep: NDArray[np.bool_]
    continues: bool

    @property
    def extent(self) -> Extent:
        """How long it is, as far as it can be used."""
        extent, num_frames = self.planned.extent, len(self.keep)
        if extent.num_frames is not None and num_frames < extent.num_frames:
            # What the log says of its end is not where the frames end.
            return replace(extent, num_frames=num_frames, last=None)
        return extent


@dataclass(frozen=True)
class GroupReader:
    """Opens a group's recordings, one after the other.

    Attributes:
        video_ends: by recording, where earlier tries found that a video ends; may be added to later.
    """

    group: Group
    settings: BuildSettings
    video_ends: dict[str, Breakage]

    def open(self, planned: PlannedRecording, previous: Usable | None) -> tuple[Usable | None, list[Rejection]]:
        """The recording's actions as far as they can be used, None if not at all; and what is left out."""
        recording, settings = planned.recording, self.settings
        try:
            continues = previous is not None and self._continues(previous, planned)
            state = previous.content.state if previous is not None and continues else EPISODE_START
            content = source_of(recording).load_log(recording, state, settings).thinned(planned.extent.every)
        except SourceError as error:
            log = str(recording.actions)
            return None, [Rejection(recording.name, error.reason, str(error), log, 0, planned.num_frames)]
        num_frames, rejections = usable_frames(planned, content, self.video_ends.get(recording.name), settings)
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
        if self.settings.compat != "minestudio":
            return None
        num_frames = 0
        previous: Usable | None = None
        recordings = self.group.recordings
        for planned in recordings[recordings.index(first) :]:
            usable, _ = self.open(planned, previous)
            if usable is None:
                continue
            if previous is not None and not usable.continues:
                break
            num_frames += int(usable.keep.sum())
            previous = usable
        return num_frames - num_frames % MINESTUDIO_CHUNK_FRAMES

    def _continues(self, previous: Usable, planned: PlannedRecording) -> bool:
        """Whether the recording belongs to the same episode, now that it is known how far the last one reaches."""
        pair = [(previous.planned.recording, previous.extent), (planned.recording, planned.extent)]
        return len(group_episodes(pair, self.settings.max_hole_seconds, self.settings.compat)) == 1


def usable_frames(
    planned: PlannedRecording, content: RecordingContent, video_end: Breakage | None, settings: BuildSettings
) -> tuple[int, list[Rejection]]:
    """How many of the recording's first frames can be used, with an account of the others.

    Frames and lines go together by their order, as far as both reach. A video may have one frame more than its
    log: recorders write the frame after the last action as well. `video_end` is where an earlier try found that
    the video ends, if before its log.
    """
    recording, header = planned.recording, planned.header
    video, num_lines = str(recording.video), content.num_lines
    rejections: list[Rejection] = []

    def leave_out(why: Breakage, path: str, num_frames: int) -> None:
        remedy = REMEDIES.get(why.reason)
        rejections.append(
            Rejection(recording.name, why.reason, why.detail, path, why.first_frame, num_frames, remedy)
        )

    num_frames, num_found = content.num_frames, num_lines
    if content.breakage is not None:
        leave_out(content.breakage, str(recording.actions), max(0, num_lines - content.breakage.first_frame))
    num_in_header = (header.counts.for_lines(num_lines) or 0) if header else 0
    if num_in_header:
        detail = f"the video has {num_in_header} frames, the log {num_lines} lines"
        if num_in_header > num_lines + 1:
            num_found = num_in_header
            leave_out(Breakage(num_lines, "lengths_differ", detail), video, num_in_header - num_lines)
        elif num_in_header < num_frames and video_end is None:
            leave_out(Breakage(num_in_header, "lengths_differ", detail), video, num_frames - num_in_header)
            num_frames = num_in_header
    if video_end is not None and video_end.first_frame < num_frames:
        leave_out(video_end, video, num_frames - video_end.first_frame)
        num_frames = video_end.first_frame
    if settings.compat == "minestudio":  # a recording with anything wrong is left out whole
        objection = source_of(recording).minestudio_objection(header, num_lines) if header else None
        if objection is not None:
            rejections = [Rejection(recording.name, "minestudio_rule", objection, video)]
        if rejections:
            return 0, [replace(rejections[0], first_frame=0, num_frames=num_found)]
    assert num_frames + sum(left_out.num_frames or 0 for left_out in rejections) == num_found
    return num_frames, rejections
