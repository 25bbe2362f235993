"""Recorder events to the 23 buttons and the camera, line by line, with the state that lines leave behind.

Sources: openai/Video-Pre-Training (run_inverse_dynamics_model.py, data_loader.py) and CraftJarvis/MineStudio
(process_all_openai.py) for the key table, the camera's scale, the stuck attack button and the hotbar rule.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from pipeline.recording import CarryState, RecordingContent
from pipeline.settings import BuildSettings
from pipeline.sources.files.json_lines import BadLine, LogReading
from shards.action_space import ACTION_SPACE
from shards.recorder_lines import DEGREES_PER_PX, KEY_OF

COLUMN = ACTION_SPACE.column
"""Column of each button in the `buttons` arrays."""

KEYS = {key: COLUMN[name] for name, key in KEY_OF.items()}
"""The recorder's names of the keys that are buttons; all other keys mean nothing."""

ATTACK, USE, PICK_ITEM = COLUMN["attack"], COLUMN["use"], COLUMN["pickItem"]
FIRST_HOTBAR = COLUMN["hotbar.1"]
NUM_HOTBAR_SLOTS = 9

MAX_MOUSE_PX = 32768.0
"""No window system has a position further out; the largest met in real logs are below 3,000."""

GUI_MOUSE_SCALE = {"5.7": 0.5, "5.8": 0.5, "6.7": 2.0, "6.8": 2.0, "6.9": 2.0}
"""Factor on mouse movement in an open menu, by recorder version; 1 elsewhere. Off unless asked for.

VPT and MineStudio declare the table and apply it nowhere; neither does the default, so that actions equal those
that the published policies were trained on.
"""


class FrameAction(NamedTuple):
    """What a line of a log says of its frame: 23 bytes, [pitch, yaw] in degrees, whether a menu is open.

    `cursor` is (x, y) in window pixels, or NaN; None, for all frames: the video shows it.
    """

    buttons: bytearray
    camera: tuple[float, float]
    gui: bool
    cursor: tuple[float, float] | None = None


def content_of_actions(
    actions: Sequence[FrameAction], read: LogReading, state: CarryState, settings: BuildSettings
) -> RecordingContent:
    """The actions as arrays, with what was met in their log; `state` is that after the last of them."""
    n = len(actions)
    buttons = np.frombuffer(b"".join(one.buttons for one in actions), np.uint8).reshape(
        n, len(ACTION_SPACE.buttons)
    )
    camera = np.array([one.camera for one in actions], np.float64).reshape(n, 2)
    has_cursor = n > 0 and actions[0].cursor is not None
    return RecordingContent(
        buttons=buttons,
        camera=camera,
        gui=np.array([one.gui for one in actions], bool),
        cursor_window_px=np.array([one.cursor for one in actions], np.float64) if has_cursor else None,
        keep=keep_flags(buttons, camera, settings),
        num_lines=read.num_lines,
        state=state,
        breakage=read.breakage,
        wraps_cursor=settings.compat == "minestudio",
    )


def keep_flags(
    buttons: np.ndarray[Any, Any], camera: np.ndarray[Any, Any], settings: BuildSettings
) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """True for frames that do something: the camera moves or a button is down.

    All 23 buttons count. MineStudio counts its 20 after the hotbar rule; VPT counts ESC, pickItem and swapHands
    too but looks before the hotbar rule, so that turning the wheel is nothing. A frame is dropped here only if
    both would drop it: whoever wants to map ESC to `inventory` later, as VPT's training did, still has the frame.
    With `compat: minestudio` the 20 count.
    """
    counted = buttons[:, : len(ACTION_SPACE.policy_buttons)] if settings.compat == "minestudio" else buttons
    return np.asarray((camera != 0).any(axis=1) | counted.any(axis=1), bool)


