"""Keys, mouse buttons and the hotbar, on which is lit what a player presses."""

from PIL import ImageDraw

from shards.action_space import ACTION_SPACE
from shards.display.palette import DARK_INK, FAINT, RGB, font
from shards.display.shown_frame import ShownAction

PANEL_SHARE = 0.3
"""Height of a panel as a share of its width."""

WIDTH_UNITS = 224
"""A panel's width in the units below; everything scales with it."""

_KEY, _GAP, _LEFT, _TOP = 15, 2, 6, 7
_ROW = _KEY + _GAP
_ROWS = (
    (
        *((_LEFT + _ROW, "forward", "W", _KEY), (44, "ESC", "Esc", 26)),
        *((74 + slot * 16, f"hotbar.{slot + 1}", str(slot + 1), 14) for slot in range(9)),
    ),
    (
        *((_LEFT, "left", "A", _KEY), (_LEFT + _ROW, "back", "S", _KEY), (_LEFT + 2 * _ROW, "right", "D", _KEY)),
        *((74, "attack", "attack", 34), (110, "pickItem", "pick", 27), (139, "use", "use", 22)),
        *((163, "inventory", "E", 15), (180, "drop", "Q", 15), (197, "swapHands", "F", 15)),
    ),
    ((_LEFT, "sneak", "Shift", 27), (35, "sprint", "Ctrl", 23), (60, "jump", "Space", 32)),
)
"""(x, button, its text, width) of each key."""


def draw_keys(
    draw: ImageDraw.ImageDraw, top: float, width: float, colour: RGB, action: ShownAction, title: str = ""
) -> None:
    """A panel with its upper left corner at (0, top) shows the action in that colour."""
    unit = width / WIDTH_UNITS
    pressed = {name for name, down in zip(ACTION_SPACE.buttons, action.buttons, strict=True) if down}
    for row, keys in enumerate(_ROWS):
        y = top + (_TOP + row * _ROW) * unit
        for x, name, text, wide in keys:
            lit = name in pressed
            draw.rounded_rectangle(
                [x * unit, y, (x + wide) * unit, y + _KEY * unit],
                radius=2.5 * unit,
                fill=colour if lit else None,
                outline=colour if lit else FAINT,
                width=max(1, round(unit)),
            )
            middle = ((x + wide / 2) * unit, y + _KEY * unit / 2)
            face = font(round((9 if len(text) > 1 else 10) * unit))
            draw.text(middle, text, fill=DARK_INK if lit else FAINT, font=face, anchor="mm")
    pitch, yaw = action.camera
    moved = bool(pitch or yaw)
    text = f"{title} " * bool(title) + (f"yaw {yaw:+.1f}  pitch {pitch:+.1f}" if moved else "camera still")
    place = (width - 6 * unit, top + (_TOP + 2 * _ROW + _KEY / 2) * unit)
    draw.text(place, text, fill=colour if moved else FAINT, font=font(round(9 * unit)), anchor="rm")
