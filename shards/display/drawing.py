"""Drawing what is known of a frame onto it: masks, what they lead to, pressed keys, the camera's movement.

+--------------------------+
| mine | mine_block:stone  |  the interactions whose masks are drawn, in their type's colour
|            o-->          |  the camera's movement, from the middle
| 812 | 0:40.6             |  frame and time in the episode
+--------------------------+
|   W     mouse   1 ... 9  |  what is pressed is lit
| A S D           E Q F    |
+--------------------------+

With a policy's action there is a second panel and a second arrow, in another colour.
"""

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from shards.action_space import ACTION_SPACE
from shards.display.key_panel import PANEL_SHARE, WIDTH_UNITS, draw_keys
from shards.display.palette import BACKGROUND, DARK_INK, HUMAN, INK, PANEL, POLICY, RGB, font, type_rgb
from shards.display.shown_frame import ShownFrame
from shards.display.wording import short_event
from shards.interaction_types import interaction_type

CELL_PX = 224
"""Width that a frame is enlarged to at least."""


def cell_size(
    frame_width_px: int, frame_height_px: int, width_px: int = CELL_PX, num_panels: int = 1
) -> tuple[int, int]:
    """Width and height of a drawn frame with its panels; both even.

    Frames are enlarged by a whole factor, so that pixels stay square, until they are `width_px` wide.
    """
    factor = -(-width_px // frame_width_px)
    width, height = frame_width_px * factor, frame_height_px * factor
    return width + width % 2, height + num_panels * _panel_height(width)


def draw_frame(shown: ShownFrame, width_px: int = CELL_PX) -> Image.Image:
    """The frame with everything drawn on it, of `cell_size`; two panels where a policy's action is known."""
    frame_height, frame_width = shown.rgb.shape[:2]
    actions = [(shown.action, HUMAN, "human" if shown.predicted else "")]
    if shown.predicted is not None:
        actions.append((shown.predicted, POLICY, "policy"))
    width, height = cell_size(frame_width, frame_height, width_px, len(actions))
    picture = Image.fromarray(tint_masks(shown)).resize(
        (width, frame_height * (width // frame_width)), Image.Resampling.NEAREST
    )
    cell = Image.new("RGB", (width, height), PANEL)
    cell.paste(picture, (0, 0))
    draw = ImageDraw.Draw(cell)
    unit = width / WIDTH_UNITS
    for action, colour, _ in reversed(actions):  # the human's arrow on top
        _draw_camera(draw, action.camera, colour, picture.size, unit)
    _draw_labels(draw, shown, unit)
    minutes, seconds = divmod(shown.frame / ACTION_SPACE.frames_per_second, 60)
    stamp = f"{shown.frame} | {int(minutes)}:{seconds:04.1f}"
    _chip(draw, 4 * unit, picture.height - 17 * unit, stamp, BACKGROUND, INK, unit)
    if shown.gui:
        _chip(draw, width - 40 * unit, picture.height - 17 * unit, "menu", BACKGROUND, HUMAN, unit)
    for place, (action, colour, title) in enumerate(actions):
        top = picture.height + place * _panel_height(width)
        draw_keys(draw, top, width, colour, action, title)
        draw.line([(0, top + _panel_height(width) - 1), (width, top + _panel_height(width) - 1)], fill=BACKGROUND)
    return cell


def tint_masks(shown: ShownFrame) -> NDArray[np.uint8]:
    """The frame's pixels, masks tinted in their type's colour and outlined, u8 (height, width, 3)."""
    rgb = shown.rgb.astype(np.float32)
    for item in shown.masks:
        colour = np.array(type_rgb(item.interaction.type), np.float32)
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


def _panel_height(width: int) -> int:
    return round(width * PANEL_SHARE) // 2 * 2


def _draw_camera(
    draw: ImageDraw.ImageDraw, camera: tuple[float, float], colour: RGB, size: tuple[int, int], unit: float
) -> None:
    """An arrow from the middle: right for positive yaw, down for positive pitch.

    Its length grows with the square root of the angle, so that 0.15 degrees are seen and 20 stay inside.
    """
    pitch, yaw = camera
    degrees = math.hypot(pitch, yaw)
    x, y = size[0] / 2, size[1] / 2
    if degrees == 0:
        return
    length = size[0] * min(0.09 * math.sqrt(degrees), 0.42)
    dx, dy = yaw / degrees, pitch / degrees
    tip = (x + dx * length, y + dy * length)
    head = min(7 * unit, length * 0.6)
    base = (tip[0] - dx * head, tip[1] - dy * head)
    sides = [(base[0] - sign * dy * head * 0.6, base[1] + sign * dx * head * 0.6) for sign in (1, -1)]
    for fill, thickness in (((0, 0, 0), 4 * unit), (colour, 2 * unit)):
        draw.line([(x, y), base], fill=fill, width=max(1, round(thickness)))
        draw.polygon([tip, *sides], fill=fill, outline=(0, 0, 0))


def _draw_labels(draw: ImageDraw.ImageDraw, shown: ShownFrame, unit: float) -> None:
    for place, item in enumerate(shown.masks):
        kind = item.interaction.type
        text = " | ".join(filter(None, (interaction_type(kind).name, short_event(item.interaction.event))))
        _chip(draw, 4 * unit, (4 + 16 * place) * unit, text, type_rgb(kind), DARK_INK, unit)


def _chip(draw: ImageDraw.ImageDraw, x: float, y: float, text: str, fill: RGB, ink: RGB, unit: float) -> None:
    """Text on a filled box whose corner is at (x, y)."""
    face = font(round(10 * unit))
    draw.rectangle([x, y, x + draw.textlength(text, face) + 6 * unit, y + 13 * unit], fill=fill)
    draw.text((x + 3 * unit, y + 6.5 * unit), text, fill=ink, font=face, anchor="lm")
