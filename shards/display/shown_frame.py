"""One frame with all that is known of it, ready to be drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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
    """Planar I420 u8 (n, height * 3 // 2, width) as RGB u8 (n, height, width, 3).

    BT.601, limited range, each colour sample for 2 x 2 pixels.
    """
    n, rows, width = yuv.shape
    height = rows // 3 * 2
    luma = (yuv[:, :height].astype(np.float32) - 16) * (255 / 219)
    planes = yuv[:, height:].reshape(n, 2, height // 2, width // 2).astype(np.float32) - 128
    blue, red = (planes[:, place].repeat(2, axis=1).repeat(2, axis=2) * (255 / 224) for place in (0, 1))
    rgb = np.stack((luma + 1.402 * red, luma - 0.344136 * blue - 0.714136 * red, luma + 1.772 * blue), axis=-1)
    pixels: NDArray[np.uint8] = np.clip(np.rint(rgb), 0, 255).astype(np.uint8)
    return pixels
