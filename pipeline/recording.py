"""Records that pass between the sources and the build: what was found and what was read.

All of them are plain and picklable and hold no open files, so that a worker on another machine can get them.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.rejection import Rejection
from shards.action_space import ACTION_SPACE

SourceName = Literal["contractor", "minestudio", "lmdb", "plain"]
"""What `--source` takes: the keys of `pipeline.sources.SOURCES`, known here without importing the readers."""

WINDOW_HEIGHT_PX = 720
"""Height of the game window that the recorder's mouse positions refer to, whatever size the video has."""

MINESTUDIO_FRAME_PX = (640, 360)
"""Width and height that MineStudio's converters accept; an episode with any other size comes out empty there."""

MINESTUDIO_CHUNK_FRAMES = 32
"""MineStudio keeps whole chunks only: the last `num_frames % 32` frames of an episode are dropped."""


@dataclass(frozen=True, slots=True)
class Recording:
    """One source video with its action log, as found by name; nothing in it has been read yet.

    Attributes:
        name: the files' common stem, unique among the recordings that are found together.
        source: a key of `pipeline.sources.SOURCES`.
        video: the file or folder with the pictures; of an LMDB set the environment, as for the three below.
        info: MineStudio's file or environment with menu state (`privileged_infos`, `meta_info`).
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
    """How long a recording is, told by the ends of its log; None where it is not known.

    Attributes:
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
        size_px: (width, height).
        frames_per_second: on average; 0.0 where the container does not say.
        usual_frames_per_second: by the time from most frames to the next, which a pause does not change.
    """

    size_px: tuple[int, int]
    counts: FrameCounts
    frames_per_second: float
    usual_frames_per_second: float


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
        reason: a key of `REASONS`.
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

    def thinned(self, every: int) -> "RecordingContent":
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