class RecorderState:
    """Turns parsed recorder lines into actions; remembers stuck attack and selected slot."""

    def __init__(self, state: CarryState, version: str | None, settings: BuildSettings) -> None:
        fresh = settings.compat == "minestudio"
        self._stuck: bool | None = None if fresh else state.attack_stuck
        self._hotbar = 0 if fresh else state.hotbar
        self._gui_scale = GUI_MOUSE_SCALE.get(version or "", 1.0) if settings.gui_mouse_scaling else 1.0

    @property
    def state(self) -> CarryState:
        return CarryState(self._stuck, self._hotbar)

    def feed(self, line: dict[str, Any]) -> FrameAction:
        """The action of the next line.

        A mouse or keyboard that is null, as recorders before 6.13 write after an error of theirs, did nothing. A
        log without `hotbar` (before 6.11) tells the slot by number keys only.

        Raises:
            BadLine: if the line is no action; nothing has changed then.
        """
        if "mouse" not in line and "keyboard" not in line:
            raise BadLine("wrong_schema", "neither mouse nor keyboard")
        mouse, keyboard = _object(line, "mouse"), _object(line, "keyboard")
        gui = line.get("isGuiOpen", False)
        if not isinstance(gui, bool):
            raise BadLine("wrong_schema", f"isGuiOpen is {gui!r:.40}, expected true or false")

        buttons = bytearray(len(ACTION_SPACE.buttons))
        for key in _list(keyboard, "keyboard", "keys"):
            column = KEYS.get(key) if isinstance(key, str) else None
            if column is not None:
                buttons[column] = 1

        down = _list(mouse, "mouse", "buttons")
        pressed = _list(mouse, "mouse", "newButtons", needed=False)
        # The click that started the recording may never be released, by the recorder's account: attack is then
        # down in every line until the player really presses it.
        stuck = pressed == [0] if self._stuck is None else self._stuck and 0 not in pressed
        buttons[ATTACK] = 0 in down and not stuck
        buttons[USE] = 1 in down
        buttons[PICK_ITEM] = 2 in down

        hotbar = line.get("hotbar")
        if hotbar is not None:
            if type(hotbar) is not int or not 0 <= hotbar < NUM_HOTBAR_SLOTS:
                raise BadLine("wrong_schema", f"hotbar is {hotbar!r:.40}, expected 0 to 8")
            if hotbar != self._hotbar:
                buttons[FIRST_HOTBAR + hotbar] = 1

        scale = DEGREES_PER_PX * (self._gui_scale if gui else 1.0)
        pitch, yaw = turn("mouse.dy", _number(mouse, "dy") * scale), turn("mouse.dx", _number(mouse, "dx") * scale)
        x = y = math.nan
        if gui and mouse is not None and "x" in mouse and "y" in mouse:
            x, y = _number(mouse, "x"), _number(mouse, "y")
            if max(abs(x), abs(y)) > MAX_MOUSE_PX:
                raise BadLine("out_of_range", f"mouse at {x:g}, {y:g}, expected at most {MAX_MOUSE_PX:g} pixels")

        self._stuck = stuck
        if hotbar is not None:
            self._hotbar = hotbar
        return FrameAction(buttons, (pitch, yaw), gui, (x, y))


def turn(where: str, degrees: float) -> float:
    """The camera's movement in a frame, no more than a mouse can give.

    Raises:
        BadLine: it is more than a mouse can give.
    """
    if abs(degrees) > ACTION_SPACE.max_turn_degrees:
        limit = ACTION_SPACE.max_turn_degrees
        raise BadLine("out_of_range", f"{where} turns the camera by {degrees:g} degrees, at most {limit:g} fit")
    return degrees


def _object(line: dict[str, Any], name: str) -> dict[str, Any] | None:
    value = line.get(name)
    if value is not None and not isinstance(value, dict):
        raise BadLine("wrong_schema", f"{name} is {value!r:.40}, expected an object or null")
    return value


def _list(parent: dict[str, Any] | None, where: str, name: str, *, needed: bool = True) -> list[Any]:
    if parent is None:
        return []
    value = parent.get(name)
    if value is None and not needed:
        return []
    if not isinstance(value, list):
        raise BadLine("wrong_schema", f"{where}.{name} is {value!r:.40}, expected a list")
    return value


def _number(mouse: dict[str, Any] | None, name: str) -> float:
    if mouse is None:
        return 0.0
    value = mouse.get(name)
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if math.isfinite(number):  # 1e999 parses as infinity
            return number
    raise BadLine("wrong_schema", f"mouse.{name} is {value!r:.40}, expected a finite number")
