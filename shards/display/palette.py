"""The colours of pages, charts and drawn frames; those of interaction types are in `shards.interaction_types`."""

import functools
from typing import NamedTuple

from PIL import ImageFont

from shards.interaction_types import INTERACTION_TYPES, interaction_type

RGB = tuple[int, int, int]


class Pair(NamedTuple):
    """One colour as `#rrggbb`, on light ground and on dark ground."""

    light: str
    dark: str


PAGE = {
    "paper": Pair("#fdfdfe", "#14161a"),
    "card": Pair("#ffffff", "#1c1f25"),
    "ink": Pair("#1d2127", "#e8eaee"),
    "faint": Pair("#5d6673", "#9aa3b0"),
    "grid": Pair("#dde1e7", "#323740"),
    "line": Pair("#e4e7ec", "#2b3038"),
    "accent": Pair("#2868b8", "#7db3f5"),
    "alarm": Pair("#b3261e", "#ff8a80"),
    "alarm-paper": Pair("#fdecea", "#3a1f1f"),
}
SERIES = (
    Pair("#2868b8", "#6aa7f0"),
    Pair("#c2571a", "#f0985e"),
    Pair("#2a8a57", "#5cc990"),
    Pair("#8a4fb5", "#c093ea"),
    Pair("#b8336a", "#f07fae"),
    Pair("#8b7a10", "#d6c34a"),
    Pair("#157f93", "#4fc3d6"),
)
"""Curves and bars, told apart from each other, also without red and green."""

CSS_VARIABLES = {
    **PAGE,
    **{f"series-{place}": pair for place, pair in enumerate(SERIES)},
    **{f"type-{kind.id}": Pair(kind.page_colour, kind.dark_page_colour) for kind in INTERACTION_TYPES},
}

BACKGROUND: RGB = (24, 26, 31)
PANEL: RGB = (36, 39, 46)
INK: RGB = (235, 237, 240)
DARK_INK: RGB = (20, 20, 20)
FAINT: RGB = (120, 126, 138)
HUMAN: RGB = (250, 210, 80)
POLICY: RGB = (90, 205, 240)
ALARM: RGB = (235, 80, 70)


@functools.cache
def font(size_px: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own typeface at that size: nothing needs to be installed."""
    return ImageFont.load_default(size_px)


def type_rgb(type_id: int) -> RGB:
    """The colour of an interaction type on drawn frames."""
    red, green, blue = bytes.fromhex(interaction_type(type_id).drawn_colour[1:])
    return red, green, blue
