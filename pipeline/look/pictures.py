"""Drawn frames as a contact sheet or as a film."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from PIL import Image, ImageDraw

from pipeline.progress import ProgressReport
from shards.display.drawing import cell_size, draw_frame
from shards.display.film import FILM_WIDTH_PX, write_film
from shards.display.footage import Stretch
from shards.display.palette import ALARM, BACKGROUND, FAINT, INK, PANEL, RGB, font
from shards.display.shown_frame import ShownFrame
from shards.places import output

SILENT = ProgressReport()
_MARGIN_PX, _GAP_PX = 16, 8
_TITLE_PX, _BAND_PX = 52, 26
_WHITE = (255, 255, 255)
_NOTICE_FRAMES = 10
"""Frames of a film for which a memory reset stays announced."""


@dataclass(frozen=True)
class Strip:
    """Frames under a band of text, if there is any; it is red where memory starts empty. Padding has no frames."""

    text: str
    frames: Iterable[ShownFrame]
    num_frames: int
    is_reset: bool = False

    @classmethod
    def of(cls, stretch: Stretch, limit: int | None) -> Self:
        """The stretch, by evenly spaced frames where it has more than `limit`."""
        num_frames = stretch.stop - stretch.start
        num_frames = num_frames if limit is None else min(num_frames, limit)
        return cls(stretch.caption, stretch.frames(limit), num_frames, stretch.memory == "empty")


def is_film(out: Path) -> bool:
    """Whether a film is wanted, not a sheet."""
    return out.suffix.lower() == ".mp4"


def draw_strips(
    out: Path,
    title: str,
    subtitle: str,
    strips: Sequence[Strip],
    size_px: tuple[int, int],
    num_columns: int,
    progress: ProgressReport = SILENT,
) -> int:
    """A film of the strips, or a sheet with `num_columns` frames a row, is at `out`; returns its number of frames.

    Args:
        size_px: (width, height) of the dataset's frames.
    """
    if is_film(out):
        num_pictures = sum(strip.num_frames or 1 for strip in strips)
        progress.start("drawing", num_pictures, "frames")
        write_film(out, _film_pictures(strips, size_px, progress))
        return num_pictures
    sheet = _sheet(title, subtitle, strips, size_px, num_columns)
    with output(out) as partial:
        kind = "PNG" if out.suffix.lower() == ".png" else "JPEG"
        sheet.save(partial, kind, optimize=True, quality=80)  # PNG takes no notice of quality
    return sum(strip.num_frames for strip in strips)


def _sheet(
    title: str, subtitle: str, strips: Sequence[Strip], size_px: tuple[int, int], num_columns: int
) -> Image.Image:
    """All strips under each other."""
    x_step, y_step = (side + _GAP_PX for side in cell_size(*size_px))
    heights = [(_BAND_PX if strip.text else 0) + -(-strip.num_frames // num_columns) * y_step for strip in strips]
    width, top = 2 * _MARGIN_PX + num_columns * x_step - _GAP_PX, _MARGIN_PX + _TITLE_PX
    sheet = Image.new("RGB", (width, top + sum(heights) + _MARGIN_PX - _GAP_PX), BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    draw.text((_MARGIN_PX, _MARGIN_PX), title, fill=INK, font=font(18), anchor="lt")
    draw.text((_MARGIN_PX, _MARGIN_PX + 24), subtitle, fill=FAINT, font=font(12), anchor="lt")
    for strip, height in zip(strips, heights, strict=True):
        y = top
        if strip.text:
            fill, ink = (ALARM, _WHITE) if strip.is_reset else (PANEL, INK)
            draw.rectangle([_MARGIN_PX, y, width - _MARGIN_PX, y + _BAND_PX - 4], fill=fill)
            draw.text((_MARGIN_PX + 8, y + (_BAND_PX - 4) / 2), strip.text, fill=ink, font=font(13), anchor="lm")
            y += _BAND_PX
        for place, shown in enumerate(strip.frames):
            row, column = divmod(place, num_columns)
            sheet.paste(draw_frame(shown), (_MARGIN_PX + column * x_step, y + row * y_step))
        top += height
    return sheet


def _film_pictures(
    strips: Sequence[Strip], size_px: tuple[int, int], progress: ProgressReport
) -> Iterator[Image.Image]:
    """A film's pictures; padding is one still picture a strip."""
    for strip in strips:
        if not strip.num_frames:
            still = Image.new("RGB", cell_size(*size_px, FILM_WIDTH_PX), BACKGROUND)
            yield _banded(still, strip.text, BACKGROUND, FAINT)
            progress.advance(1)
        for place, shown in enumerate(strip.frames):
            picture = draw_frame(shown, FILM_WIDTH_PX)
            is_reset = strip.is_reset and place < _NOTICE_FRAMES
            fill, ink = (ALARM, _WHITE) if is_reset else (BACKGROUND, INK)
            yield _banded(picture, strip.text, fill, ink) if strip.text else picture
            progress.advance(1)


def _banded(picture: Image.Image, text: str, fill: RGB, ink: RGB) -> Image.Image:
    """The picture under a band of text, which is as large as fits."""
    banded = Image.new("RGB", (picture.width, picture.height + _BAND_PX), fill)
    banded.paste(picture, (0, _BAND_PX))
    draw = ImageDraw.Draw(banded)
    size = 13
    while size > 8 and draw.textlength(text, font(size)) > picture.width - 12:
        size -= 1
    draw.text((6, _BAND_PX / 2), text, fill=ink, font=font(size), anchor="lm")
    return banded
