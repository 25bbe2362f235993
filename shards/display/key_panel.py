"""A keyboard, a mouse and a hotbar on which is lit what a player presses."""

from __future__ import annotations

from PIL import ImageDraw

from shards.action_space import ACTION_SPACE
from shards.display.palette import DARK_INK, FAINT, PANEL, RGB, font
from shards.display.shown_frame import ShownAction

PANEL_SHARE = 0.3
"""Height of a panel as a share of its width."""

WIDTH_UNITS = 224
"""A panel's width in the units below; everything scales with it."""

_KEY, _GAP, _LEFT, _TOP = 15, 2, 6, 7
_WIDE_KEYS = (("sneak", "Shift", 27), ("sprint", "Ctrl", 23), ("jump", "Space", 32))
_SMALL_KEYS = (("inventory", "E", 15), ("drop", "Q", 15), ("swapHands", "F", 15), ("ESC", "Esc", 26))


class InputPanel:
    """Draws actions in one colour; a panel's upper left corner is at (0, top)."""

    def __init__(self, draw: ImageDraw.ImageDraw, top: float, width: float, colour: RGB) -> None:
        self._draw, self._top, self._width, self._colour = draw, top, width, colour
        self._unit = width / WIDTH_UNITS

    def show(self, action: ShownAction, title: str = "") -> None:
        """The panel shows the action, with a title at its right."""
        pressed = {name for name, down in zip(ACTION_SPACE.buttons, action.buttons, strict=True) if down}
        row = _KEY + _GAP
        self._key(_LEFT + row, 0, _KEY, "W", "forward" in pressed)
        for column, (name, text) in enumerate((("left", "A"), ("back", "S"), ("right", "D"))):
            self._key(_LEFT + column * row, row, _KEY, text, name in pressed)
        x = _LEFT
        for name, text, wide in _WIDE_KEYS:
            self._key(x, 2 * row, wide, text, name in pressed)
            x += wide + _GAP
        self._mouse(_LEFT + 4 * row, pressed)
        x = _LEFT + 4 * row + 27
        for slot in range(1, 10):
            self._key(x + (slot - 1) * 11.5, 0, 9.5, str(slot), f"hotbar.{slot}" in pressed, letters=8)
        for name, text, wide in _SMALL_KEYS:
            self._key(x, row, wide, text, name in pressed)
            x += wide + _GAP
        self._words(action, title, row)

    def _words(self, action: ShownAction, title: str, row: float) -> None:
        pitch, yaw = action.camera
        moved = bool(pitch or yaw)
        text = f"yaw {yaw:+.1f}  pitch {pitch:+.1f}" if moved else "camera still"
        x = self._width - 6 * self._unit
        self._draw.text(
            (x, self._y(2 * row + _KEY / 2)),
            text,
            fill=self._colour if moved else FAINT,
            font=font(round(9.5 * self._unit)),
            anchor="rm",
        )
        if title:
            self._draw.text(
                (x, self._y(row + _KEY / 2)),
                title,
                fill=self._colour,
                font=font(round(9.5 * self._unit)),
                anchor="rm",
            )

    def _y(self, units: float) -> float:
        return self._top + (_TOP + units) * self._unit

    def _key(self, x: float, y: float, wide: float, text: str, lit: bool, letters: float | None = None) -> None:
        unit = self._unit
        left, top = x * unit, self._y(y)
        self._draw.rounded_rectangle(
            [left, top, left + wide * unit, top + _KEY * unit],
            radius=2.5 * unit,
            fill=self._colour if lit else None,
            outline=self._colour if lit else FAINT,
            width=max(1, round(unit)),
        )
        size = letters or (9 if len(text) > 1 else 10)
        self._draw.text(
            (left + wide * unit / 2, top + _KEY * unit / 2),
            text,
            fill=DARK_INK if lit else FAINT,
            font=font(round(size * unit)),
            anchor="mm",
        )

    def _mouse(self, x: float, pressed: set[str]) -> None:
        """The left button is attack, the right one use, the wheel pickItem."""
        unit = self._unit
        left, top = x * unit, self._y(0)
        wide, tall = 20 * unit, (2 * _KEY + _GAP) * unit
        half, split = wide / 2, top + tall * 0.45
        radius, line = 7 * unit, max(1, round(unit))
        for name, start, corners in (
            ("attack", left, (True, False, False, False)),
            ("use", left + half, (False, True, False, False)),
        ):
            lit = name in pressed
            self._draw.rounded_rectangle(
                [start, top, start + half, split],
                fill=self._colour if lit else None,
                outline=self._colour if lit else FAINT,
                corners=corners,
                radius=radius,
                width=line,
            )
        self._draw.rounded_rectangle(
            [left, split, left + wide, top + tall],
            radius=radius,
            outline=FAINT,
            width=line,
            corners=(False, False, True, True),
        )
        self._draw.rectangle(
            [left + half - 1.5 * unit, top + 4 * unit, left + half + 1.5 * unit, top + 10 * unit],
            fill=self._colour if "pickItem" in pressed else PANEL,
            outline=FAINT,
        )
