"""What tracks objects: a prompt on a frame, masks in the frames before it."""

from collections.abc import Mapping
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Point = tuple[float, float]
"""(x, y) in pixels of the frame."""


class TrackedMask(NamedTuple):
    """An object in a frame: its mask, bool (height, width), and how sure it is that it is there, 0 to 1."""

    mask: NDArray[np.bool_]
    confidence: float


class TrackSession(Protocol):
    """Tracks objects through the frames of one video, which come one after the other, the last one first."""

    def step(self, frame: NDArray[np.uint8], objects: Mapping[int, Point | None]) -> Mapping[int, TrackedMask]:
        """The objects' masks in the next frame.

        Args:
            frame: RGB, u8 (height, width, 3); the one before the last step's in the video.
            objects: those to track, by number: a point on it for one that is new, None for one that was tracked in
                the last step. What is not named is forgotten.
        """
        ...


class Tracker(Protocol):
    """A loaded model that can track in any number of videos, one at a time."""

    def start(self) -> TrackSession:
        """A session that knows no object yet."""
        ...
