"""Segmentation masks: the interactions of a recording and their mask in each frame; run-length text to pixels.

Source: CraftJarvis/MineStudio, callbacks/segmentation.py, for the text, the type numbers and the scaling.
"""

import math
import operator
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shards.clip import Interaction
from shards.errors import RocketError
from shards.interaction_types import INTERACTION_TYPES
from shards.masks import encode_runs
from shards.settings import nearest

TYPE_OF_OBJECT_ID = {0: 0, 1: 3, 2: 2, 3: 3, 4: 4, 5: 5, 6: 6}
"""The types as the source numbers them -> `interaction_types`: "use" (1) became part of "interact" (3)."""

TYPE_OF_NAME = {kind.name: kind.id for kind in INTERACTION_TYPES}

_NUMBERS = re.compile(r"[0-9 \t\r\n]*")


class MaskError(RocketError):
    """A mask is not what its layout says."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One interaction's mask in one frame.

    Attributes:
        interaction: index into `RecordingMasks.interactions`.
        rle: the mask; see `decode_rle`. Empty: no pixel.
        point: (row, column) of the object in pixels of the mask, or None.
        confidence: how sure the tracker was that the object is there, 0 to 1; None where it did not say.
    """

    interaction: int
    rle: str
    point: tuple[float, float] | None
    confidence: float | None = None


@dataclass(frozen=True, slots=True)
class MaskProblem:
    """Masks that were left out for one reason: `num_entries` of them, the first in frame `first_frame`."""

    reason: str
    detail: str
    first_frame: int
    num_entries: int


@dataclass(frozen=True)
class RecordingMasks:
    """All masks of a recording.

    Attributes:
        height, width: of every mask, in pixels.
        interactions: in the order in which they are met; their frames are the recording's and may lie outside it.
        frames: source frame -> its candidates, in the source's order; ascending; frames without any are not there.
    """

    height: int
    width: int
    interactions: Sequence[Interaction]
    frames: Mapping[int, Sequence[Candidate]]
    problems: Sequence[MaskProblem] = field(default=())


class MaskCollector:
    """Puts a recording's masks together, entry by entry, by ascending frame; bad entries cost only themselves."""

    def __init__(self, height: int, width: int) -> None:
        self._height, self._width = height, width
        self._indexes: dict[tuple[Any, int, str], int] = {}
        self._interactions: list[Interaction] = []
        self._frames: dict[int, dict[Any, Candidate]] = {}
        self._problems: dict[tuple[str, str], tuple[int, int]] = {}  # first frame, number of entries

    def add_entry(self, frame: int, key: Any, entry: dict[Any, Any]) -> None:
        """What MineStudio's dict for one candidate says has been added."""
        first, last = frame_range(entry)
        stop = None if last is None else last + 1
        object_id, event, rle, point = (entry.get(name) for name in ("obj_id", "event", "rle_mask", "point"))
        self.add(frame, key, object_id, event, first, stop, rle, point)

    def add(
        self,
        frame: int,
        key: Any,
        object_id: Any,
        event: Any,
        start: Any,
        stop: Any,
        rle: Any,
        point: Any,
        confidence: float | None = None,
    ) -> None:
        """The frame has one candidate more, or another one for this key, or the entry is among the problems.

        An interaction is what shares key (hashable), type and event; its range is the union of what the entries
        say. `object_id` is the type as the source numbers it, `point` is (row, column) or None.
        """
        kind = TYPE_OF_OBJECT_ID.get(object_id) if type(object_id) is int else None
        if kind is None:
            meant = nearest(object_id, list(TYPE_OF_NAME)) if isinstance(object_id, str) else None
            hint = f", did you mean {meant}?" if meant else ""
            detail = f"type {object_id!r:.40}, expected 0 to 6{hint} (event {event!r:.80})"
            self.problem("unknown_interaction", detail, frame)
            return
        if not isinstance(rle, str):
            self.problem("mask_entry", f"rle_mask is a {type(rle).__name__}, expected text", frame)
            return
        if not isinstance(event, str):
            self.problem("mask_field", f"event is a {type(event).__name__}, expected text", frame)
            event = ""
        if not (type(start) is int and type(stop) is int and start < stop):
            self.problem("mask_field", "frame_range is no first and last frame", frame)
            start, stop = frame, frame + 1
        try:
            pixel = self._pixel(point)
        except ValueError as error:
            self.problem("mask_field", str(error), frame)
            pixel = None
        index = self._indexes.setdefault((key, kind, event), len(self._interactions))
        if index == len(self._interactions):
            self._interactions.append(Interaction(kind, event, start, stop))
        known = self._interactions[index]
        self._interactions[index] = replace(known, start=min(start, known.start), stop=max(stop, known.stop))
        # As in MineStudio, the later of two entries with one key wins and keeps the earlier one's place.
        self._frames.setdefault(frame, {})[key] = Candidate(index, rle, pixel, confidence)

    def _pixel(self, point: Any) -> tuple[float, float] | None:
        """The row and column of a point; None if it is not known, which NaN says, too."""
        if point is None:
            return None
        try:
            row, column = () if isinstance(point, str | bytes) else tuple(point)
            pixel = float(row), float(column)
        except (TypeError, ValueError, OverflowError):
            raise ValueError(f"point {point!r:.40}, expected two numbers or nothing") from None
        if any(math.isnan(number) for number in pixel):
            return None
        if not (0 <= pixel[0] < self._height and 0 <= pixel[1] < self._width):
            raise ValueError(f"points outside the picture of {self._height} rows and {self._width} columns")
        return pixel

    def problem(self, reason: str, detail: str, frame: int) -> None:
        """One entry more was left out."""
        first_frame, num_entries = self._problems.get((reason, detail), (frame, 0))
        self._problems[reason, detail] = min(frame, first_frame), num_entries + 1

    def masks(self) -> RecordingMasks:
        return RecordingMasks(
            self._height,
            self._width,
            tuple(self._interactions),
            {frame: tuple(self._frames[frame].values()) for frame in sorted(self._frames)},
            tuple(MaskProblem(*what, *found) for what, found in self._problems.items()),
        )


