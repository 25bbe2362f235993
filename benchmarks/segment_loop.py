"""What the loop around a tracker costs: frames a second on one core, with a tracker that costs nothing.

    python -m benchmarks.segment_loop VIDEO

Decoding, scaling to 360 rows, holding frames, and judging and encoding masks are measured; every frame of the
video is in a stretch. What SAM-2 would cost beside it at full size is computed from its published speed.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping

import av
import numpy as np
from numpy.typing import NDArray

from pipeline.segment.follow import follow
from pipeline.segment.settings import SegmentSettings
from pipeline.segment.stretches import Stretch
from pipeline.segment.tracker import Point, TrackedMask

_STRETCH_FRAMES = 80
_SAM2_FRAMES_PER_SECOND = 64.1
"""Of SAM 2.1 base plus, compiled, on an A100, with one object. Source: facebookresearch/sam2, README."""
_FULL_SIZE_FRAMES = 250e6


class ConstantTracker:
    """Sees the same disc in every frame."""

    def start(self) -> ConstantTracker:
        return self

    def step(self, frame: NDArray[np.uint8], objects: Mapping[int, Point | None]) -> Mapping[int, TrackedMask]:
        rows, columns = np.ogrid[: frame.shape[0], : frame.shape[1]]
        disc = (rows - frame.shape[0] // 2) ** 2 + (columns - frame.shape[1] // 2) ** 2 < 50**2
        return dict.fromkeys(objects, TrackedMask(disc, 0.9))


def main() -> None:
    path = sys.argv[1]
    with av.open(path) as video:
        num_frames = sum(1 for _ in video.decode(video=0))

    def pictures() -> Iterator[Callable[[], NDArray[np.uint8]]]:
        with av.open(path) as video:
            for frame in video.decode(video=0):
                yield lambda frame=frame: frame.to_ndarray(format="rgb24", width=640, height=360)  # type: ignore[misc]

    ends = range(_STRETCH_FRAMES - 1, num_frames, _STRETCH_FRAMES)
    stretches = [Stretch(2, "mine_block:stone", end - _STRETCH_FRAMES + 1, end, end, (0.5, 0.5)) for end in ends]
    start = time.process_time()
    tracks, _ = follow(pictures(), stretches, ConstantTracker(), SegmentSettings())
    seconds = time.process_time() - start
    masks = sum(len(track.sights) for track in tracks)
    print(f"{num_frames} frames, {masks} masks: {num_frames / seconds:.0f} frames a core-second without a model")
    hours = _FULL_SIZE_FRAMES / _SAM2_FRAMES_PER_SECOND / 3600
    print(f"computed for SAM 2.1 base plus, {_FULL_SIZE_FRAMES:,.0f} frames of an object: {hours:,.0f} A100-hours")


if __name__ == "__main__":
    main()
