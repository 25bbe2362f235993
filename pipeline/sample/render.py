"""Draws a scene: sky and ground first, then boxes from far to near, then what lies on the glass.

Alongside the colours a plane of numbers is kept: which goal each pixel shows. The masks are read from it, so a mask is
exactly what can be seen of its goal.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.sample import hud, textures
from pipeline.sample.barcode import DARK, LIGHT, STRIP_HEIGHT, FrameMark, mark_bits
from pipeline.sample.country import draw_country, scenery_near
from pipeline.sample.models import Box, boxes_of
from pipeline.sample.scene import (
    EYE_HEIGHT,
    FOCAL_PX,
    VIEW_HEIGHT,
    VIEW_WIDTH,
    HotbarSlot,
    Scene,
    ScreenSlot,
    Target,
    Thing,
)
from pipeline.sample.textures import FOG_STEP_BLOCKS, NUM_FOG_LEVELS, TILE, Pixels

STRIP_ROWS = round(VIEW_HEIGHT * STRIP_HEIGHT)
GAME_ROWS = VIEW_HEIGHT - STRIP_ROWS
_NEAR = 0.12
_GLOW_RGB = {"amber": (255, 140, 0), "blue": (0, 90, 255)}
_GLOW_STRENGTH = 0.6

Mask = NDArray[np.bool_]


class Renderer:
    """Draws scenes of 320x180 px; keeps the last view of the world, for as long as nothing in it changes."""

    def __init__(self) -> None:
        self._world = np.zeros((GAME_ROWS, VIEW_WIDTH), np.uint32)
        self._goals = np.zeros((GAME_ROWS, VIEW_WIDTH), np.uint8)
        self._drawn: object = None

    def draw(self, scene: Scene, targets: Sequence[Target], mark: FrameMark) -> tuple[Pixels, list[Mask]]:
        """Return the frame, packed pixels (180, 320), and what is seen of each target, bool (180, 320)."""
        numbers = {id(target): number for number, target in enumerate(targets, 1) if isinstance(target, Thing)}
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
        for number, target in enumerate(targets, 1):
            mask = np.zeros((VIEW_HEIGHT, VIEW_WIDTH), bool)
            if isinstance(target, HotbarSlot):
                mask[hud.hotbar_rectangle(target)] = scene.screen is None
            elif isinstance(target, ScreenSlot):
                mask[hud.screen_rectangle(target)] = scene.screen is not None
            else:
                mask[:GAME_ROWS] = goals == number
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
        things = [*scenery_near(scene), *scene.things]
        for thing in sorted(things, key=scene.distance, reverse=True):
            self._draw_thing(scene, thing, numbers.get(id(thing), 0))
        if scene.glow:
            _tint(self._world, _GLOW_RGB[scene.glow], _GLOW_STRENGTH)

    def _draw_thing(self, scene: Scene, thing: Thing, number: int) -> None:
        right, ahead = scene.camera_space(thing.x, thing.z)
        if ahead < -2 or ahead > 45 or abs(right) > ahead + 6:
            return
        fog = min(int(max(ahead, 0) / FOG_STEP_BLOCKS), NUM_FOG_LEVELS)
        boxes = boxes_of(thing)
        if len(boxes) > 1:
            boxes = sorted(boxes, key=lambda box: -_depth(scene, thing, box))
        for box in boxes:
            _BoxPainter(self._world, self._goals, scene, thing, box, fog, number).paint()


def _depth(scene: Scene, thing: Thing, box: Box) -> float:
    """Return the squared distance between the eye and a box's middle."""
    east = thing.x + (box.x0 + box.x1) / 2 - scene.x
    south = thing.z + (box.z0 + box.z1) / 2 - scene.z
    up = (box.y0 + box.y1) / 2 - EYE_HEIGHT
    return east * east + south * south + up * up


