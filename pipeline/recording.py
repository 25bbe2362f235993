"""Records that pass between the sources and the build: what was found, what was read, what was left out.

All of them are plain and picklable and hold no open files, so that a worker on another machine can get them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from shards.action_space import ACTION_SPACE
from shards.errors import RocketError

SourceName = Literal["contractor", "minestudio", "lmdb", "plain"]
"""What `--source` takes: the keys of `pipeline.sources.SOURCES`, known here without importing the readers."""

WINDOW_HEIGHT_PX = 720
"""Height of the game window that the recorder's mouse positions refer to, whatever size the video has."""

MINESTUDIO_FRAME_PX = (640, 360)
"""Width and height that MineStudio's converters accept; an episode with any other size comes out empty there."""

MINESTUDIO_CHUNK_FRAMES = 32
"""MineStudio keeps whole chunks only: the last `num_frames % 32` frames of an episode are dropped."""

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
class Recording:
    """One source video with its action log, as found by name; nothing in it has been read yet.

    Attributes:
        name: the files' common stem, unique among the recordings that are found together.
        source: the name of the source that reads it, a key of `pipeline.sources.SOURCES`.
        video: the file or folder with the pictures; of an LMDB set the environment that holds the images.
        actions: the file or folder with the actions, likewise.
        masks: `.rle`, `.masks.jsonl` or an LMDB environment's folder; None without masks.
        info: MineStudio's file or environment with menu state (`privileged_infos`, `meta_info`); None elsewhere.
        session: recordings of one session may be joined into an episode; others never are.
        start_time: when the recording began, by its name, in the recorder's clock; None: never joined.
        version: the recorder's version, such as "7.6", where a folder or the index tells it.
        is_episode: it is a whole episode already, which nothing is joined to.
    """

    name: str
    source: str
    video: Path
    actions: Path
    masks: Path | None = None
    info: Path | None = None
    session: str = ""
    start_time: datetime | None = None
    version: str | None = None
    is_episode: bool = False


