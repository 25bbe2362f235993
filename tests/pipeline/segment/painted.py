"""The sample game with each goal painted in one colour, and a plain tracker that follows a colour.

The game is the same but for the goals' textures; no two goals near each other have the same colour. So the
loop around a tracker can be tested without one that is any good.
"""

from __future__ import annotations

import colorsys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.sample.boxes import BoxPainter
from pipeline.sample.make import SampleSettings, SampleSummary, make_sample
from pipeline.sample.models import SCENERY
from pipeline.sample.scene import Thing
from pipeline.sample.textures import TILE, Pixels
from pipeline.segment.settings import Hotbar, SegmentSettings
from pipeline.segment.tracker import Point, TrackedMask

Mask = NDArray[np.bool_]

SETTINGS = SegmentSettings(hotbar=Hotbar(first_x=199.0, y=315.0, pitch=30.0))
"""The little game's hotbar is not where Minecraft's is."""

HOTBAR_WORDS = ("hotbar.first_x=199", "hotbar.y=315", "hotbar.pitch=30")

_HUES = 12
_TOLERANCE = 60
_HOTBAR_TOP, _HOTBAR_LEFT, _SLOT = 300, 184, 30
_SCREEN_TOP, _SCREEN_LEFT, _CELL = 48, 176, 32


@contextmanager
def painted_goals() -> Iterator[None]:
    """The game paints each thing that may be a goal in one colour."""
    seen: dict[int, tuple[Thing, Pixels]] = {}
    textured = BoxPainter._texture

    def paint(self: BoxPainter, name: str, shade: int) -> Pixels:
        thing = self._thing
        if thing.kind in SCENERY:
            return textured(self, name, shade)
        if id(thing) not in seen:
            hue = 0.5 + 0.4 * (5 * len(seen) % _HUES) / _HUES
            red, green, blue = (round(255 * part) for part in colorsys.hsv_to_rgb(hue, 1.0, 1.0))
            colour = np.uint32(blue << 16 | green << 8 | red)
            seen[id(thing)] = thing, np.full((TILE, TILE), colour, np.uint32)
        return seen[id(thing)][1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BoxPainter, "_texture", paint)
        yield


def make_painted_sample(out: Path, settings: SampleSettings) -> SampleSummary:
    with painted_goals():
        return make_sample(out, settings)


class ColourTracker:
    """An object is what has the prompt's colour; slots of hotbar and screens are where the game draws them."""

    def __init__(self, model: str = "", device: str = "cpu") -> None:
        del model, device

    def start(self) -> ColourSession:
        return ColourSession()


class ColourSession:
    def __init__(self) -> None:
        self._colours: dict[int, NDArray[np.int16]] = {}
        self._slots: dict[int, Mask] = {}

    def step(self, frame: NDArray[np.uint8], objects: Mapping[int, Point | None]) -> Mapping[int, TrackedMask]:
        pixels = frame.astype(np.int16)
        found = {}
        for number, point in objects.items():
            if point is not None:
                self._prompt(number, pixels, int(point[0]), int(point[1]))
            if number in self._slots:
                mask = self._slots[number]
            else:
                mask = np.abs(pixels - self._colours[number]).sum(axis=2) < _TOLERANCE
            found[number] = TrackedMask(mask, 0.9 if mask.any() else 0.1)
        return found

    def _prompt(self, number: int, pixels: NDArray[np.int16], x: int, y: int) -> None:
        is_menu = bool((np.abs(pixels[32:280, 164:476] - 198).max(axis=2) < 12).mean() > 0.15)
        if y >= _HOTBAR_TOP or is_menu:
            top, left, side = (
                (_HOTBAR_TOP, _HOTBAR_LEFT, _SLOT) if y >= _HOTBAR_TOP else (_SCREEN_TOP, _SCREEN_LEFT, _CELL)
            )
            row, column = top + (y - top) // side * side, left + (x - left) // side * side
            mask = np.zeros(pixels.shape[:2], bool)
            mask[row : row + side, column : column + side] = True
            self._slots[number] = mask
            return
        # Not under the crosshair's white cross.
        self._colours[number] = np.median(pixels[y - 9 : y + 10 : 4, x - 9 : x + 10 : 4].reshape(-1, 3), axis=0)
