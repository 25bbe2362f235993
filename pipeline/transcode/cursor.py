"""The mouse cursor, which recorders leave out of the video: a 16x16 arrow drawn into planar YUV frames.

The operating system draws the cursor over a menu, so that the recorded frames lack it. It is put back before
scaling, at the size and place that the player saw: the hot spot is the arrow's tip, its top-left pixel.

Positions are pixels of the source frame; a part of the arrow outside the frame is clipped at every edge.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

ARROW = (
    "X...............",
    "XX..............",
    "XoX.............",
    "XooX............",
    "XoooX...........",
    "XooooX..........",
    "XoooooX.........",
    "XooooooX........",
    "XoooooooX.......",
    "XooooooooX......",
    "XoooooXXXXX.....",
    "XooXooX.........",
    "XoX.XooX........",
    "XX..XooX........",
    "X....XooX.......",
    "......XX........",
)
"""The arrow: X is the black rim, o the white inside, a dot lets the picture through."""

CURSOR_SIZE_PX = 16
_BLACK, _WHITE, _GREY = 16, 235, 128  # BT.601 limited range; both colours have neutral chroma

_LUMA = np.array([[{"X": _BLACK, "o": _WHITE, ".": 0}[c] for c in row] for row in ARROW], np.uint8)
_COVER = np.array([[c != "." for c in row] for row in ARROW], bool)


def _covered_quarters(odd_y: int, odd_x: int) -> NDArray[np.uint16]:
    """How many of each chroma pixel's 4 luma pixels are covered, (9, 9), for a tip at odd or even places."""
    half = CURSOR_SIZE_PX // 2 + 1
    padded = np.pad(_COVER, ((odd_y, 2 - odd_y), (odd_x, 2 - odd_x)))
    return np.asarray(padded.reshape(half, 2, half, 2).sum(axis=(1, 3)), np.uint16)


_CHROMA_COVER = [[_covered_quarters(odd_y, odd_x) for odd_x in (0, 1)] for odd_y in (0, 1)]


def draw_cursor(
    luma: NDArray[np.uint8], blue: NDArray[np.uint8], red: NDArray[np.uint8], x: float, y: float
) -> None:
    """The frame shows the arrow with its tip at pixel (x, y), fractions cut off; nothing where that is off-screen.

    Args:
        luma: (height, width), changed in place.
        blue: (ceil(height / 2), ceil(width / 2)), changed in place.
        red: as `blue`.
        x: column of the tip in pixels of the source frame; not finite = no cursor.
        y: row of the tip.

    Source: MineStudio and VPT cut the position with int() and blend at source size before scaling; unlike theirs,
    a negative position is clipped like any other edge.
    """
    if not (math.isfinite(x) and math.isfinite(y)):
        return
    left, top = int(x), int(y)
    at, of = _overlap(top, left, _COVER.shape, luma.shape)
    np.copyto(luma[at], _LUMA[of], where=_COVER[of])
    quarters = _CHROMA_COVER[top & 1][left & 1]
    at, of = _overlap(top >> 1, left >> 1, quarters.shape, blue.shape)
    for plane in (blue, red):
        plane[at] = (plane[at] * (4 - quarters[of]) + _GREY * quarters[of] + 2) >> 2


def _overlap(top: int, left: int, size: tuple[int, ...], limit: tuple[int, ...]) -> tuple[Any, Any]:
    """Where an array lies in a larger one: the place in that and in itself, empty where it lies outside."""
    at, of = [], []
    for start, length, end in zip((top, left), size, limit, strict=True):
        first = max(start, 0)
        stop = max(first, min(start + length, end))
        at.append(slice(first, stop))
        of.append(slice(first - start, stop - start))
    return tuple(at), tuple(of)
