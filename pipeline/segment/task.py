"""One recording becomes one mask file, written aside and renamed."""

from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from pipeline.build.engines.tasks import FrameCounter, Progress
from pipeline.recording import Recording, RecordingContent
from pipeline.rejection import SourceError
from pipeline.segment.choice import TrackerChoice, load_tracker
from pipeline.segment.follow import Track, follow
from pipeline.segment.play import read_play
from pipeline.segment.settings import SegmentSettings
from pipeline.segment.stretches import find_stretches
from pipeline.sources.mask_files import JSONL_SUFFIX, MaskWriter
from pipeline.transcode.decode import source_frames
from pipeline.transcode.probe import BadVideo


def segment_recording(
    recording: Recording,
    following: Recording | None,
    num_frames: int,
    settings: SegmentSettings,
    choice: TrackerChoice,
    out: Path,
    header: dict[str, Any],
    progress: Progress,
) -> None:
    """The recording's mask file lies in `out`; of one that cannot be read, it has no masks and says why.

    Args:
        following: the session's next recording, if there is one.
        num_frames: expected; what `progress` is told adds up to it.
        out: folder of the mask files.
        header: what each file's first line says of the run.

    Raises:
        RocketError: the tracker cannot be loaded.
        OSError: the file cannot be written.
    """
    counter = FrameCounter(num_frames, progress)
    header = header | {"recording": recording.name}
    size = settings.frame_height, settings.frame_height * 16 // 9
    tracks: list[Track] = []
    skipped, problem = Counter[str](), ""
    try:
        play = read_play(recording, following)
        stretches, skipped = find_stretches(play, settings)
        if not play.has_statistics:
            header["events_from"] = "buttons" if settings.from_buttons else "nothing"
        if stretches:
            frames = _Frames(recording, play.content, settings.frame_height)
            tracks, lost = follow(frames, stretches, load_tracker(choice), settings, counter.add)
            skipped += lost
            size, problem = frames.size or size, frames.problem
    except SourceError as error:
        problem = error.reason
    if problem:
        header["problem"] = problem
    header["found"] = dict(sorted(Counter(track.stretch.kind for track in tracks).items()))
    header["mask_frames"] = sum(len(track.sights) for track in tracks)
    header["skipped"] = dict(sorted(skipped.items()))
    with MaskWriter(masks_path(out, recording.name), *size, **header) as file:
        for track in tracks:
            stretch = track.stretch
            file.add_runs(stretch.kind, stretch.event, track.sights, stretch.event_frame + 1)
    counter.finish()


def masks_path(out: Path, name: str) -> Path:
    """The file of a recording's masks."""
    return out / f"{name}{JSONL_SUFFIX}"


class _Frames:
    """A recording's frames as RGB pictures, made when they are asked for; ends quietly where the video does.

    Attributes:
        size: (height, width) of the pictures; None until one was made.
        problem: why the video ended early, a key of `REASONS`; empty if it did not.
    """

    def __init__(self, recording: Recording, content: RecordingContent, max_height: int) -> None:
        self._frames = islice(source_frames(recording, content.num_lines, []), content.num_frames)
        self._max_height = max_height
        self.size: tuple[int, int] | None = None
        self.problem = ""

    def __iter__(self) -> Iterator[Callable[[], NDArray[np.uint8]]]:
        try:
            for frame in self._frames:
                yield partial(self._picture, frame)
        except BadVideo as bad:
            self.problem = bad.reason

    def _picture(self, frame: VideoFrame) -> NDArray[np.uint8]:
        if self.size is None:
            height = min(self._max_height, frame.height)
            self.size = height, round(frame.width * height / frame.height)
        height, width = self.size
        return np.asarray(frame.to_ndarray(format="rgb24", width=width, height=height), np.uint8)
