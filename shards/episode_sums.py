"""What an episode's clips add up to: the part of its row in the manifest that they give."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from shards.action_space import ACTION_SPACE
from shards.clip import ClipArrays
from shards.events import is_measure
from shards.manifest import CandidateRun, EventRow


class EpisodeSums:
    """Sums over an episode's clips, which are added in order."""

    def __init__(self) -> None:
        self._num_frames = self._num_camera_frames = self._num_gui_frames = 0
        self._buttons = np.zeros(len(ACTION_SPACE.buttons), np.int64)
        self._runs: list[CandidateRun] = []
        self._events: dict[int, EventRow] = {}

    def add(self, arrays: ClipArrays, event_names: Mapping[int, str]) -> None:
        """The sums include the next clip."""
        for frame in range(arrays.num_frames):
            candidates = tuple(arrays.candidates(frame).tolist())
            if not candidates:
                continue
            at = self._num_frames + frame
            last = self._runs[-1] if self._runs else None
            if last and last.stop == at and last.interactions == candidates:
                self._runs[-1] = CandidateRun(last.start, at + 1, candidates)
            else:
                self._runs.append(CandidateRun(at, at + 1, candidates))
        for index, name in event_names.items():
            chosen = arrays.event_name == index
            before = self._events.get(index, EventRow(name, 0, ()))
            count = before.count + int(arrays.event_count[chosen].sum())
            frames = () if is_measure(name) else (arrays.event_frame[chosen] + self._num_frames).tolist()
            self._events[index] = EventRow(name, count, (*before.frames, *frames))
        self._buttons += arrays.buttons.sum(axis=0, dtype=np.int64)
        self._num_camera_frames += int((arrays.camera != 0).any(axis=1).sum())
        self._num_gui_frames += int(arrays.gui.sum(dtype=np.int64))
        self._num_frames += arrays.num_frames

    def fields(self) -> dict[str, Any]:
        """The sums as fields of an `EpisodeRow`."""
        return {
            "num_frames": self._num_frames,
            "candidate_runs": self._runs,
            "events": [self._events[index] for index in sorted(self._events)],
            "button_counts": self._buttons.tolist(),
            "num_camera_frames": self._num_camera_frames,
            "num_gui_frames": self._num_gui_frames,
        }