def decode_rle(text: str, height: int, width: int) -> NDArray[np.bool_]:
    """The mask that run lengths describe, bool (height, width).

    `text` is "start length start length ...", starts from 1, row by row; runs may come in any order.

    Raises:
        MaskError: if a number is missing, is none, or a run leaves the mask.
    """
    return _filled(*_parse_runs(text, height, width), height, width)


def _filled(starts: NDArray[np.int64], stops: NDArray[np.int64], height: int, width: int) -> NDArray[np.bool_]:
    mask = np.zeros(height * width, bool)
    for start, stop in zip(starts.tolist(), stops.tolist(), strict=True):
        mask[start:stop] = True
    return mask.reshape(height, width)


def _parse_runs(text: str, height: int, width: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where the runs start and stop, from 0, stops exclusive."""
    if not _NUMBERS.fullmatch(text):
        raise MaskError(f"mask: not a list of whole numbers, got {text[:40]!r}, expected start length pairs.")
    # Numbers beyond 64 bits become the largest one, and are out of range then.
    numbers = np.fromstring(text, np.int64, sep=" ") if text.strip() else np.zeros(0, np.int64)
    if len(numbers) % 2:
        raise MaskError(f"mask: {len(numbers)} numbers, expected start length pairs.")
    num_pixels = height * width
    starts, lengths = numbers[0::2] - 1, numbers[1::2]
    stops = starts + lengths  # of numbers that are not too large themselves, so that the sum is right
    if len(starts) and (starts.min() < 0 or numbers.max() > num_pixels + 1 or stops.max() > num_pixels):
        raise MaskError(
            f"mask: a run leaves the pixels 1 to {num_pixels} ({height}x{width}, row by row), got starts "
            f"{starts.min() + 1} to {starts.max() + 1} and lengths up to {lengths.max()}."
        )
    return starts, stops


def resize_nearest(mask: NDArray[np.bool_], height: int, width: int) -> NDArray[np.bool_]:
    """The mask at another size; pixel (r, c) is the source's pixel (floor(r * scale), floor(c * scale)).

    Source: OpenCV's INTER_NEAREST with its arithmetic: the scale is 1 / (new size / old size), in doubles.
    """
    rows, columns = _nearest(mask.shape[0], height), _nearest(mask.shape[1], width)
    resized: NDArray[np.bool_] = mask[rows[:, None], columns]
    return resized


@lru_cache(maxsize=64)  # a mask often stays the same for some frames
def resized_runs(text: str, height: int, width: int, new_height: int, new_width: int) -> NDArray[np.uint32]:
    """What `encode_runs(resize_nearest(decode_rle(text, ...), ...))` gives, without filling the larger mask.

    Raises:
        MaskError: as `decode_rle`.
    """
    if new_height > height:  # rows are repeated, so that a run becomes several
        return encode_runs(resize_nearest(decode_rle(text, height, width), new_height, new_width))
    picked = _picked(height, width, new_height, new_width)
    starts, stops = (np.searchsorted(picked, ends) for ends in _parse_runs(text, height, width))
    return encode_runs(_filled(starts, stops, new_height, new_width))


@lru_cache(maxsize=16)
def _picked(height: int, width: int, new_height: int, new_width: int) -> NDArray[np.intp]:
    """The source's pixel for each pixel of a smaller mask, row by row, ascending."""
    return (_nearest(height, new_height)[:, None] * width + _nearest(width, new_width)).reshape(-1)


@lru_cache(maxsize=64)
def _nearest(size: int, new_size: int) -> NDArray[np.intp]:
    scale = 1.0 / (new_size / size)
    positions = np.floor(np.arange(new_size) * scale).astype(np.intp)
    return np.asarray(np.minimum(positions, size - 1))


def frame_range(entry: dict[Any, Any]) -> tuple[int | None, int | None]:
    """The first and the last frame of the interaction that MineStudio's dict is about; (None, None): not told."""
    try:
        first, last = (operator.index(frame) for frame in entry["frame_range"])
    except (KeyError, TypeError, ValueError):
        return None, None
    return first, last
