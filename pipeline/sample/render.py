"""Draws a scene: sky and ground first, then boxes from far to near, then what lies on the glass.

Alongside the colours a plane of numbers is kept: which goal each pixel shows. The masks are read from it, so a
mask is exactly what can be seen of its goal.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.sample import hud
from pipeline.sample.barcode import DARK, LIGHT, STRIP_HEIGHT, FrameMark, mark_bits
from pipeline.sample.boxes import BoxPainter
from pipeline.sample.country import draw_country, scenery_near
from pipeline.sample.models import SCENERY
from pipeline.sample.scene import VIEW_HEIGHT, VIEW_WIDTH, HotbarSlot, Scene, ScreenSlot, Target
from pipeline.sample.textures import Pixels

STRIP_ROWS = round(VIEW_HEIGHT * STRIP_HEIGHT)
GAME_ROWS = VIEW_HEIGHT - STRIP_ROWS
_BOXES_WITHIN = 11.0
_GLOW_RGB = {"amber": (255, 140, 0), "blue": (0, 90, 255)}
_GLOW_STRENGTH = 0.65

Mask = NDArray[np.bool_]


class Renderer:
    """Draws scenes of 320x180 px; keeps the last view of the world, for as long as nothing in it changes."""

    def __init__(self) -> None:
        self._world = np.zeros((GAME_ROWS, VIEW_WIDTH), np.uint32)
        self._goals = np.zeros((GAME_ROWS, VIEW_WIDTH), np.uint8)
        self._drawn: object = None

    def draw(self, scene: Scene, targets: Sequence[Target], mark: FrameMark) -> tuple[Pixels, list[Mask]]:
        """Return the frame, packed pixels (180, 320), and what is seen of each target, bool (180, 320)."""
        numbers: dict[int, int] = {}
        for target in targets:
            numbers.setdefault(id(target), len(numbers) + 1)  # several interactions may have the same target
        self._draw_world(scene, numbers)
        frame = np.empty((VIEW_HEIGHT, VIEW_WIDTH), np.uint32)
        frame[:GAME_ROWS] = self._world
        goals = self._goals.copy()
        if scene.screen is None:
            hud.draw_hand(frame[:GAME_ROWS], goals, scene)
            hud.draw_crosshair(frame[:GAME_ROWS])
        hud.draw_hotbar(frame[:GAME_ROWS], goals, scene)
        if scene.screen is not None:
            hud.draw_screen(frame[:GAME_ROWS], goals, scene.screen)
        draw_mark(frame, mark)
        masks = []
        for target in targets:
            mask = np.zeros((VIEW_HEIGHT, VIEW_WIDTH), bool)
            if isinstance(target, HotbarSlot):
                mask[hud.hotbar_rectangle(target)] = scene.screen is None
            elif isinstance(target, ScreenSlot):
                mask[hud.screen_rectangle(target)] = scene.screen is not None
            else:
                mask[:GAME_ROWS] = goals == numbers[id(target)]
            masks.append(mask)
        return frame, masks

    def _draw_world(self, scene: Scene, numbers: dict[int, int]) -> None:
        look = [(t.kind, t.x, t.z, t.grown, t.state, t.crack, t.hurt, numbers.get(id(t), 0)) for t in scene.things]
        state = (scene.theme, scene.scenery_seed, scene.x, scene.z, scene.yaw, scene.pitch, scene.glow, look)
        if state == self._drawn:
            return
        self._drawn = state
        self._goals[:] = 0
        draw_country(self._world, scene)
        painter = BoxPainter(self._world, self._goals, scene)
        things = [(scene.distance(thing), thing) for thing in scene.things]
        scenery = [(scene.distance(thing), thing) for thing in scenery_near(scene)]
        for distance, thing in sorted(things + scenery, key=lambda pair: -pair[0]):
            if thing.kind in SCENERY and distance > _BOXES_WITHIN:
                painter.billboard(thing)
            else:
                painter.thing(thing, numbers.get(id(thing), 0))
        if scene.glow:
            _tint(self._world, _GLOW_RGB[scene.glow], _GLOW_STRENGTH)


def draw_mark(frame: Pixels, mark: FrameMark) -> None:
    """Leave the frame's number in its strip."""
    grey = np.where(mark_bits(mark), LIGHT, DARK).astype(np.uint32) * np.uint32(0x010101)
    frame[GAME_ROWS:] = np.repeat(np.repeat(grey, VIEW_WIDTH // 16, axis=1), STRIP_ROWS // 2, axis=0)


def _tint(canvas: Pixels, rgb: tuple[int, int, int], strength: float) -> None:
    """Blend a colour over the whole canvas, as a strong light does."""
    channels = canvas.view(np.uint8).reshape(*canvas.shape, 4)
    keep = round(256 * (1 - strength))
    add = np.array([round(strength * value) for value in rgb] + [0], np.uint16)
    channels[:] = (channels.astype(np.uint16) * keep >> 8) + add
