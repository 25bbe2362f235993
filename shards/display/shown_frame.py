"""One frame with all that is known of it, ready to be drawn."""

from collections.abc import Sequence
from dataclasses import dataclass

import av
import numpy as np
from numpy.typing import NDArray

from shards.clip import Interaction


@dataclass(frozen=True)
class ShownMask:
    """An interaction's mask in one frame, bool (height, width)."""

    interaction: Interaction
    mask: NDArray[np.bool_]


@dataclass(frozen=True)
class ShownAction:
    """What is pressed, u8 (23,) as BUTTONS, and how the view turns, degrees (pitch, yaw)."""

    buttons: NDArray[np.uint8]
    camera: tuple[float, float]


@dataclass(frozen=True)
class ShownFrame:
    """One frame as it will be drawn.

    Attributes:
        frame: its number in the episode.
        rgb: u8 (height, width, 3).
        action: the human's.
        masks: those of all candidates, or of the goal alone.
        predicted: what a policy would do; None where none was asked.
    """

    episode_id: str
    frame: int
    rgb: NDArray[np.uint8]
    action: ShownAction
    gui: bool
    masks: Sequence[ShownMask]
    predicted: ShownAction | None = None


def yuv_to_rgb(yuv: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A planar I420 picture, u8 (height * 3 // 2, width), as RGB u8 (height, width, 3): BT.601, limited range."""
    frame = av.VideoFrame.from_ndarray(yuv, format="yuv420p")
    rgb = frame.to_ndarray(format="rgb24", src_colorspace="ITU601", interpolation="POINT")
    return rgb.astype(np.uint8, copy=False)
