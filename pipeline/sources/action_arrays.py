"""MineStudio's actions as arrays, one for each button and one for the camera, from its pickles and LMDB chunks."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.recording import Breakage, SourceError
from pipeline.sources.recorder import COLUMN, FIRST_HOTBAR, NUM_HOTBAR_SLOTS
from shards.action_space import ACTION_SPACE


def read_action_arrays(value: Any, where: str) -> tuple[NDArray[np.uint8], NDArray[np.float64], int]:
    """The buttons and the camera that a dict of arrays holds, as far as all of them reach.

    ESC, pickItem and swapHands, which MineStudio drops, are 0 if they are not there.

    Returns:
        u8 (n, 23), f64 (n, 2), and the length of the longest array, which is more than n if they disagree.

    Raises:
        SourceError: if a button or the camera is not there, or is no array of the right kind.
    """
    if not isinstance(value, dict):
        raise _wrong(where, f"a {type(value).__name__}", "a dict of arrays")
    missing = [name for name in ("camera", *ACTION_SPACE.policy_buttons) if name not in value]
    unknown = [name for name in value if name != "camera" and name not in COLUMN]
    if missing or unknown:
        what = f"{missing[0]} missing" if missing else f"unknown {unknown[0]!r:.40}"
        raise _wrong(where, what, "the 20 buttons and the camera")
    columns: dict[int, NDArray[Any]] = {}
    for name, array in value.items():
        numbers = isinstance(array, np.ndarray) and array.dtype.kind in "biuf"
        if not numbers or array.shape[1:] != ((2,) if name == "camera" else ()) or array.ndim == 0:
            raise _wrong(where, f"{name} of another kind", "an array of numbers, one a frame (two for the camera)")
        if name != "camera":
            columns[COLUMN[name]] = np.asarray(array)
    camera = np.asarray(value["camera"], np.float64)
    lengths = {len(camera), *(len(column) for column in columns.values())}
    n = min(lengths)
    buttons = np.zeros((n, len(ACTION_SPACE.buttons)), np.uint8)
    for column, array in columns.items():
        buttons[:, column] = array[:n] != 0
    return buttons, np.ascontiguousarray(camera[:n]), max(lengths)


def drop_repeated_slot(buttons: NDArray[np.uint8], hotbar: int) -> None:
    """The first frame no longer presses the slot that was selected already.

    MineStudio takes slot 1 for selected at the start of each recording, so that each one that goes on with another
    slot seems to begin with pressing it.
    """
    if len(buttons) and hotbar != 0:
        buttons[0, FIRST_HOTBAR + hotbar] = 0


def last_slot(buttons: NDArray[np.uint8], hotbar: int) -> int:
    """The slot that is selected after the last frame, `hotbar` having been so before the first."""
    pressed = np.argwhere(buttons[:, FIRST_HOTBAR : FIRST_HOTBAR + NUM_HOTBAR_SLOTS])
    return int(pressed[-1, 1]) if len(pressed) else hotbar


def first_bad_turn(camera: NDArray[np.float64]) -> Breakage | None:
    """The first frame whose camera is no number, or turns further than a mouse can; None if there is none."""
    limit = ACTION_SPACE.max_turn_degrees
    bad = np.flatnonzero(~(np.abs(camera) <= limit).all(axis=1))  # so that NaN is bad
    if not len(bad):
        return None
    frame, (pitch, yaw) = int(bad[0]), camera[bad[0]].tolist()
    if not np.isfinite(camera[frame]).all():
        return Breakage(frame, "wrong_schema", "the camera is no finite number")
    return Breakage(
        frame, "out_of_range", f"the camera turns by {pitch:g}, {yaw:g} degrees, at most {limit:g} is right"
    )


def _wrong(where: str, got: str, expected: str) -> SourceError:
    return SourceError(
        f"{where}: not MineStudio's actions, got {got}, expected {expected}. Convert the recording again.",
        "wrong_schema",
    )
