"""What is known of a clip's frames while its pictures are with the encoder."""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pipeline.recording import RecordingContent
from pipeline.transcode.episode_log import FrameLog
from shards.clip import ClipArrays


@dataclass
class ClipFacts:
    """A clip that grows frame by frame.

    Attributes:
        start_frame: its first frame in the episode.
        num_recordings: how many of the episode's recordings were known when its last frame was added.
        lines: of the log.
    """

    start_frame: int
    num_recordings: int = 0
    lines: list[bytes] = field(default_factory=list)
    _places: list[tuple[RecordingContent, int, int]] = field(default_factory=list)  # with recording, source frame
    _num_dropped: list[int] = field(default_factory=list)
    _events: Counter[tuple[int, int]] = field(default_factory=Counter)  # by frame and name
    _num_candidates: list[int] = field(default_factory=list)
    _candidates: list[tuple[int, tuple[float, float], NDArray[np.uint32]]] = field(default_factory=list)

    @property
    def num_frames(self) -> int:
        return len(self._places)

    def add_frame(self, recording: int, content: RecordingContent, source_frame: int, log: FrameLog) -> None:
        """The clip's next frame is this one of the episode's recording of that number."""
        self._places.append((content, recording, source_frame))
        self._num_candidates.append(0)
        self._num_dropped.append(len(log.lines) - 1)
        self.add_log(log)

    def add_log(self, log: FrameLog) -> None:
        """The last frame has these lines and events as well."""
        self.lines += log.lines
        for name, count in log.events.items():
            self._events[self.num_frames - 1, name] += count

    def add_candidate(self, interaction: int, point: tuple[float, float], runs: NDArray[np.uint32]) -> None:
        """The last frame has one candidate more.

        Args:
            interaction: index in the episode.
            point: (row, column) as fractions of the frame, or NaN.
            runs: the mask, see shards/masks.py.
        """
        self._num_candidates[-1] += 1
        self._candidates.append((interaction, point, runs))

    def arrays(self) -> ClipArrays:
        places, candidates = self._places, self._candidates
        runs = [runs for _, _, runs in candidates]
        events = np.array([(*key, count) for key, count in self._events.items()], np.int64).reshape(-1, 3)
        return ClipArrays(
            buttons=np.stack([content.buttons[frame] for content, _, frame in places]),
            camera=np.stack([content.camera[frame] for content, _, frame in places]),
            recording=np.array([recording for _, recording, _ in places], np.uint16),
            source_frame=np.array([frame for _, _, frame in places], np.int32),
            dropped_before=np.array(self._num_dropped, np.int32),
            gui=np.array([content.gui[frame] for content, _, frame in places], np.uint8),
            candidate_offsets=np.cumsum([0, *self._num_candidates], dtype=np.int32),
            candidate_interaction=np.array([interaction for interaction, _, _ in candidates], np.int32),
            candidate_point=np.array([point for _, point, _ in candidates], np.float32).reshape(-1, 2),
            mask_offsets=np.cumsum([0, *map(len, runs)], dtype=np.int64),
            mask_runs=np.concatenate([np.zeros(0, np.uint32), *runs]),
            event_frame=events[:, 0].astype(np.int32),
            event_name=events[:, 1].astype(np.int32),
            event_count=events[:, 2].copy(),
        )
