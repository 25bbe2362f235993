"""One recording becomes one mask file, written aside and renamed."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from pipeline.build.engines.tasks import FrameCounter, Progress
from pipeline.recording import Recording
from pipeline.rejection import SourceError
from pipeline.segment.choice import TrackerChoice, load_tracker
from pipeline.segment.follow import Track, follow
from pipeline.segment.play import read_play
from pipeline.segment.settings import SegmentSettings
from pipeline.segment.stretches import find_stretches
from pipeline.sources.mask_files import JSONL_SUFFIX, MaskWriter
from pipeline.sources.masks import Candidate
from pipeline.transcode.decode import source_frames
from pipeline.transcode.probe import BadVideo
from shards.interaction_types import interaction_type


@dataclass(frozen=True)
class SegmentTask:
    """All that a worker needs to find a recording's masks.

    Attributes:
        num_frames: expected.
        recording: whose masks.
        following: the session's next recording, if there is one.
        settings: of the run.
        choice: the tracker.
        out: folder of the mask files.
        header: what each file's first line says of the run.
    """

    num_frames: int
    recording: Recording
    following: Recording | None
    settings: SegmentSettings
    choice: TrackerChoice
    out: Path
    header: dict[str, Any]

    def run(self, progress: Progress) -> None:
        """The recording's mask file lies in `out`.

        A recording that cannot be read gets a file without masks that says why.

        Args:
            progress: told how many frames more are done; all of it adds up to `num_frames`.

        Raises:
            RocketError: the tracker cannot be loaded.
            OSError: the file cannot be written.
        """
        counter = FrameCounter(self.num_frames, progress)
        header = self.header | {"recording": self.recording.name}
        size: list[int] = []
        tracks: list[Track] = []
        skipped, problem = Counter[str](), ""
        try:
            play = read_play(self.recording, self.following)
            stretches, skipped = find_stretches(play, self.settings)
            if not play.has_statistics:
                header["events_from"] = "buttons" if self.settings.from_buttons else "nothing"
            if stretches:
                frames = _Frames(
                    source_frames(self.recording, play.num_lines, []), self.settings.frame_height, play.num_frames
                )
                tracks, lost = follow(frames, stretches, load_tracker(self.choice), self.settings, counter.add)
                skipped += lost
                size, problem = frames.size, frames.problem
        except SourceError as error:
            problem = error.reason
        height, width = size or (self.settings.frame_height, self.settings.frame_height * 16 // 9)
        if problem:
            header["problem"] = problem
        header["found"] = dict(sorted(Counter(_kind_of(track) for track in tracks).items()))
        header["mask_frames"] = sum(len(track.sights) for track in tracks)
        header["skipped"] = dict(sorted(skipped.items()))
        with MaskWriter(masks_path(self.out, self.recording.name), height, width, **header) as file:
            for track in tracks:
                sights = {
                    frame: Candidate(0, sight.rle, sight.point, sight.confidence)
                    for frame, sight in track.sights.items()
                }
                stretch = track.stretch
                file.add_runs(_kind_of(track), stretch.event, sights, stretch.event_frame + 1)
        counter.finish()


def masks_path(out: Path, name: str) -> Path:
    """The file of a recording's masks."""
    return out / f"{name}{JSONL_SUFFIX}"


def _kind_of(track: Track) -> str:
    return interaction_type(track.stretch.type).name


class _Frames:
    """A recording's frames as RGB pictures, made when they are asked for; ends quietly where the video does.

    Attributes:
        size: [height, width] of the pictures, once there is one.
        problem: why the video ended early, a key of `REASONS`; empty if it did not.
    """

    def __init__(self, frames: Iterator[VideoFrame], max_height: int, num_frames: int) -> None:
        self._frames, self._max_height, self._num_frames = frames, max_height, num_frames
        self.size: list[int] = []
        self.problem = ""

    def __iter__(self) -> Iterator[Callable[[], NDArray[np.uint8]]]:
        try:
            for _, frame in zip(range(self._num_frames), self._frames, strict=False):
                yield partial(self._picture, frame)
        except BadVideo as bad:
            self.problem = bad.reason

    def _picture(self, frame: VideoFrame) -> NDArray[np.uint8]:
        if not self.size:
            height = min(self._max_height, frame.height)
            self.size = [height, round(frame.width * height / frame.height)]
        height, width = self.size
        return np.asarray(frame.to_ndarray(format="rgb24", width=width, height=height), np.uint8)
