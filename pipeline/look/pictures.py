"""Many drawn frames on one sheet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from PIL import Image, ImageDraw

from shards.display.drawing import cell_size, draw_frame
from shards.display.palette import ALARM, BACKGROUND, FAINT, INK, PANEL, font, type_rgb
from shards.display.shown_frame import ShownFrame
from shards.errors import RocketError
from shards.interaction_types import interaction_type

_MARGIN_PX, _GAP_PX = 16, 8
_TITLE_PX, _BAND_PX = 52, 26
_HATCH_PX = 14

StripKind = Literal["plain", "reset", "padding"]


@dataclass(frozen=True)
class Strip:
    """A row of frames under a band of text; `kind` colours the band. A strip of padding has no frames."""

    text: str
    frames: Sequence[ShownFrame]
    kind: StripKind = "plain"


def contact_sheet(
    title: str, subtitle: str, strips: Sequence[Strip], frame_size_px: tuple[int, int], num_columns: int
) -> Image.Image:
    """All strips under each other, each with `num_columns` frames a row.

    Args:
        frame_size_px: (width, height) of the dataset's frames.
    """
    cell_width, cell_height = cell_size(*frame_size_px)
    width = 2 * _MARGIN_PX + num_columns * cell_width + (num_columns - 1) * _GAP_PX
    heights = [_strip_height(strip, num_columns, cell_height) for strip in strips]
    height = _MARGIN_PX + _TITLE_PX + sum(heights) + _MARGIN_PX - _GAP_PX
    sheet = Image.new("RGB", (width, height), BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    _draw_title(draw, title, subtitle, strips, width)
    y = _MARGIN_PX + _TITLE_PX
    for strip, strip_height in zip(strips, heights, strict=True):
        _draw_strip(sheet, strip, y, width, num_columns, (cell_width, cell_height))
        y += strip_height
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


def _strip_height(strip: Strip, num_columns: int, cell_height: int) -> int:
    band = _BAND_PX if strip.text else 0
    rows = -(-len(strip.frames) // num_columns)
    if strip.kind == "padding":
        return band + 2 * _GAP_PX + cell_height // 4
    return band + rows * (cell_height + _GAP_PX)


def _draw_title(draw: ImageDraw.ImageDraw, title: str, subtitle: str, strips: Sequence[Strip], width: int) -> None:
    draw.text((_MARGIN_PX, _MARGIN_PX), title, fill=INK, font=font(18), anchor="lt")
    draw.text((_MARGIN_PX, _MARGIN_PX + 24), subtitle, fill=FAINT, font=font(12), anchor="lt")
    kinds = sorted({item.interaction.type for strip in strips for shown in strip.frames for item in shown.masks})
    x = width - _MARGIN_PX
    for type_id in reversed(kinds):
        name = interaction_type(type_id).name
        face = font(12)
        x -= round(draw.textlength(name, face))
        draw.text((x, _MARGIN_PX + 2), name, fill=INK, font=face, anchor="lt")
        x -= 15
        draw.rectangle([x, _MARGIN_PX + 1, x + 10, _MARGIN_PX + 11], fill=type_rgb(type_id))
        x -= 12


def _draw_strip(
    sheet: Image.Image, strip: Strip, y: int, width: int, num_columns: int, cell: tuple[int, int]
) -> None:
    draw = ImageDraw.Draw(sheet)
    if strip.text:
        fill, ink = (ALARM, (255, 255, 255)) if strip.kind == "reset" else (PANEL, INK)
        draw.rectangle([_MARGIN_PX, y, width - _MARGIN_PX, y + _BAND_PX - 4], fill=fill)
        draw.text((_MARGIN_PX + 8, y + (_BAND_PX - 4) / 2), strip.text, fill=ink, font=font(13), anchor="lm")
        y += _BAND_PX
    if strip.kind == "padding":
        box = (_MARGIN_PX, y, width - _MARGIN_PX, y + cell[1] // 4)
        hatching = Image.new("RGB", (box[2] - box[0], box[3] - box[1]), BACKGROUND)
        lines = ImageDraw.Draw(hatching)
        for x in range(-hatching.height, hatching.width, _HATCH_PX):
            lines.line([(x, hatching.height), (x + hatching.height, 0)], fill=PANEL, width=3)
        sheet.paste(hatching, box[:2])
    for place, shown in enumerate(strip.frames):
        row, column = divmod(place, num_columns)
        sheet.paste(draw_frame(shown), (_MARGIN_PX + column * (cell[0] + _GAP_PX), y + row * (cell[1] + _GAP_PX)))
