"""What is left out of a dataset, and why: a line of rejected.jsonl each."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shards.errors import RocketError

REASONS: Mapping[str, str] = {
    "missing_video": "the log has no video",
    "missing_log": "the video has no action log",
    "missing_recording": "masks of a recording that is not there",
    "duplicate": "the same recording was found twice; the other copy was taken",
    "not_downloaded": "the index file names it, but it is not on the disk",
    "bad_name": "the name cannot be written down",
    "unreadable": "the file cannot be opened or is not what its name says",
    "empty_log": "the log has no lines",
    "broken_line": "a line is not a JSON object",
    "blank_line": "a line is blank",
    "wrong_schema": "a line lacks what an action needs, or has another type there",
    "line_too_long": "a line is longer than any real one",
    "counter_jumps": "the log's own counter says that a line is missing or doubled; what is before it is used",
    "out_of_range": "a value is larger than any mouse or camera can give",
    "lengths_differ": "video and log, or the parts of a set, do not have the same number of frames",
    "masks_unreadable": "the masks cannot be read; the recording is used without them",
    "mask_entry": "a mask is not what the layout says; the frame is used without it",
    "mask_field": "a field of a mask is not what the layout says; the mask is used without that field",
    "mask_unused": "masks of frames that are not in the video",
    "unknown_interaction": "a mask has an interaction type that is not known; the frame is used without it",
    "missing_masks": "other recordings have masks, this one has none; it is used without",
    "too_short": "the episode has fewer frames than `min_frames`",
    "minestudio_rule": "MineStudio's own converter leaves it out (compat: minestudio)",
    "video_missing": "the video is not there",
    "video_unreadable": "the video cannot be opened, such as an mp4 whose end is missing",
    "no_video_stream": "the file holds no video",
    "frame_too_large": "the frames are larger than any recorder's",
    "several_videos": "the file holds more than one video, and which one the log is about is not known",
    "not_upright": "players turn or mirror the pictures",
    "edit_list": "an edit list hides frames, and the log is neither about all frames nor about the others",
    "no_frames": "the video has no frame",
    "bad_frame": "a frame does not decode or had to be patched up; what is before it is used",
    "lost_frames": "coded frames give no picture; what is before them is used",
    "missing_frames": "frames are missing in the video; what is before them is used",
    "doubled_frames": "a frame is in the video twice; what is before its second time is used",
    "uneven_times": "the time between two frames is not always the same; frames and lines are paired in order",
    "frames_per_second": "the video does not have 20 frames per second",
    "reduced_rate": "frames of a faster video between those that were taken; their actions count (reduce_rate)",
}
"""Reason codes of rejected.jsonl, and what they mean."""

REMEDIES: Mapping[str, str] = {
    "several_videos": "Keep the right one: ffmpeg -i OLD -map 0:v:0 -c copy NEW",
    "not_upright": "Turn the pictures themselves: ffmpeg -i OLD -fps_mode passthrough -crf 12 NEW",
    "edit_list": "Make a log with a line for each frame, hidden ones too.",
}
"""What to do, for reasons that always have the same remedy."""


class SourceError(RocketError):
    """A recording, or what was given as a source, cannot be read at all.

    Attributes:
        reason: a key of `REASONS`.
    """

    def __init__(self, message: str, reason: str = "unreadable") -> None:
        super().__init__(message)
        self.reason = reason

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.args[0], self.reason)


def cannot_read(path: Path, error: OSError) -> SourceError:
    """The line about a file that cannot be read."""
    return SourceError(f"{path}: cannot be read, got {error.strerror or error}. Check the file.")


@dataclass(frozen=True, slots=True)
class Rejection:
    r"""A recording, or a part of one, that is left out; a line of `rejected.jsonl`.

    Attributes:
        reason: a key of `REASONS`.
        detail: one sentence with the values that were met and expected.
        path: the file at fault.
        first_frame: first frame that is left out; 0 = the whole recording.
        num_frames: how many frames are left out; None where nobody can know.

    Names of files need not be text in UTF-8: a byte that is none is shown as `\udce9`, so that it can be written.
    """

    recording: str
    reason: str
    detail: str
    path: str | None = None
    first_frame: int = 0
    num_frames: int | None = None
    remedy: str | None = None

    def __post_init__(self) -> None:
        for name in ("recording", "detail", "path", "remedy"):
            text = getattr(self, name)
            if text is not None:
                object.__setattr__(self, name, printable(text))


def printable(text: str) -> str:
    r"""The text as UTF-8 can hold it; bytes of file names that are no text become `\udce9`."""
    return text.encode("utf-8", "backslashreplace").decode()
