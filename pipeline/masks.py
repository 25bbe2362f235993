"""Segmentation masks: the interactions of a recording and their mask in each frame, as read.

Two layouts. ROCKET-1's `<stem>.rle`, a pickle, is read by the restricted unpickler. Our own, `<stem>.masks.jsonl`,
needs none; its first line is a header, each other line an interaction:

    {"format": "rocket-masks", "version": 1, "height": 360, "width": 640}
    {"type": "mine", "event": "mine_block:stone", "start": 534, "stop": 614, "frames": [
        {"frame": 534, "rle": "41201 12 41840 14", "point": [64.5, 240.0]}, ...]}

`type` is a name or number of `INTERACTION_TYPES`; frames are those of the recording, from 0, `stop` is exclusive;
`rle` is "start length start length ..." over the mask row by row, the first pixel being 1; `point` is (row,
column) in pixels of the mask, or null.

Source: CraftJarvis/MineStudio, callbacks/segmentation.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shards.errors import RocketError


class MaskError(RocketError):
    """A mask is not what its layout says."""


@dataclass(frozen=True, slots=True)
class Interaction:
    """A stretch of frames that leads to one event.

    Attributes:
        key: tells interactions of a recording apart; text.
        type: a key of `shards.vocabulary.INTERACTION_TYPES`, never -1.
        event: such as "minecraft.mine_block:minecraft.stone", as the source writes it.
        first: first source frame.
        last: last source frame, inclusive: the event's. May lie outside the recording.
    """

    key: str
    type: int
    event: str
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Candidate:
    """One interaction's mask in one frame.

    Attributes:
        interaction: index into `RecordingMasks.interactions`.
        rle: the mask; see `decode_rle`. Empty: no pixel.
        point: (row, column) of the object in pixels of the mask, or None.
    """

    interaction: int
    rle: str
    point: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class MaskProblem:
    """Masks that were left out for one reason; `num_entries` of them, the first in frame `first_frame`."""

    reason: str
    detail: str
    first_frame: int
    num_entries: int


@dataclass(frozen=True)
class RecordingMasks:
    """All masks of a recording.

    Attributes:
        height: of every mask, in pixels.
        width: likewise.
        interactions: in the order in which they are first met, by frame.
        frames: source frame -> its candidates, in the source's order; frames without any are not there.
        problems: what was left out.
    """

    height: int
    width: int
    interactions: Sequence[Interaction]
    frames: dict[int, Sequence[Candidate]]
    problems: Sequence[MaskProblem] = field(default=())

    def candidates(self, frame: int) -> Sequence[Candidate]:
        """The candidates of a source frame."""
        return self.frames.get(frame, ())


def decode_rle(text: str, height: int, width: int) -> NDArray[np.bool_]:
    """The mask that run lengths describe, bool (height, width).

    `text` is "start length start length ...", starts from 1, row by row; runs may come in any order.

    Raises:
        MaskError: if a number is missing, is none, or a run leaves the mask.
    """
    numbers = text.split()
    if not all(number.isascii() and number.isdigit() and len(number) <= 10 for number in numbers):
        raise MaskError(f"mask: not a list of whole numbers, got {text[:40]!r}, expected start length pairs")
    if len(numbers) % 2:
        raise MaskError(f"mask: {len(numbers)} numbers, expected start length pairs")
    starts = np.array(numbers[0::2], np.int64) - 1
    stops = starts + np.array(numbers[1::2], np.int64)
    mask = np.zeros(height * width, bool)
    if len(starts) and (starts.min() < 0 or stops.max() > mask.size):
        raise MaskError(
            f"mask: a run covers pixels {starts.min() + 1} to {stops.max()}, expected 1 to {mask.size} "
            f"({height}x{width}, row by row)"
        )
    for start, stop in zip(starts.tolist(), stops.tolist(), strict=True):
        mask[start:stop] = True
    return mask.reshape(height, width)


def resize_nearest(mask: NDArray[np.bool_], height: int, width: int) -> NDArray[np.bool_]:
    """The mask at another size; pixel (r, c) is the source's pixel (floor(r * scale), floor(c * scale)).

    Source: OpenCV's INTER_NEAREST, with its arithmetic: the scale is one over (new size / old size), in doubles.
    """
    rows, columns = _nearest(mask.shape[0], height), _nearest(mask.shape[1], width)
    resized: NDArray[np.bool_] = mask[rows[:, None], columns]
    return resized


def _nearest(size: int, new_size: int) -> NDArray[np.intp]:
    scale = 1.0 / (new_size / size)
    positions = np.floor(np.arange(new_size) * scale).astype(np.intp)
    return np.asarray(np.minimum(positions, size - 1))


def load_masks_file(path: Path) -> RecordingMasks:
    """All masks of a `.rle` or `.masks.jsonl` file.

    Raises:
        SourceError: if the file as a whole cannot be read.
    """
    raise NotImplementedError
