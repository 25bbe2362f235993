"""What MineStudio stores of each frame, in its pickles and LMDB chunks: actions as arrays, a dict of facts.

Actions are an array for each button and one for the camera. The facts tell whether a menu is open.
"""

import json
import math
from collections.abc import Iterable, Iterator
from itertools import islice, repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.recording import Breakage, CarryState, RecordingContent
from pipeline.rejection import SourceError
from pipeline.settings import BuildSettings
from pipeline.sources.recorder import COLUMN, FIRST_HOTBAR, NUM_HOTBAR_SLOTS, keep_flags
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


def content_of_arrays(
    buttons: NDArray[np.uint8],
    camera: NDArray[np.float64],
    infos: Iterable[Any],
    num_lines: int,
    breakage: Breakage | None,
    state: CarryState,
    settings: BuildSettings,
) -> RecordingContent:
    """The content that these actions are, up to the first turn that no mouse can make.

    Args:
        buttons: u8 (n, 23).
        camera: f64 (n, 2).
        infos: MineStudio's dict a frame.
        num_lines: how many frames there should be.
        breakage: why there are fewer.
        state: before the first frame.
    """
    if (bad := _first_bad_turn(camera)) is not None:
        breakage, buttons, camera = bad, buttons[: bad.first_frame], camera[: bad.first_frame]
    pressed = np.argwhere(buttons[:, FIRST_HOTBAR : FIRST_HOTBAR + NUM_HOTBAR_SLOTS])
    slot = int(pressed[-1, 1]) if len(pressed) else state.hotbar
    return RecordingContent(
        buttons=buttons,
        camera=camera,
        gui=_menu_flags(infos, len(buttons)),
        cursor_window_px=None,
        keep=keep_flags(buttons, camera, settings),
        num_lines=num_lines,
        state=CarryState(attack_stuck=False, hotbar=slot),
        breakage=breakage if num_lines else Breakage(0, "empty_log", "no frames"),
    )


def _first_bad_turn(camera: NDArray[np.float64]) -> Breakage | None:
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


def info_lines(infos: Iterable[Any]) -> Iterator[bytes]:
    """MineStudio's dict a frame as a line of JSON; empty objects after the last one, without end."""
    for info in infos:
        known = _plain(info) if isinstance(info, dict) else {}
        text = json.dumps(known, ensure_ascii=False, separators=(",", ":"))
        yield text.encode("utf-8", "replace") + b"\n"
    yield from repeat(b"{}\n")


def _plain(value: Any) -> Any:
    """The value as what JSON can hold."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value)


def _menu_flags(infos: Iterable[Any], num_frames: int) -> NDArray[np.bool_]:
    """Whether a menu is open; False if the dicts do not tell for all frames.

    Newer files say `isGuiOpen`; older ones the cursor's position, which is 0, 0 without a menu.
    """
    flags: list[bool] = []
    for info in islice(infos, num_frames):
        if isinstance(info, dict) and "isGuiOpen" in info:
            flags.append(bool(info["isGuiOpen"]))
        elif isinstance(info, dict) and "cursor_x" in info and "cursor_y" in info:
            flags.append(info["cursor_x"] != 0 or info["cursor_y"] != 0)
        else:
            break
    return np.array(flags, bool) if len(flags) == num_frames else np.zeros(num_frames, bool)


def _wrong(where: str, got: str, expected: str) -> SourceError:
    return SourceError(
        f"{where}: not MineStudio's actions, got {got}, expected {expected}. Convert the recording again.",
        "wrong_schema",
    )
