"""Colours and letters of drawn frames."""

from __future__ import annotations

import functools

from PIL import ImageFont

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
DARK_INK: Colour = (20, 20, 20)
FAINT: Colour = (120, 126, 138)
HUMAN: Colour = (250, 210, 80)
POLICY: Colour = (90, 205, 240)
ALARM: Colour = (235, 80, 70)


@functools.cache
def font(size_px: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own typeface at that size: nothing needs to be installed."""
    return ImageFont.load_default(size_px)


def type_colour(type_id: int) -> Colour:
    """The colour of an interaction type."""
    return TYPE_COLOURS.get(type_id, OTHER_COLOUR)
