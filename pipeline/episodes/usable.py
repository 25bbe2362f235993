"""How much of a recording can be used, with an account of the rest. Pure: the log has been read."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pipeline.episodes.groups import PlannedRecording
from pipeline.recording import (
    MINESTUDIO_CHUNK_FRAMES,
    REMEDIES,
    Breakage,
    Extent,
    RecordingContent,
    Rejection,
)
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


def usable_frames(
    planned: PlannedRecording, content: RecordingContent, video_end: Breakage | None, settings: BuildSettings
) -> tuple[int, list[Rejection]]:
    """How many of the recording's first frames can be used, with an account of the others.

    Frames and lines go together by their order, as far as both reach. A video may have one frame more than its
    log: recorders write the frame after the last action as well.

    Args:
        planned: the recording.
        content: its log.
        video_end: where an earlier try found that the video ends; None: not before its log.
        settings: of the build.
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


def kept_like_minestudio(num_frames: int) -> int:
    """How many frames of an episode MineStudio keeps: whole chunks only."""
    return num_frames - num_frames % MINESTUDIO_CHUNK_FRAMES
