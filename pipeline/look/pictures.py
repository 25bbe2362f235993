"""Many drawn frames on one sheet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw

from shards.display.drawing import cell_size, draw_frame
from shards.display.palette import ALARM, BACKGROUND, FAINT, INK, PANEL, font
from shards.display.shown_frame import ShownFrame
from shards.errors import RocketError

_MARGIN_PX, _GAP_PX = 16, 8
_TITLE_PX, _BAND_PX = 52, 26


@dataclass(frozen=True)
class Strip:
    """A row of frames under a band of text, which is red where memory starts empty. Padding has no frames."""

    text: str
    frames: Sequence[ShownFrame]
    is_reset: bool = False


def contact_sheet(
    title: str, subtitle: str, strips: Sequence[Strip], frame_size_px: tuple[int, int], num_columns: int
) -> Image.Image:
    """All strips under each other, each with `num_columns` frames a row.

    Args:
        frame_size_px: (width, height) of the dataset's frames.
    """
    x_step, y_step = (side + _GAP_PX for side in cell_size(*frame_size_px))
    heights = [(_BAND_PX if strip.text else 0) + -(-len(strip.frames) // num_columns) * y_step for strip in strips]
    width, top = 2 * _MARGIN_PX + num_columns * x_step - _GAP_PX, _MARGIN_PX + _TITLE_PX
    sheet = Image.new("RGB", (width, top + sum(heights) + _MARGIN_PX - _GAP_PX), BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    draw.text((_MARGIN_PX, _MARGIN_PX), title, fill=INK, font=font(18), anchor="lt")
    draw.text((_MARGIN_PX, _MARGIN_PX + 24), subtitle, fill=FAINT, font=font(12), anchor="lt")
    for strip, height in zip(strips, heights, strict=True):
        y = top
        if strip.text:
            fill, ink = (ALARM, (255, 255, 255)) if strip.is_reset else (PANEL, INK)
            draw.rectangle([_MARGIN_PX, y, width - _MARGIN_PX, y + _BAND_PX - 4], fill=fill)
            draw.text((_MARGIN_PX + 8, y + (_BAND_PX - 4) / 2), strip.text, fill=ink, font=font(13), anchor="lm")
            y += _BAND_PX
        for place, shown in enumerate(strip.frames):
            row, column = divmod(place, num_columns)
            sheet.paste(draw_frame(shown), (_MARGIN_PX + column * x_step, y + row * y_step))
        top += height
    return sheet


def save_picture(picture: Image.Image, out: Path) -> None:
    """The picture is at `out`.

    Raises:
        RocketError: if it cannot be written.
    """
    try:
        picture.save(out, optimize=True, quality=80)  # PNG takes no notice of quality
    except OSError as error:
        raise RocketError(f"{out}: cannot be written, got {error}. Give another --out.") from error