class _BoxPainter:
    """Paints the up to three visible faces of one box."""

    def __init__(
        self, world: Pixels, goals: NDArray[np.uint8], scene: Scene, thing: Thing, box: Box, fog: int, number: int
    ) -> None:
        self.world, self.goals, self.scene, self.thing, self.box = world, goals, scene, thing, box
        self.fog, self.number = fog, number
        self.west, self.east = thing.x + box.x0, thing.x + box.x1
        self.north, self.south = thing.z + box.z0, thing.z + box.z1
        self.bottom, self.top = box.y0 * thing.grown, box.y1 * thing.grown

    def paint(self) -> None:
        scene, box = self.scene, self.box
        # Corners in camera space, in the order west-north, east-north, east-south, west-south.
        corners = [
            scene.camera_space(x, z)
            for x, z in (
                (self.west, self.north),
                (self.east, self.north),
                (self.east, self.south),
                (self.west, self.south),
            )
        ]
        if min(ahead for _, ahead in corners) < _NEAR:
            return
        if self.top < EYE_HEIGHT:
            self._flat(self.top, corners, box.top or box.side, 104)
        elif self.bottom > EYE_HEIGHT:
            self._flat(self.bottom, corners, box.top or box.side, 52)
        # Seen from outside, each wall runs from the right corner to the left one in this order.
        for right, left, name, shade in (
            (0, 1, box.front or box.side, 92),
            (1, 2, box.side, 72),
            (2, 3, box.side, 92),
            (3, 0, box.side, 72),
        ):
            self._wall(corners[left], corners[right], name, shade)

    def _texture(self, name: str, shade: int) -> Pixels:
        theme = self.scene.theme
        if self.thing.hurt:
            return textures.hurt_texture(name, theme, shade)
        if self.thing.crack > 0:
            return textures.cracked_texture(name, theme, shade, 1 + int(self.thing.crack * 3.99))
        if name.startswith("lamp_") and name != "lamp_off":
            shade = 105
        return textures.block_texture(name, theme, shade, self.fog)

    def _wall(self, left: tuple[float, float], right: tuple[float, float], name: str, shade: int) -> None:
        """Paint an upright face between two corners, given as (right, ahead) in camera space."""
        start = VIEW_WIDTH / 2 + FOCAL_PX * left[0] / left[1]
        stop = VIEW_WIDTH / 2 + FOCAL_PX * right[0] / right[1]
        c0, c1 = max(math.ceil(start - 0.5), 0), min(math.ceil(stop - 0.5), VIEW_WIDTH)
        if c0 >= c1:
            return  # seen from behind, or beside the view
        along = (np.arange(c0, c1, dtype=np.float32) + np.float32(0.5 - start)) / np.float32(stop - start)
        near0, near1 = 1 / left[1], 1 / right[1]
        nearness = near0 + along * np.float32(near1 - near0)
        scale = np.float32(FOCAL_PX) * nearness
        top = self.scene.horizon + scale * np.float32(EYE_HEIGHT - self.top)
        bottom = self.scene.horizon + scale * np.float32(EYE_HEIGHT - self.bottom)
        r0, r1 = max(math.ceil(float(top.min()) - 0.5), 0), min(math.ceil(float(bottom.max()) - 0.5), GAME_ROWS)
        if r0 >= r1:
            return
        texture = self._texture(name, shade)
        u = ((along * np.float32(near1)) / nearness * np.float32(TILE)).astype(np.int32)
        np.clip(u, 0, TILE - 1, out=u)
        rows = np.arange(r0, r1, dtype=np.float32)[:, None] + np.float32(0.5)
        v = (rows - top) * (np.float32(TILE) / np.maximum(bottom - top, np.float32(0.01)))
        inside = (v >= 0) & (v < TILE)
        texels = texture[np.clip(v, 0, TILE - 1).astype(np.int32), u]
        area = self.world[r0:r1, c0:c1]
        np.copyto(area, texels, where=inside)
        np.copyto(self.goals[r0:r1, c0:c1], self.number, where=inside)

    def _flat(self, height: float, corners: list[tuple[float, float]], name: str, shade: int) -> None:
        """Paint the top face from above or the bottom face from below."""
        scene = self.scene
        drop = EYE_HEIGHT - height
        columns = [VIEW_WIDTH / 2 + FOCAL_PX * right / ahead for right, ahead in corners]
        rows = [scene.horizon + FOCAL_PX * drop / ahead for _, ahead in corners]
        c0, c1 = max(math.floor(min(columns)), 0), min(math.ceil(max(columns)), VIEW_WIDTH)
        r0, r1 = max(math.floor(min(rows)), 0), min(math.ceil(max(rows)), GAME_ROWS)
        if c0 >= c1 or r0 >= r1:
            return
        offset = np.arange(r0, r1, dtype=np.float32) + np.float32(0.5 - scene.horizon)
        offset[np.abs(offset) < 0.25] = math.copysign(0.25, drop)
        ahead = (np.float32(FOCAL_PX * drop) / offset)[:, None]
        right = ahead * (
            (np.arange(c0, c1, dtype=np.float32) + np.float32(0.5 - VIEW_WIDTH / 2)) / np.float32(FOCAL_PX)
        )
        turn = math.radians(scene.yaw)
        sin, cos = np.float32(math.sin(turn)), np.float32(math.cos(turn))
        u = (np.float32(scene.x - self.west) - sin * ahead - cos * right) * np.float32(
            TILE / (self.east - self.west)
        )
        v = (np.float32(scene.z - self.north) + cos * ahead - sin * right) * np.float32(
            TILE / (self.south - self.north)
        )
        inside = (u >= 0) & (u < TILE) & (v >= 0) & (v < TILE) & (ahead > 0)
        texels = self._texture(name, shade)[
            np.clip(v, 0, TILE - 1).astype(np.int32), np.clip(u, 0, TILE - 1).astype(np.int32)
        ]
        np.copyto(self.world[r0:r1, c0:c1], texels, where=inside)
        np.copyto(self.goals[r0:r1, c0:c1], self.number, where=inside)


def draw_mark(frame: Pixels, mark: FrameMark) -> None:
    """Leave the frame's number in its strip."""
    block = np.ones((STRIP_ROWS // 2, VIEW_WIDTH // 16), np.uint32)
    level = np.where(mark_bits(mark), LIGHT, DARK).astype(np.uint32)
    frame[GAME_ROWS:] = np.kron(level * np.uint32(0x010101), block)


def _tint(canvas: Pixels, rgb: tuple[int, int, int], strength: float) -> None:
    """Blend a colour over the whole canvas, as a strong light does."""
    channels = canvas.view(np.uint8).reshape(*canvas.shape, 4)
    keep = round(256 * (1 - strength))
    add = np.array([round(strength * value) for value in rgb] + [0], np.uint16)
    channels[:] = (channels.astype(np.uint16) * keep >> 8) + add
