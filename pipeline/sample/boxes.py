"""Paints textured boxes in perspective, column by column; distant scenery as pictures of boxes painted before.

The picture shears with the pitch, so upright edges stay upright: a wall is a trapezoid whose columns each have one
distance, and a top or bottom face has one distance in each row.
"""

import functools
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.sample import textures
from pipeline.sample.models import Box, boxes_of
from pipeline.sample.scene import EYE_HEIGHT, FOCAL_PX, VIEW_WIDTH, Scene, Thing
from pipeline.sample.textures import FOG_STEP_BLOCKS, NUM_FOG_LEVELS, TILE, Pixels

_NEAR = 0.12
_SIGHT_BLOCKS = 45
_LAST_TEXEL = TILE - 1  # TILE is a power of two: `& _LAST_TEXEL` is a cheap modulo
_HALF = np.float32(0.5)
_COLUMNS = np.arange(VIEW_WIDTH, dtype=np.float32) + _HALF
_ROWS = np.arange(1024, dtype=np.float32)[:, None] + _HALF

Corner = tuple[float, float]
"""A point on the ground in camera space: (to the right, ahead), blocks."""


class BoxPainter:
    """Paints things of one scene on a canvas, far ones first; notes in a second plane which goal a pixel shows."""

    def __init__(self, canvas: Pixels, goals: NDArray[np.uint8], scene: Scene) -> None:
        self._canvas, self._goals, self._scene = canvas, goals, scene
        self._num_rows, self._num_columns = canvas.shape
        self._horizon = scene.horizon
        turn = math.radians(scene.yaw)
        self._sin, self._cos = math.sin(turn), math.cos(turn)
        self._number = 0
        self._fog = 0
        self._thing = Thing("", 0, 0)

    def thing(self, thing: Thing, number: int) -> None:
        """Paint a thing box by box; its pixels get a number in the goals' plane."""
        right, ahead = self._scene.camera_space(thing.x, thing.z)
        if ahead < -2 or ahead > _SIGHT_BLOCKS or abs(right) > ahead + 6:
            return
        self._thing, self._number = thing, number
        self._fog = min(int(max(ahead, 0) / FOG_STEP_BLOCKS), NUM_FOG_LEVELS)
        boxes = boxes_of(thing)
        if len(boxes) > 1:
            boxes = sorted(boxes, key=lambda box: -self._squared_distance(box))
        for box in boxes:
            self._box(box)

    def billboard(self, thing: Thing) -> None:
        """Paint a thing as a flat picture of itself, which is all that can be seen from afar."""
        right, ahead = self._scene.camera_space(thing.x, thing.z)
        fog = min(int(ahead / FOG_STEP_BLOCKS), NUM_FOG_LEVELS)
        pixels, opaque, half_width, height = _portrait(thing.kind, self._scene.theme, fog)
        scale = FOCAL_PX / ahead
        left = self._num_columns / 2 + (right - half_width) * scale
        bottom = self._horizon + EYE_HEIGHT * scale
        width, tall = 2 * half_width * scale, height * scale
        c0, c1 = max(round(left), 0), min(round(left + width), self._num_columns)
        r0, r1 = max(round(bottom - tall), 0), min(round(bottom), self._num_rows)
        if c0 >= c1 or r0 >= r1:
            return
        columns = ((_COLUMNS[c0:c1] - np.float32(left)) * np.float32(pixels.shape[1] / width)).astype(np.int32)
        rows = ((_ROWS[r0:r1] - np.float32(bottom - tall)) * np.float32(pixels.shape[0] / tall)).astype(np.int32)
        np.clip(columns, 0, pixels.shape[1] - 1, out=columns)
        np.clip(rows, 0, pixels.shape[0] - 1, out=rows)
        where = opaque[rows, columns]
        np.copyto(self._canvas[r0:r1, c0:c1], pixels[rows, columns], where=where)
        np.copyto(self._goals[r0:r1, c0:c1], 0, where=where)

    def _squared_distance(self, box: Box) -> float:
        """Return how far a box's middle is from the eye."""
        east = self._thing.x + (box.x0 + box.x1) / 2 - self._scene.x
        south = self._thing.z + (box.z0 + box.z1) / 2 - self._scene.z
        up = (box.y0 + box.y1) / 2 - EYE_HEIGHT
        return east * east + south * south + up * up

    def _box(self, box: Box) -> None:
        thing, scene = self._thing, self._scene
        west, east, north, south = thing.x + box.x0, thing.x + box.x1, thing.z + box.z0, thing.z + box.z1
        bottom, top = box.y0 * thing.grown, box.y1 * thing.grown
        corners = [
            scene.camera_space(x, z) for x, z in ((west, north), (east, north), (east, south), (west, south))
        ]
        if min(ahead for _, ahead in corners) < _NEAR:
            return
        if top < EYE_HEIGHT:
            self._flat(top, corners, (west, east, north, south), box.top or box.side, 104)
        elif bottom > EYE_HEIGHT:
            self._flat(bottom, corners, (west, east, north, south), box.top or box.side, 52)
        if scene.z < north:
            self._wall(corners[1], corners[0], bottom, top, box.front or box.side, 92)
        elif scene.z > south:
            self._wall(corners[3], corners[2], bottom, top, box.side, 92)
        if scene.x > east:
            self._wall(corners[2], corners[1], bottom, top, box.side, 72)
        elif scene.x < west:
            self._wall(corners[0], corners[3], bottom, top, box.side, 72)

    def _texture(self, name: str, shade: int) -> Pixels:
        theme = self._scene.theme
        if self._thing.hurt:
            return textures.hurt_texture(name, theme, shade)
        if self._thing.crack > 0:
            return textures.cracked_texture(name, theme, shade, 1 + int(self._thing.crack * 3.99))
        if name in ("lamp_amber", "lamp_blue"):
            shade = 105
        return textures.block_texture(name, theme, shade, self._fog)

    def _wall(self, left: Corner, right: Corner, bottom: float, top: float, name: str, shade: int) -> None:
        """Paint an upright face between two corners."""
        middle = self._num_columns / 2
        start, stop = middle + FOCAL_PX * left[0] / left[1], middle + FOCAL_PX * right[0] / right[1]
        c0, c1 = max(math.ceil(start - 0.5), 0), min(math.ceil(stop - 0.5), self._num_columns)
        if c0 >= c1:
            return
        along = (_COLUMNS[c0:c1] - np.float32(start)) * np.float32(1 / (stop - start))
        near0, near1 = 1 / left[1], 1 / right[1]
        nearness = along * np.float32(near1 - near0) + np.float32(near0)
        upper = nearness * np.float32(FOCAL_PX * (EYE_HEIGHT - top)) + np.float32(self._horizon)
        height = nearness * np.float32(FOCAL_PX * (top - bottom))
        r0 = max(math.ceil(min(upper[0], upper[-1]) - 0.5), 0)
        r1 = min(math.ceil(max(upper[0] + height[0], upper[-1] + height[-1]) - 0.5), self._num_rows)
        if r0 >= r1:
            return
        u = (along / nearness * np.float32(near1 * TILE)).astype(np.int32)
        u &= _LAST_TEXEL
        v = (_ROWS[r0:r1] - upper) * (np.float32(TILE) / (height + np.float32(1e-3)))
        row = np.floor(v).astype(np.int32)
        inside = (row & ~_LAST_TEXEL) == 0
        row &= _LAST_TEXEL
        self._put(r0, r1, c0, c1, self._texture(name, shade)[row, u], inside)

    def _flat(
        self, height: float, corners: list[Corner], edges: tuple[float, float, float, float], name: str, shade: int
    ) -> None:
        """Paint a top face from above or a bottom face from below; edges: west, east, north, south."""
        west, east, north, south = edges
        drop = EYE_HEIGHT - height
        columns = [self._num_columns / 2 + FOCAL_PX * right / ahead for right, ahead in corners]
        rows = [self._horizon + FOCAL_PX * drop / ahead for _, ahead in corners]
        c0, c1 = max(math.floor(min(columns)), 0), min(math.ceil(max(columns)), self._num_columns)
        r0, r1 = max(math.floor(min(rows)), 0), min(math.ceil(max(rows)), self._num_rows)
        if c0 >= c1 or r0 >= r1:
            return
        ahead = np.float32(FOCAL_PX * drop) / (_ROWS[r0:r1] - np.float32(self._horizon))
        right = ahead * ((_COLUMNS[c0:c1] - np.float32(self._num_columns / 2)) * np.float32(1 / FOCAL_PX))
        per_u, per_v = TILE / (east - west), TILE / (south - north)
        u: NDArray[Any] = ahead * np.float32(-self._sin * per_u) + np.float32((self._scene.x - west) * per_u)
        u = np.floor(u + right * np.float32(-self._cos * per_u)).astype(np.int32)
        v: NDArray[Any] = ahead * np.float32(self._cos * per_v) + np.float32((self._scene.z - north) * per_v)
        v = np.floor(v + right * np.float32(-self._sin * per_v)).astype(np.int32)
        inside = ((u | v) & ~_LAST_TEXEL) == 0
        inside &= ahead > 0
        u &= _LAST_TEXEL
        v &= _LAST_TEXEL
        self._put(r0, r1, c0, c1, self._texture(name, shade)[v, u], inside)

    def _put(self, r0: int, r1: int, c0: int, c1: int, texels: Pixels, inside: NDArray[np.bool_]) -> None:
        np.copyto(self._canvas[r0:r1, c0:c1], texels, where=inside)
        np.copyto(self._goals[r0:r1, c0:c1], self._number, where=inside)


