"""The mouse cursor, which recorders leave out of the video: a 16x16 arrow drawn into planar YUV frames.

The operating system draws the cursor over a menu, so that the recorded frames lack it. It is put back before
scaling, at the size and place that the player saw: the hot spot is the arrow's tip, its top-left pixel.

Positions are pixels of the source frame; a part of the arrow outside the frame is clipped at every edge.
"""

from __future__ import annotations

import math

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


def _chroma_cover() -> NDArray[np.uint8]:
    """How many of a chroma pixel's 4 luma pixels are covered, shape (2, 2, 9, 9), by [y & 1, x & 1] of the tip."""
    half = CURSOR_SIZE_PX // 2 + 1
    cover = np.zeros((2, 2, half, half), np.uint8)
    for odd_y in (0, 1):
        for odd_x in (0, 1):
            padded = np.zeros((2 * half, 2 * half), np.uint8)
            padded[odd_y : odd_y + CURSOR_SIZE_PX, odd_x : odd_x + CURSOR_SIZE_PX] = _COVER
            cover[odd_y, odd_x] = padded.reshape(half, 2, half, 2).sum(axis=(1, 3))
    return cover


_CHROMA_COVER = _chroma_cover()


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
    rows, columns = _overlap(top, CURSOR_SIZE_PX, luma.shape[0]), _overlap(left, CURSOR_SIZE_PX, luma.shape[1])
    if rows is None or columns is None:
        return
    (row_at, row_of), (column_at, column_of) = rows, columns
    target, cover = luma[row_at, column_at], _COVER[row_of, column_of]
    target[cover] = _LUMA[row_of, column_of][cover]

    chroma = _CHROMA_COVER[top & 1, left & 1]
    rows, columns = _overlap(top >> 1, len(chroma), blue.shape[0]), _overlap(left >> 1, len(chroma), blue.shape[1])
    if rows is None or columns is None:
        return
    (row_at, row_of), (column_at, column_of) = rows, columns
    parts = chroma[row_of, column_of].astype(np.uint16)
    for plane in (blue, red):
        below = plane[row_at, column_at]
        below[:] = (below * (4 - parts) + _GREY * parts + 2) >> 2


def _overlap(start: int, size: int, limit: int) -> tuple[slice, slice] | None:
    """Where [start, start + size) meets [0, limit): in the frame and in the arrow; None if it does not."""
    first, last = max(start, 0), min(start + size, limit)
    if first >= last:
        return None
    return slice(first, last), slice(first - start, last - start)