@dataclass(frozen=True, slots=True)
class Rejection:
    r"""A recording, or a part of one, that is left out; a line of `rejected.jsonl`.

    Attributes:
        recording: its name.
        reason: a key of `REASONS`.
        detail: one sentence with the values that were met and expected.
        path: the file at fault.
        first_frame: first frame that is left out; 0 = the whole recording.
        num_frames: how many frames are left out; None where nobody can know.
        remedy: what the user can do.

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

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def printable(text: str) -> str:
    r"""The text as UTF-8 can hold it; bytes of file names that are no text become `\udce9`."""
    return text.encode("utf-8", "backslashreplace").decode()


@dataclass(frozen=True, slots=True)
class Findings:
    """What a search found: recordings in the order (session, start, name), and what was left out."""

    recordings: tuple[Recording, ...]
    rejections: tuple[Rejection, ...]


@dataclass(frozen=True, slots=True)
class LogMark:
    """What one line of a log tells about the world's age; None where the recorder did not say.

    Attributes:
        tick: number of the line in its recording.
        server_tick: the server's tick; goes on from one recording of a session to the next.
        play_ticks: the statistic `play_one_minute`, which counts ticks in this world.
        stats_total: the sum of all statistics; they only ever grow in one world.
    """

    tick: int | None = None
    server_tick: int | None = None
    play_ticks: int | None = None
    stats_total: int | None = None


@dataclass(frozen=True, slots=True)
class Extent:
    """How long a recording is, told by the ends of its log; see `pipeline.sources.measure`.

    Attributes:
        num_frames: number of frames; None where it is not known.
        first: the log's first line.
        last: the log's last line.
        every: how many times as many frames per second it has as the dataset.
    """

    num_frames: int | None = None
    first: LogMark | None = None
    last: LogMark | None = None
    every: int = 1

    @property
    def seconds(self) -> float | None:
        """How long it takes; None where that is not known."""
        if self.num_frames is None:
            return None
        return self.num_frames / (self.every * ACTION_SPACE.frames_per_second)


@dataclass(frozen=True, slots=True)
class FrameCounts:
    """How many frames a video's container lists.

    Attributes:
        coded: all of them; 0 where the container does not say.
        shown: without those that an edit list hides from players.
        in_order: players show them in their order.
    """

    coded: int
    shown: int
    in_order: bool = True

    def for_lines(self, num_lines: int | None) -> int | None:
        """How many frames a log of so many lines is about: all coded ones, or those that are shown; None: neither.

        An edit list is for players, but a log may have been written for what a player shows. The number of lines
        tells, which may be one less than that of the frames. Without a log, all coded frames count.
        """
        if self.coded == self.shown or num_lines is None:
            return self.coded
        # A list that shows frames twice is for players alone.
        for surplus in (0, 1):
            for num_frames in (self.coded, min(self.coded, self.shown)):
                if num_frames - surplus == num_lines:
                    return num_frames
        return None


@dataclass(frozen=True)
class VideoHeader:
    """What a video's container claims; nothing of it has been decoded.

    Attributes:
        counts: of frames.
        frames_per_second: on average; 0.0 where the container does not say.
        usual_frames_per_second: by the time from most frames to the next, which a pause does not change.
    """

    width_px: int
    height_px: int
    counts: FrameCounts
    frames_per_second: float
    usual_frames_per_second: float
    codec: str


@dataclass(frozen=True, slots=True)
class CarryState:
    """What the next recording of the same episode must know; the default is an episode's start.

    Attributes:
        attack_stuck: whether the attack button is held down by the recorder, not by the player. None: nothing has
            been read yet, so the first line decides.
        hotbar: the selected slot, 0 to 8.
    """

    attack_stuck: bool | None = None
    hotbar: int = 0


EPISODE_START = CarryState()


@dataclass(frozen=True, slots=True)
class Breakage:
    """Where the usable part of a log or a video ends before it does.

    Attributes:
        first_frame: the first frame that cannot be used.
        reason: a key of `REASONS`.
        detail: what was met there.
    """

    first_frame: int
    reason: str
    detail: str


@dataclass(frozen=True)
class RecordingContent:
    """A recording's log as arrays; n is the number of usable lines. Line i belongs to the i-th decoded frame.

    Attributes:
        buttons: u8 (n, 23), columns as `ACTION_SPACE.buttons`.
        camera: f64 (n, 2), degrees, [pitch, yaw].
        gui: bool (n,), a menu is open; False everywhere if the source does not tell.
        cursor_window_px: f64 (n, 2), (x, y) in a window 720 pixels high, NaN where there is no cursor; None: the
            video shows it already.
        keep: bool (n,), False for a no-op: the camera still and none of the 23 buttons down.
        num_lines: how many lines the log has, broken ones too.
        state: for the next recording of the episode.
        breakage: why `n < num_lines`, if it is.
        wraps_cursor: a cursor far left of the frame is drawn at its right edge, as MineStudio's slice does.
    """

    buttons: NDArray[np.uint8]
    camera: NDArray[np.float64]
    gui: NDArray[np.bool_]
    cursor_window_px: NDArray[np.float64] | None
    keep: NDArray[np.bool_]
    num_lines: int
    state: CarryState = EPISODE_START
    breakage: Breakage | None = None
    wraps_cursor: bool = False

    def __post_init__(self) -> None:
        n = len(self.buttons)
        assert self.buttons.shape == (n, len(ACTION_SPACE.buttons))
        assert self.buttons.dtype == np.uint8
        assert self.camera.shape == (n, 2)
        assert self.camera.dtype == np.float64
        assert self.gui.shape == (n,)
        assert self.gui.dtype == bool
        assert self.keep.shape == (n,)
        assert self.keep.dtype == bool
        assert self.cursor_window_px is None or self.cursor_window_px.shape == (n, 2)
        assert n <= self.num_lines

    @property
    def num_frames(self) -> int:
        return len(self.buttons)

    def cursor_at(self, frame: int, frame_width_px: int, frame_height_px: int) -> tuple[float, float] | None:
        """The cursor's tip (x, y) in whole pixels of the source frame, which it may lie outside of.

        None where none is to be drawn. NaN where the log does not tell.

        Source: openai/Video-Pre-Training, data_loader.py: position * height / 720, cut off towards zero.
        """
        if self.cursor_window_px is None or not self.gui[frame]:
            return None
        tip = np.trunc(self.cursor_window_px[frame] * (frame_height_px / WINDOW_HEIGHT_PX))
        if self.wraps_cursor:
            tip = np.where(tip < 0, tip + np.array([frame_width_px, frame_height_px]), tip)
        return float(tip[0]), float(tip[1])

    def thinned(self, every: int) -> RecordingContent:
        """The same content for every so many-th frame alone, which gets the actions of all up to the next of them.

        Buttons are or-ed and camera movements summed, so that clicks, turns of the wheel and the way that the view
        turns are those of the log. The other frames stay in their places, as frames that are not kept.
        """
        if every == 1 or not self.num_frames:
            return self
        taken = np.arange(0, self.num_frames, every)
        buttons, camera, keep = np.zeros_like(self.buttons), np.zeros_like(self.camera), np.zeros_like(self.keep)
        buttons[taken] = np.maximum.reduceat(self.buttons, taken)
        camera[taken] = np.add.reduceat(self.camera, taken)
        moves = (camera != 0).any(axis=1) | buttons.any(axis=1)
        keep[taken] = np.logical_or.reduceat(self.keep, taken) & moves[taken]
        return replace(self, buttons=buttons, camera=camera, keep=keep)
