"""Drawing what is known of a frame onto it: masks, what they lead to, pressed keys, the camera's movement.

+--------------------------+
| mine | mine_block:stone  |  the interactions whose masks are drawn, in their type's colour
|            o-->          |  the camera's movement, from the middle
| 812 | 0:40.6             |  frame and time in the episode
+--------------------------+
|   W     mouse   1 ... 9  |  what is pressed is lit
| A S D           E Q F    |
+--------------------------+
"""

from __future__ import annotations

import functools
import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from pipeline.look.footage import ShownFrame
from pipeline.look.wording import short_event
from shards.vocabulary import BUTTONS, FRAMES_PER_SECOND, INTERACTION_TYPES

Colour = tuple[int, int, int]

TYPE_COLOURS: dict[int, Colour] = {
    0: (230, 75, 85),
    2: (245, 158, 40),
    3: (70, 150, 235),
    4: (175, 105, 225),
    5: (35, 185, 165),
    6: (140, 190, 60),
}
"""A colour for each interaction type, told apart on grass, stone, sky and night."""

OTHER_COLOUR: Colour = (200, 200, 200)
BACKGROUND: Colour = (24, 26, 31)
PANEL: Colour = (36, 39, 46)
INK: Colour = (235, 237, 240)
FAINT: Colour = (120, 126, 138)
LIT: Colour = (250, 210, 80)
ARROW: Colour = (255, 235, 59)
ALARM: Colour = (235, 80, 70)

CELL_PX = 224
"""Width that a frame is enlarged to at least."""

_PANEL_SHARE = 0.3
_KEYS = {"forward": "W", "left": "A", "back": "S", "right": "D"}
_WIDE_KEYS = {"sneak": "Shift", "sprint": "Ctrl", "jump": "Space"}
_SMALL_KEYS = {"inventory": "E", "drop": "Q", "swapHands": "F", "ESC": "Esc"}
_COLUMN = {name: column for column, name in enumerate(BUTTONS)}


