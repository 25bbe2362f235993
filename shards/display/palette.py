"""Colours and letters of drawn frames."""

from __future__ import annotations

import functools

from PIL import ImageFont

from shards.interaction_types import INTERACTION_TYPES, interaction_type

Colour = tuple[int, int, int]

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
    """The colour of an interaction type on the game's pictures."""
    red, green, blue = bytes.fromhex(interaction_type(type_id).drawn_colour[1:])
    return red, green, blue


def type_variables() -> str:
    """CSS that says `--type-N`, the colour of interaction type N on light pages, dark pages and paper."""
    light = " ".join(f"--type-{kind.id}: {kind.page_colour};" for kind in INTERACTION_TYPES)
    dark = " ".join(f"--type-{kind.id}: {kind.dark_page_colour};" for kind in INTERACTION_TYPES)
    return f":root {{ {light} }}\n@media screen and (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}\n"