@functools.cache
def _portrait(kind: str, theme: str, fog: int) -> tuple[Pixels, NDArray[np.bool_], float, float]:
    """Return a thing as seen from afar: pixels, where they are opaque, half its width and its height in blocks."""
    distance = 12.0
    canvas = np.zeros((180, VIEW_WIDTH), np.uint32)
    goals = np.zeros(canvas.shape, np.uint8)
    scene = Scene(theme=theme, pitch=0.0)
    painter = BoxPainter(canvas, goals, scene)
    painter._fog, painter._thing, painter._number = fog, Thing(kind, 0.0, distance), 1
    boxes = boxes_of(painter._thing)
    for box in sorted(boxes, key=lambda box: -painter._squared_distance(box)):
        painter._box(box)
    rows, columns = np.flatnonzero(goals.any(axis=1)), np.flatnonzero(goals.any(axis=0))
    half = int(max(VIEW_WIDTH / 2 - columns[0], columns[-1] + 1 - VIEW_WIDTH / 2))
    area = (slice(rows[0], rows[-1] + 1), slice(VIEW_WIDTH // 2 - half, VIEW_WIDTH // 2 + half))
    scale = distance / FOCAL_PX
    return canvas[area].copy(), goals[area] > 0, half * scale, (rows[-1] + 1 - rows[0]) * scale
