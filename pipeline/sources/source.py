"""One kind of source: all that has to be done for it, in one object.

A new kind is a subclass of `Source` in a module of its own, a line in `pipeline.sources.SOURCES`, and a
name in `pipeline.recording.SourceName`.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
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
from pipeline.sources.tree import SourceFile, SourceTree

if TYPE_CHECKING:  # PyAV takes a while to import, and only those who decode need it
    from av.video.frame import VideoFrame

DEFAULTS = BuildSettings()


@dataclass(frozen=True)
class Search:
    """What a source looks through to find its recordings.

    Attributes:
        tree: the files.
        versions: recorder versions by recording, from index files.
        alone: no other source is asked, so that whatever can be this one's is.
        claimed: files that belong to a source that was asked before; a source adds its own.
    """

    tree: SourceTree
    versions: Mapping[str, str] = field(default_factory=dict)
    alone: bool = False
    claimed: set[Path] = field(default_factory=set)

    def unclaimed(self, files: list[SourceFile]) -> list[SourceFile]:
        """Those files that no source asked before has taken."""
        return [file for file in files if file.path not in self.claimed]


@dataclass(frozen=True, slots=True)
class VideoPiece:
    """A piece of a video, as stored.

    Attributes:
        start_frame: its first frame, in the recording.
        num_frames: how many frames it should hold.
        mp4: a file of its own; None if it is missing.
    """

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

        Args:
            recording: which.
            state: `content.state` of the episode's previous recording; the default starts an episode.
            settings: of the build.

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
        """How many frames a recording that will not be used has, by its log; None if that cannot be read."""
        try:
            return self.measure(recording).num_frames
        except SourceError:
            return None

    def load_masks(self, recording: Recording) -> RecordingMasks | None:
        """A recording's masks; None if it has none. Entries that are bad are in `problems`, all others are there.

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
