"""Segmentation masks as run lengths (on disk) and as packed bits (on their way to the policy).

A mask of H x W pixels is stored row-major as alternating lengths `zeros, ones, zeros, ones, ...`: an even number
of lengths that add up to H * W. A bit-packed mask holds eight pixels a byte, the first pixel in the highest bit.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def packed_size(height_px: int, width_px: int) -> int:
    """Bytes of one bit-packed mask."""
    return (height_px * width_px + 7) // 8


def encode_runs(mask: NDArray[np.bool_]) -> NDArray[np.uint32]:
    """The run lengths of a mask, bool of shape (height, width)."""
    flat = np.ascontiguousarray(mask, dtype=bool).reshape(-1)
    # The sentinel makes a run of zeros come first, an empty one if need be.
    edges = np.flatnonzero(flat != np.concatenate(([False], flat[:-1])))
    bounds = np.concatenate(([0], edges, [flat.size]))
    runs = np.diff(bounds)
    if runs.size % 2:
        runs = np.concatenate((runs, [0]))
    return runs.astype(np.uint32)


def encode_text(mask: NDArray[np.bool_]) -> str:
    """A mask as mask files hold it: "start length start length ...", row by row, starts from 1."""
    bounds = encode_runs(mask).cumsum(dtype=np.int64).reshape(-1, 2)  # ends of zeros, ends of ones
    return " ".join(f"{start + 1} {stop - start}" for start, stop in bounds.tolist() if stop > start)


def centroid(mask: NDArray[np.bool_]) -> tuple[float, float] | None:
    """The middle of what a mask covers as (row, column), in hundredths of a pixel; None if it covers nothing."""
    rows, columns = mask.sum(axis=1), mask.sum(axis=0)
    total = int(rows.sum())
    if total == 0:
        return None
    row, column = rows @ np.arange(rows.size) / total, columns @ np.arange(columns.size) / total
    return round(float(row), 2), round(float(column), 2)


def decode_runs(runs: NDArray[np.uint32], height_px: int, width_px: int) -> NDArray[np.bool_]:
    """The mask that `encode_runs` was given, shape (height_px, width_px).

    Raises:
        ValueError: if the lengths are odd in number or do not add up to the mask's size.
    """
    return _repeat(runs, height_px * width_px).reshape(height_px, width_px)


def runs_to_packed_bits(masks: Sequence[NDArray[np.uint32]], height_px: int, width_px: int) -> NDArray[np.uint8]:
    """The masks bit-packed, shape (len(masks), packed_size(height_px, width_px)).

    Raises:
        ValueError: if the lengths of any mask are odd in number or do not add up to the mask's size.
    """
    packed = np.zeros((len(masks), packed_size(height_px, width_px)), np.uint8)
    for row, runs in zip(packed, masks, strict=True):
        row[:] = np.packbits(_repeat(runs, height_px * width_px))
    return packed


def _repeat(runs: NDArray[np.uint32], num_pixels: int) -> NDArray[np.bool_]:
    # Summed in 64 bits, before anything is allocated for a length that came out of a file.
    total = int(runs.sum(dtype=np.uint64))
    if runs.size % 2 or total != num_pixels:
        raise ValueError(f"mask: {runs.size} run lengths add up to {total} pixels, expected {num_pixels}")
    values = np.zeros(runs.size, bool)
    values[1::2] = True
    return np.repeat(values, runs)