@functools.cache
def font(size_px: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own typeface at that size: nothing needs to be installed."""
    return ImageFont.load_default(size_px)


def type_colour(type_id: int) -> Colour:
    """The colour of an interaction type."""
    return TYPE_COLOURS.get(type_id, OTHER_COLOUR)


def cell_size(frame_width_px: int, frame_height_px: int, width_px: int = CELL_PX) -> tuple[int, int]:
    """Width and height of a drawn frame with its panel; both even.

    Frames are enlarged by a whole factor, so that pixels stay square, until they are `width_px` wide.
    """
    factor = -(-width_px // frame_width_px)
    width, height = frame_width_px * factor, frame_height_px * factor
    return width + width % 2, height + round(width * _PANEL_SHARE) // 2 * 2


def draw_frame(shown: ShownFrame, width_px: int = CELL_PX) -> Image.Image:
    """The frame with everything drawn on it, of `cell_size`."""
    frame_height, frame_width = shown.rgb.shape[:2]
    width, height = cell_size(frame_width, frame_height, width_px)
    picture = Image.fromarray(tint_masks(shown)).resize(
        (width, frame_height * (width // frame_width)), Image.Resampling.NEAREST
    )
    cell = Image.new("RGB", (width, height), PANEL)
    cell.paste(picture, (0, 0))
    draw = ImageDraw.Draw(cell)
    unit = width / CELL_PX
    _draw_camera(draw, shown.camera, picture.width, picture.height, unit)
    _draw_labels(draw, shown, picture.width, unit)
    minutes, seconds = divmod(shown.frame / FRAMES_PER_SECOND, 60)
    stamp = f"{shown.frame} | {int(minutes)}:{seconds:04.1f}"
    _chip(draw, 4 * unit, picture.height - 17 * unit, stamp, BACKGROUND, INK, unit)
    if shown.gui:
        _chip(draw, width - 40 * unit, picture.height - 17 * unit, "menu", BACKGROUND, LIT, unit)
    _draw_panel(draw, shown, picture.height, width, height, unit)
    return cell


def tint_masks(shown: ShownFrame) -> NDArray[np.uint8]:
    """The frame's pixels, masks tinted in their type's colour and outlined, u8 (height, width, 3)."""
    rgb = shown.rgb.astype(np.float32)
    for item in shown.masks:
        colour = np.array(type_colour(item.interaction.type), np.float32)
        rgb[item.mask] = 0.55 * rgb[item.mask] + 0.45 * colour
        rgb[outline(item.mask)] = colour
    pixels: NDArray[np.uint8] = np.rint(rgb).astype(np.uint8)
    return pixels


def outline(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Those pixels of a mask that touch its outside or the frame's edge."""
    padded = np.pad(mask, 1)
    inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    edge: NDArray[np.bool_] = mask & ~inner
    return edge


def _draw_camera(
    draw: ImageDraw.ImageDraw, camera: tuple[float, float], width: int, height: int, unit: float
) -> None:
    """An arrow from the middle: right for positive yaw, down for positive pitch.

    Its length grows with the square root of the angle, so that 0.15 degrees are seen and 20 stay inside.
    """
    pitch, yaw = camera
    degrees = math.hypot(pitch, yaw)
    x, y = width / 2, height / 2
    if degrees == 0:
        return
    length = width * min(0.09 * math.sqrt(degrees), 0.42)
    dx, dy = yaw / degrees, pitch / degrees
    tip = (x + dx * length, y + dy * length)
    head = min(7 * unit, length * 0.6)
    base = (tip[0] - dx * head, tip[1] - dy * head)
    sides = [(base[0] - sign * dy * head * 0.6, base[1] + sign * dx * head * 0.6) for sign in (1, -1)]
    for colour, thickness in (((0, 0, 0), 4 * unit), (ARROW, 2 * unit)):
        draw.line([(x, y), base], fill=colour, width=max(1, round(thickness)))
        draw.polygon([tip, *sides], fill=colour, outline=(0, 0, 0))


def _draw_labels(draw: ImageDraw.ImageDraw, shown: ShownFrame, width: int, unit: float) -> None:
    y = 4 * unit
    for item in shown.masks:
        name = INTERACTION_TYPES.get(item.interaction.type, f"type {item.interaction.type}")
        text = _fit(f"{name} | {short_event(item.interaction.event)}", width - 14 * unit, unit)
        _chip(draw, 4 * unit, y, text, type_colour(item.interaction.type), (0, 0, 0), unit)
        y += 16 * unit


def _chip(
    draw: ImageDraw.ImageDraw, x: float, y: float, text: str, fill: Colour, ink: Colour, unit: float
) -> None:
    """Text on a filled box whose corner is at (x, y)."""
    face = font(round(10 * unit))
    draw.rectangle([x, y, x + draw.textlength(text, face) + 6 * unit, y + 13 * unit], fill=fill)
    draw.text((x + 3 * unit, y + 6.5 * unit), text, fill=ink, font=face, anchor="lm")


def _fit(text: str, width: float, unit: float) -> str:
    """The text, its end cut off where it is wider."""
    face = font(round(10 * unit))
    if face.getlength(text) <= width:
        return text
    while text and face.getlength(text + "...") > width:
        text = text[:-1]
    return text + "..."


def _draw_panel(
    draw: ImageDraw.ImageDraw, shown: ShownFrame, top: int, width: int, height: int, unit: float
) -> None:
    """The strip under the frame: keyboard, mouse, hotbar, and the camera's movement in degrees."""
    pressed = {name for name, column in _COLUMN.items() if shown.buttons[column]}
    key, gap = 15 * unit, 2 * unit
    left, y = 6 * unit, top + 7 * unit

    def box(x: float, y: float, wide: float, text: str, lit: bool) -> None:
        draw.rounded_rectangle(
            [x, y, x + wide, y + key],
            radius=2.5 * unit,
            fill=LIT if lit else None,
            outline=LIT if lit else FAINT,
            width=max(1, round(unit)),
        )
        draw.text(
            (x + wide / 2, y + key / 2),
            text,
            fill=(20, 20, 20) if lit else FAINT,
            font=font(round((9 if len(text) > 1 else 10) * unit)),
            anchor="mm",
        )

    box(left + key + gap, y, key, "W", "forward" in pressed)
    for column, name in enumerate(("left", "back", "right")):
        box(left + column * (key + gap), y + key + gap, key, _KEYS[name], name in pressed)
    x: float = left
    for name, wide in (("sneak", 27 * unit), ("sprint", 23 * unit), ("jump", 32 * unit)):
        box(x, y + 2 * (key + gap), wide, _WIDE_KEYS[name], name in pressed)
        x += wide + gap
    x = left + 4.0 * (key + gap)
    _draw_mouse(draw, x, y, 20 * unit, 2 * key + gap, pressed, unit)
    x += 27 * unit
    for slot in range(9):
        lit = f"hotbar.{slot + 1}" in pressed
        step = 11.5 * unit
        draw.rectangle(
            [x + slot * step, y, x + slot * step + 9.5 * unit, y + key],
            fill=LIT if lit else None,
            outline=LIT if lit else FAINT,
        )
        draw.text(
            (x + slot * step + 5 * unit, y + key / 2),
            str(slot + 1),
            fill=(20, 20, 20) if lit else FAINT,
            font=font(round(8 * unit)),
            anchor="mm",
        )
    key_x: float = x
    for name, text in _SMALL_KEYS.items():
        wide = 26 * unit if len(text) > 1 else key
        box(key_x, y + key + gap, wide, text, name in pressed)
        key_x += wide + gap
    pitch, yaw = shown.camera
    moved = bool(pitch or yaw)
    draw.text(
        (width - 6 * unit, y + 2 * (key + gap) + key / 2),
        f"yaw {yaw:+.1f}  pitch {pitch:+.1f}" if moved else "camera still",
        fill=ARROW if moved else FAINT,
        font=font(round(9.5 * unit)),
        anchor="rm",
    )
    draw.line([(0, height - 1), (width, height - 1)], fill=BACKGROUND)


def _draw_mouse(
    draw: ImageDraw.ImageDraw, x: float, y: float, wide: float, tall: float, pressed: set[str], unit: float
) -> None:
    """A mouse whose left button is attack, right button use, and wheel pickItem."""
    half, line = wide / 2, max(1, round(unit))
    radius = 7 * unit
    split = y + tall * 0.45
    for name, x0, x1, corners in (
        ("attack", x, x + half, (True, False, False, False)),
        ("use", x + half, x + wide, (False, True, False, False)),
    ):
        draw.rounded_rectangle(
            [x0, y, x1, split],
            radius=radius,
            fill=LIT if name in pressed else None,
            outline=LIT if name in pressed else FAINT,
            width=line,
            corners=corners,
        )
    draw.rounded_rectangle(
        [x, split, x + wide, y + tall],
        radius=radius,
        outline=FAINT,
        width=line,
        corners=(False, False, True, True),
    )
    wheel = [x + half - 1.5 * unit, y + 4 * unit, x + half + 1.5 * unit, y + 10 * unit]
    draw.rectangle(wheel, fill=LIT if "pickItem" in pressed else PANEL, outline=FAINT)
