"""What is known of a clip's frames while its pictures are with the encoder."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pipeline.recording import RecordingContent
from pipeline.transcode.episode_log import FrameLog
from shards.clip import ClipArrays


@dataclass
class FrameFacts:
    """A frame of an episode.

    Attributes:
        content: of its recording.
        recording: the number of that in the episode.
        source_frame: the frame's number in that.
        log: the lines since the frame before; of the episode's last frame those after it, too.
        num_dropped: source frames since the frame before.
        candidates: interaction in the episode, (row, column) as fractions of the frame or NaN, run lengths.
    """

    content: RecordingContent
    recording: int
    source_frame: int
    log: FrameLog
    num_dropped: int
    candidates: list[tuple[int, tuple[float, float], NDArray[np.uint32]]] = field(default_factory=list)


@dataclass
class ClipFacts:
    """A clip that grows frame by frame.

    Attributes:
        start_frame: its first frame in the episode.
        num_recordings: how many of the episode's recordings were known when its last frame was added.
    """

    start_frame: int
    num_recordings: int = 0
    frames: list[FrameFacts] = field(default_factory=list)

    def arrays(self) -> ClipArrays:
        frames = self.frames
        candidates = [candidate for frame in frames for candidate in frame.candidates]
        runs = [runs for _, _, runs in candidates]
        counts = [(index, *event) for index, frame in enumerate(frames) for event in frame.log.events.items()]
        events = np.array(counts, np.int64).reshape(-1, 3)
        return ClipArrays(
            buttons=np.stack([frame.content.buttons[frame.source_frame] for frame in frames]),
            camera=np.stack([frame.content.camera[frame.source_frame] for frame in frames]),
            recording=np.array([frame.recording for frame in frames], np.uint16),
            source_frame=np.array([frame.source_frame for frame in frames], np.int32),
            dropped_before=np.array([frame.num_dropped for frame in frames], np.int32),
            gui=np.array([frame.content.gui[frame.source_frame] for frame in frames], np.uint8),
            candidate_offsets=np.cumsum([0, *(len(frame.candidates) for frame in frames)], dtype=np.int32),
            candidate_interaction=np.array([interaction for interaction, _, _ in candidates], np.int32),
            candidate_point=np.array([point for _, point, _ in candidates], np.float32).reshape(-1, 2),
            mask_offsets=np.cumsum([0, *map(len, runs)], dtype=np.int64),
            mask_runs=np.concatenate([np.zeros(0, np.uint32), *runs]),
            event_frame=events[:, 0].astype(np.int32),
            event_name=events[:, 1].astype(np.int32),
            event_count=events[:, 2].copy(),
        )
