"""The land around the player: sky with hills and clouds, the ground, and the scenery beside the road."""

import functools
import math

import numpy as np

from pipeline.sample.scene import EYE_HEIGHT, FOCAL_PX, VIEW_WIDTH, Scene, Thing
from pipeline.sample.textures import THEMES, Pixels, pack

_SKY_ROWS = 220
_SKY_COLUMNS = 1440
_GROUND_X = 1024  # px: 64 blocks of 16 px, the road in the middle
_GROUND_Z = 256
_NUM_GROUND_LEVELS = 8
_GROUND_LEVEL_BLOCKS = 4.0
_CELL_BLOCKS = 7
_SCENERY_BLOCKS = 35

_COLUMN_ANGLE = np.degrees(np.arctan((np.arange(VIEW_WIDTH) + 0.5 - VIEW_WIDTH / 2) / FOCAL_PX))
_COLUMN_SLOPE = ((np.arange(VIEW_WIDTH) + 0.5 - VIEW_WIDTH / 2) / FOCAL_PX).astype(np.float32)


@functools.cache
def sky_panorama(theme: str) -> Pixels:
    """Return the whole circle above the horizon, packed pixels (220 rows, 4 columns a degree), last row lowest."""
    colours = THEMES[theme]
    rng = np.random.default_rng(len(theme))
    low, top = np.array(colours.sky_low, np.float32), np.array(colours.sky_top, np.float32)
    height = np.clip((_SKY_ROWS - np.arange(_SKY_ROWS)) / 130, 0, 1)[:, None, None]
    sky = np.broadcast_to(low * (1 - height) + top * height, (_SKY_ROWS, _SKY_COLUMNS, 3)).copy()
    for _ in range(34):
        row, column = int(rng.integers(30, 175)), int(rng.integers(0, _SKY_COLUMNS))
        for bar in range(3):
            width, shift = int(rng.integers(30, 90)), int(rng.integers(-18, 18))
            columns = np.arange(column + shift, column + shift + width) % _SKY_COLUMNS
            rows = slice(row + 4 * bar, row + 4 * bar + 4)
            sky[rows, columns] = sky[rows, columns] * 0.25 + np.array(colours.cloud, np.float32) * 0.75
    sky[70:92, 40:62] = (255, 250, 214)
    for shade, steps, tall in ((0.5, 16, 20), (0.8, 10, 13)):
        ridge = rng.integers(2, tall, _SKY_COLUMNS // steps) + 2 * np.sin(np.arange(_SKY_COLUMNS // steps) / 3)
        ridge = np.repeat(ridge.astype(int), steps)
        colour = low * (1 - shade) + np.array(colours.hills, np.float32) * shade
        hill = np.arange(_SKY_ROWS)[:, None] >= _SKY_ROWS - np.resize(ridge, _SKY_COLUMNS)
        sky[hill] = colour
    return pack(sky)


@functools.cache
def ground_map(theme: str) -> Pixels:
    """Return the ground's texture with the fog of eight distances, packed pixels, flat (level, z, x)."""
    colours = THEMES[theme]
    rng = np.random.default_rng(7)
    num_x, num_z = _GROUND_X // 16, _GROUND_Z // 16
    block = 1 + rng.uniform(-0.06, 0.06, (num_z, num_x, 1))
    ground = np.kron(block, np.ones((16, 16, 1))) * np.array(colours.grass, np.float64)
    wide = rng.integers(0, 2, num_z) + 1
    middle = np.kron(np.abs(np.arange(num_x) - num_x // 2 + 0.5) < 1 + wide[:, None] / 2, np.ones((16, 16))) > 0
    ground[middle] = np.array(colours.path, np.float64)
    pixel = rng.integers(-9, 10, (_GROUND_Z, _GROUND_X, 1))
    ground += pixel
    edges = np.ones((_GROUND_Z, _GROUND_X, 1))
    edges[::16] = edges[:, ::16] = 0.93
    ground *= edges
    tufts = rng.integers(0, (_GROUND_Z, _GROUND_X), (500, 2))
    for row, column in tufts[~middle[tufts[:, 0], tufts[:, 1]]].tolist():
        colour = ((236, 220, 90), (222, 84, 74), (238, 240, 246))[(row + column) % 3]
        ground[row : row + 2, column : column + 2] = colour
    fog = np.array(colours.sky_low, np.float64)
    levels = []
    for level in range(_NUM_GROUND_LEVELS):
        grain = min(16, 2 ** ((level + 1) // 2))
        coarse = ground.reshape(_GROUND_Z // grain, grain, _GROUND_X // grain, grain, 3).mean(axis=(1, 3))
        blend = 0.75 * level / (_NUM_GROUND_LEVELS - 1)
        levels.append(pack(np.kron(coarse, np.ones((grain, grain, 1))) * (1 - blend) + fog * blend).ravel())
    return np.concatenate(levels)


def draw_country(canvas: Pixels, scene: Scene) -> None:
    """Leave sky and ground on the whole canvas."""
    height = canvas.shape[0]
    horizon = round(scene.horizon)
    sky_end = min(max(horizon, 0), height)
    if sky_end > 0:
        columns = ((_COLUMN_ANGLE + scene.yaw) * (_SKY_COLUMNS / 360)).astype(np.int64) % _SKY_COLUMNS
        rows = np.clip(np.arange(sky_end) - horizon + _SKY_ROWS, 0, _SKY_ROWS - 1)
        np.take(sky_panorama(scene.theme)[rows], columns, axis=1, out=canvas[:sky_end], mode="clip")
    if sky_end == height:
        return
    # One row of the view is one distance; along it the ground's coordinates run linearly.
    distance = FOCAL_PX * EYE_HEIGHT / (np.arange(sky_end, height) + 0.5 - scene.horizon).astype(np.float32)
    distance = np.clip(distance, 0, 200).astype(np.float32)
    turn = math.radians(scene.yaw)
    sin, cos = math.sin(turn), math.cos(turn)
    # The offsets keep the numbers positive, so that casting rounds down.
    x0 = (scene.x - sin * distance) * 16 + (2**16 + _GROUND_X // 2)
    z0 = (scene.z + cos * distance) * 16 + 2**16
    x = (x0[:, None] + (distance * np.float32(-cos * 16))[:, None] * _COLUMN_SLOPE).astype(np.int32)
    z = (z0[:, None] + (distance * np.float32(-sin * 16))[:, None] * _COLUMN_SLOPE).astype(np.int32)
    level = np.minimum(distance / _GROUND_LEVEL_BLOCKS, _NUM_GROUND_LEVELS - 1).astype(np.int32)
    x &= _GROUND_X - 1
    z &= _GROUND_Z - 1
    z *= _GROUND_X
    z += x
    z += (level * (_GROUND_X * _GROUND_Z))[:, None]
    np.take(ground_map(scene.theme), z, out=canvas[sky_end:], mode="clip")


@functools.lru_cache(maxsize=4096)
def _cell_scenery(seed: int, theme: str, column: int, row: int) -> Thing | None:
    """Return the tree or house in a cell of the land, if any; there is none within 8 blocks of the road."""
    rng = np.random.default_rng([seed, column + 1000, row + 1000])
    x = column * _CELL_BLOCKS + rng.uniform(1.5, _CELL_BLOCKS - 1.5)
    z = row * _CELL_BLOCKS + rng.uniform(1.5, _CELL_BLOCKS - 1.5)
    chance = rng.random()
    if abs(x) < 8.5 or chance > 0.5:
        return None
    if chance < 0.05 and abs(x) > 12:
        return Thing("house", x, z)
    return Thing("pine" if theme == "taiga" else "tree", x, z)


def scenery_near(scene: Scene) -> list[Thing]:
    """Return the trees and houses in sight."""
    found: list[Thing] = []
    column, row = int(scene.x // _CELL_BLOCKS), int(scene.z // _CELL_BLOCKS)
    for thing in _scenery_around(scene.scenery_seed, scene.theme, column, row):
        right, ahead = scene.camera_space(thing.x, thing.z)
        if 1 < ahead < _SCENERY_BLOCKS and abs(right) < ahead + 3:
            found.append(thing)
    return found


@functools.lru_cache(maxsize=64)
def _scenery_around(seed: int, theme: str, column0: int, row0: int) -> list[Thing]:
    """Return all scenery within sight of any place in a cell, whatever way one looks."""
    reach = range(-_SCENERY_BLOCKS // _CELL_BLOCKS, _SCENERY_BLOCKS // _CELL_BLOCKS + 2)
    cells = (_cell_scenery(seed, theme, column0 + column, row0 + row) for column in reach for row in reach)
    return [thing for thing in cells if thing is not None]
