"""A frame's own number, drawn along its bottom edge so that programs can read it back after transcoding.

Two rows of 16 blocks, black or white, most significant bit first; a block is 40 x 12 px of a 640x360 frame,
which is about 4 x 2 px once the frame is scaled to 64x64:

    row 0   recording (11 bits) | frame, upper 5 bits
    row 1   frame, lower 8 bits | CRC-8 of the 24 bits before

Only luma carries the code, so that chroma subsampling and colour conversion can't hurt it.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

NUM_COLUMNS = 16
NUM_ROWS = 2
STRIP_HEIGHT = 24 / 360
"""Height of the strip as a fraction of the frame's height."""

MAX_RECORDING = 2**11 - 1
MAX_FRAME = 2**13 - 1

DARK = 24
LIGHT = 232


class FrameMark(NamedTuple):
    """Which frame of which recording a picture is; both 0-based."""

    recording: int
    frame: int


def _crc8(value: int) -> int:
    """Return CRC-8 (polynomial 0x07) of 24 bits; from 0xFF on, so that an all-black strip is no valid code."""
    crc = 0xFF
    for shift in (16, 8, 0):
        crc ^= (value >> shift) & 0xFF
        for _ in range(8):
            crc = ((crc << 1) ^ 0x07 if crc & 0x80 else crc << 1) & 0xFF
    return crc


def mark_bits(mark: FrameMark) -> NDArray[np.bool_]:
    """Return the blocks of a mark, bool of shape (2, 16), True for light."""
    if not (0 <= mark.recording <= MAX_RECORDING and 0 <= mark.frame <= MAX_FRAME):
        raise ValueError(
            f"barcode: the number does not fit, got {mark}, expected recording <= {MAX_RECORDING} and "
            f"frame <= {MAX_FRAME}. Ask for fewer or shorter recordings."
        )
    payload = mark.recording << 13 | mark.frame
    code = payload << 8 | _crc8(payload)
    bits = [(code >> shift) & 1 for shift in range(31, -1, -1)]
    return np.array(bits, dtype=bool).reshape(NUM_ROWS, NUM_COLUMNS)
