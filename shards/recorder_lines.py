"""How the contractors' recorder names what is held: keys, mouse buttons, and the mouse's part of a line."""

from collections.abc import Collection, Sequence
from typing import Any

DEGREES_PER_PX = 360 / 2400
"""A frame's mouse movement in px times this is the turn in degrees."""

KEY_OF = {
    "forward": "key.keyboard.w",
    "back": "key.keyboard.s",
    "left": "key.keyboard.a",
    "right": "key.keyboard.d",
    "jump": "key.keyboard.space",
    "sneak": "key.keyboard.left.shift",
    "sprint": "key.keyboard.left.control",
    "drop": "key.keyboard.q",
    "inventory": "key.keyboard.e",
    "ESC": "key.keyboard.escape",
    "swapHands": "key.keyboard.f",
    **{f"hotbar.{slot}": f"key.keyboard.{slot}" for slot in range(1, 10)},
}
MOUSE_BUTTON_OF = {"attack": 0, "use": 1, "pickItem": 2}


def keys_of(buttons: Collection[str]) -> list[str]:
    """The keys of these buttons."""
    return [key for name, key in KEY_OF.items() if name in buttons]


def mouse_buttons_of(buttons: Collection[str]) -> list[int]:
    """The mouse buttons among these."""
    return [number for name, number in MOUSE_BUTTON_OF.items() if name in buttons]


def mouse_line(
    cursor: tuple[float, float],
    moved: tuple[float, float],
    held: Sequence[int],
    pressed: Sequence[int],
    wheel: float = 0.0,
) -> dict[str, Any]:
    """The field `mouse` of a line: where the cursor is in a window of 1280x720, how far it moved, in px."""
    x, y = cursor
    return {
        "x": x,
        "y": y,
        "dx": moved[0],
        "dy": moved[1],
        "scaledX": x - 640,
        "scaledY": y - 360,
        "dwheel": wheel,
        "buttons": list(held),
        "newButtons": list(pressed),
    }
