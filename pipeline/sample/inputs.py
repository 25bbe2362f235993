"""Turns the player's actions into the recorder's jsonl lines, in the dialect of each recorder version."""

from dataclasses import dataclass
from typing import Any

from pipeline.sample.action import Action
from pipeline.sample.player import Player
from shards.recorder_lines import keys_of, mouse_buttons_of, mouse_line


@dataclass(frozen=True)
class Dialect:
    """What a recorder version writes.

    Source: openai/Video-Pre-Training, README (change list) and run_inverse_dynamics_model.py (scaler).
    """

    has_hotbar: bool = True
    has_milli_and_wheel: bool = True
    """Without them, quiet ticks may have null for mouse or keyboard."""
    screen_scaler: float = 1.0
    """With a screen open, the movement is the recorded one times this."""


def dialect_of(version: str) -> Dialect:
    """Return the dialect of a recorder version such as ``7.7`` or ``6.9``."""
    major, minor = (int(part) for part in version.split("."))
    if (major, minor) >= (6, 13):
        return Dialect()
    return Dialect(
        has_hotbar=(major, minor) >= (6, 11),
        has_milli_and_wheel=False,
        screen_scaler=2.0 if (major, minor) in ((6, 7), (6, 8), (6, 9)) else 1.0,
    )


class InputLog:
    """Writes one recording's lines; knows what was held in the line before.

    Args:
        stuck_attack: the recorder believes from its first line on that the left button is down, until it is
            pressed.
    """

    def __init__(self, dialect: Dialect, start_milli: int, first_server_tick: int, stuck_attack: bool) -> None:
        self._dialect, self._start_milli, self._first_server_tick = dialect, start_milli, first_server_tick
        self._stuck = stuck_attack
        self._held_keys: list[str] = []
        self._held_buttons: list[int] = []
        self.num_lines = 0

    def hold(self, action: Action) -> None:
        """Take an action's keys as already held, as they are where a recording goes on from another."""
        self._held_keys, self._held_buttons = _keys(action), mouse_buttons_of(action.buttons)

    def line(self, player: Player, action: Action) -> dict[str, Any]:
        """Return the line of the frame that the player's scene shows now and of the action taken on it."""
        scene, dialect, index = player.scene, self._dialect, self.num_lines
        keys, buttons = _keys(action), mouse_buttons_of(action.buttons)
        new_keys = [key for key in keys if key not in self._held_keys]
        new_buttons = [button for button in buttons if button not in self._held_buttons]
        self._held_keys, self._held_buttons = keys, buttons
        if self._stuck:
            if index == 0:
                new_buttons = [0]
            elif 0 in new_buttons:
                self._stuck = False
            buttons = sorted({0, *buttons})
        scaler = dialect.screen_scaler if scene.screen is not None else 1.0
        moved = (action.dx / scaler, action.dy / scaler)
        mouse: dict[str, Any] | None = mouse_line(player.cursor, moved, buttons, new_buttons, float(action.dwheel))
        typed = "".join(_typed(key) for key in new_keys)
        keyboard: dict[str, Any] | None = {"keys": keys, "newKeys": new_keys, "chars": typed}
        if not dialect.has_milli_and_wheel:
            assert mouse is not None
            del mouse["dwheel"]
            if action.is_noop and not self._stuck and scene.screen is None:
                mouse = None if index % 7 == 3 else mouse
                keyboard = None if index % 5 == 2 else keyboard
        line: dict[str, Any] = {
            "mouse": mouse,
            "keyboard": keyboard,
            "isGuiOpen": scene.screen is not None,
            "isGuiInventory": scene.screen is not None and scene.screen.kind == "inventory",
            "hotbar": _slot_after(scene.slot, action),
            "yaw": round(scene.yaw, 5),
            "pitch": round(scene.pitch, 6),
            "xpos": round(scene.x, 12),
            "ypos": 63.0,
            "zpos": round(scene.z, 12),
            "tick": index,
            "milli": self._start_milli + 50 * index + index * 7 % 5,
            "inventory": [{"type": name, "quantity": n} for name, n in player.ledger.inventory.items()],
            "serverTick": self._first_server_tick + index,
            "serverTickDurationMs": round(30 + (index * 37 % 101) / 7, 4),
            "stats": dict(player.ledger.stats),
        }
        if not dialect.has_hotbar:
            del line["hotbar"]
        if not dialect.has_milli_and_wheel:
            del line["milli"]
        self.num_lines += 1
        return line


def _keys(action: Action) -> list[str]:
    """The keyboard's part of the buttons; a hotbar change by the wheel has no key."""
    return keys_of([name for name in action.buttons if not (action.dwheel and name.startswith("hotbar."))])


def _typed(key: str) -> str:
    name = key.removeprefix("key.keyboard.")
    return name if len(name) == 1 else " " if name == "space" else ""


def _slot_after(slot: int, action: Action) -> int:
    """Return the selected slot as the recorder sees it, which is after the tick's input."""
    return next((int(name[7:]) - 1 for name in action.buttons if name.startswith("hotbar.")), slot)
