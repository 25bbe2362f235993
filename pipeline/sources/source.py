"""One kind of source: all that has to be done for it, in one object.

A new kind is a subclass of `Source` in a module of its own, a line in `pipeline.sources.SOURCES`, and a
name in `pipeline.recording.SourceName`.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from pipeline.recording import (
    EPISODE_START,
    CarryState,
    Extent,
    Findings,
    Recording,
    RecordingContent,
    VideoHeader,
)
from pipeline.rejection import Rejection, SourceError
from pipeline.settings import BuildSettings
from pipeline.sources.files.json_lines import raw_lines
from pipeline.sources.mask_files import load_masks_file
from pipeline.sources.masks import RecordingMasks
from pipeline.sources.tree import Search

if TYPE_CHECKING:  # PyAV takes a while to import, and only those who decode need it
    from av.video.frame import VideoFrame

DEFAULTS = BuildSettings()


@dataclass(frozen=True, slots=True)
class VideoPiece:
    """Frames [start_frame, start_frame + num_frames) of a recording as a file; None where that is missing."""

    start_frame: int
    num_frames: int
    mp4: bytes | None


class Source(ABC):
    """A kind of source. It holds no state and opens files only while a method runs.

    Attributes:
        name: what `--source` calls it.
        stored_as: how it holds pictures: a video file, mp4 pieces, or frames that only it can read.
    """

    name: ClassVar[str]
    stored_as: ClassVar[Literal["file", "pieces", "frames"]] = "file"

    @abstractmethod
    def find(self, search: Search) -> Findings:
        """The recordings of this kind, by name, and what lacks something."""

    @abstractmethod
    def measure(self, recording: Recording) -> Extent:
        """How long a recording is, and how old its world is at both ends; reads as little as possible.

        Raises:
            SourceError: if the log cannot be read.
        """

    @abstractmethod
    def load_log(
        self, recording: Recording, state: CarryState = EPISODE_START, settings: BuildSettings = DEFAULTS
    ) -> RecordingContent:
        """A recording's actions, menus and cursor up to the first bad line; `breakage` tells what ends them.

        `state` is `content.state` of the episode's previous recording; the default starts an episode.

        Raises:
            SourceError: if nothing of the log can be read.
        """

    def log_lines(self, recording: Recording) -> Iterator[bytes]:
        """The log line by line, byte for byte; or what the source knows of each frame, as a line of JSON.

        Line i belongs to frame i, as far as `load_log` finds frames; there may be lines after that.

        Raises:
            SourceError: if the log cannot be read.
        """
        return raw_lines(recording.actions)

    def length(self, recording: Recording) -> int | None:
        """How many frames a recording has, by its log; None if that cannot be read."""
        try:
            return self.measure(recording).num_frames
        except SourceError:
            return None

    def load_masks(self, recording: Recording) -> RecordingMasks | None:
        """A recording's masks, bad entries only as `problems`; None if it has none.

        Raises:
            SourceError: if the masks as a whole cannot be read; the recording can be used without them.
        """
        return None if recording.masks is None else load_masks_file(recording.masks)

    def pieces(self, recording: Recording) -> Iterator[VideoPiece]:
        """The video piece by piece, in order. Only of sources that store pieces.

        Raises:
            SourceError: if they cannot be read.
        """
        raise NotImplementedError

    def frames(self, recording: Recording) -> Iterator["VideoFrame"]:
        """The pictures in order. Only of sources that store frames.

        Raises:
            SourceError: if they cannot be read.
        """
        raise NotImplementedError

    def minestudio_objection(self, header: VideoHeader, num_lines: int) -> str | None:  # noqa: ARG002
        """Why MineStudio's converter leaves a recording out for its video, or None; for `compat: minestudio`."""
        return None


def duplicate(name: str, left_out: Path, taken: Path) -> Rejection:
    """The account of a copy that is left out."""
    return Rejection(name, "duplicate", f"taken from {taken}", path=str(left_out))
