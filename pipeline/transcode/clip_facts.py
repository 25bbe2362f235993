"""What is known of a clip's frames while its pictures are with the encoder."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pipeline.recording import RecordingContent
from pipeline.transcode.episode_log import FrameLog
from shards.clip import ClipArrays


@dataclass
class _Span:
    """Frames of one recording that lie in the clip."""

    recording: int
    content: RecordingContent
    source_frames: list[int] = field(default_factory=list)


@dataclass
class ClipFacts:
    """A clip that grows frame by frame.

    Attributes:
        start_frame: its first frame in the episode.
        num_recordings: how many of the episode's recordings were known when its last frame was added.
        num_frames: frames so far.
    """

    start_frame: int
    num_recordings: int = 0
    num_frames: int = 0
    _spans: list[_Span] = field(default_factory=list)
    _num_candidates: list[int] = field(default_factory=list)
    _interactions: list[int] = field(default_factory=list)
    _points: list[tuple[float, float]] = field(default_factory=list)
    _runs: list[NDArray[np.uint32]] = field(default_factory=list)
    _num_dropped: list[int] = field(default_factory=list)
    _events: dict[tuple[int, int], int] = field(default_factory=dict)  # (frame, name) -> count
    _lines: list[bytes] = field(default_factory=list)

    def add_frame(self, recording: int, content: RecordingContent, source_frame: int, log: FrameLog) -> None:
        """The clip's next frame is this one of the episode's recording of that number."""
        if not self._spans or self._spans[-1].recording != recording:
            self._spans.append(_Span(recording, content))
        self._spans[-1].source_frames.append(source_frame)
        self._num_candidates.append(0)
        self._num_dropped.append(log.num_lines - 1)
        self.num_frames += 1
        self.add_log(log)

    def add_log(self, log: FrameLog) -> None:
        """The last frame has these lines and events as well."""
        self._lines += log.lines
        for name, count in log.events.items():
            key = self.num_frames - 1, name
            self._events[key] = self._events.get(key, 0) + count

    def add_candidate(self, interaction: int, point: tuple[float, float], runs: NDArray[np.uint32]) -> None:
        """The last frame has one candidate more.

        Args:
            interaction: index in the episode.
            point: (row, column) as fractions of the frame, or NaN.
            runs: the mask, see shards/masks.py.
        """
        self._num_candidates[-1] += 1
        self._interactions.append(interaction)
        self._points.append(point)
        self._runs.append(runs)

    def log(self) -> bytes:
        """The clip's lines; none of them where logs are not kept."""
        return b"".join(self._lines)

    def arrays(self) -> ClipArrays:
        """The clip's arrays."""
        k, spans = len(self._runs), self._spans
        events = np.array([(*key, count) for key, count in self._events.items()], np.int64).reshape(-1, 3)
        return ClipArrays(
            buttons=np.concatenate([span.content.buttons[span.source_frames] for span in spans]),
            camera=np.concatenate([span.content.camera[span.source_frames] for span in spans]),
            recording=np.repeat(
                np.array([span.recording for span in spans], np.uint16),
                [len(span.source_frames) for span in spans],
            ),
            source_frame=np.concatenate([np.array(span.source_frames, np.int32) for span in spans]),
            dropped_before=np.array(self._num_dropped, np.int32),
            gui=np.concatenate([span.content.gui[span.source_frames] for span in spans]).astype(np.uint8),
            candidate_offsets=np.cumsum([0, *self._num_candidates], dtype=np.int32),
            candidate_interaction=np.array(self._interactions, np.int32),
            candidate_point=np.array(self._points, np.float32).reshape(k, 2),
            mask_offsets=np.cumsum([0, *(len(runs) for runs in self._runs)], dtype=np.int64),
            mask_runs=np.concatenate(self._runs) if k else np.zeros(0, np.uint32),
            event_frame=events[:, 0].astype(np.int32),
            event_name=events[:, 1].astype(np.int32),
            event_count=events[:, 2].copy(),
        )
