"""A plain tracker for the sample game: an object is a connected region in the colours of its kind.

It knows the game's textures and where its slots are, as whoever played it for a minute does; of a video it sees
frames and prompts, and nothing of the truth. It works on the pixels that the game draws: every second one of the
video's, either way.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.sample import hud
from pipeline.sample.country import ground_map, sky_panorama
from pipeline.sample.models import SCENERY, boxes_of
from pipeline.sample.render import _GLOW_RGB, _GLOW_STRENGTH, GAME_ROWS
from pipeline.sample.scene import VIEW_HEIGHT, VIEW_WIDTH, HotbarSlot, ScreenSlot, Thing
from pipeline.sample.story import HOTBAR
from pipeline.sample.textures import THEMES, block_texture, cracked_texture, hurt_texture, item_sprite, unpack
from pipeline.segment.tracker import Point, TrackedMask

Mask = NDArray[np.bool_]
Picture = NDArray[np.float32]
Codes = NDArray[np.int64]

_CUBES = ("stone", "oak_log", "chest", "crafting_table")
_ANIMALS = ("pig", "cow", "sheep")
_KINDS = (*_CUBES, *_ANIMALS, "wheat", "lamp", "bell")
_STATES = {"wheat": ("", "ripe"), "lamp": ("", "amber", "blue")}
_ORES = ("coal_ore", "iron_ore", "diamond_ore")
_SHADES = (72, 92, 104)

_LEAST_OVERLAP = {"stone": 0.75, "oak_log": 0.85, "chest": 0.75, "crafting_table": 0.75}
"""Of a region with the place where the object is expected: less and it is hidden, or runs into something else."""

_LIKE_OTHERS = (*_CUBES, "wheat")
"""In colours that the land and other objects have, too."""

_LEVELS = 32  # of a colour's channel
_TOLERANCE = 24
_REACH = 16  # view px around the place where an object is expected
_FAR = 40  # the same, where it was not found there
_GROWTH = 4  # view px by which an object may reach beyond that place

_HEARTS_TOP = 140  # view row
_HUD = np.zeros((VIEW_HEIGHT, VIEW_WIDTH), bool)
_HUD[GAME_ROWS:] = True
for _slot in range(9):
    _HUD[hud.hotbar_rectangle(HotbarSlot(_slot))] = True


class Look(NamedTuple):
    """How far each quantised colour is from those of the land, and from those of each kind of object."""

    land: NDArray[np.float32]
    kinds: dict[str, NDArray[np.float32]]


@functools.cache
def _look(theme: str) -> Look:
    land = [ground_map(theme), sky_panorama(theme)]
    land += [block_texture(n, theme, s, fog) for n in _textures(SCENERY) for s in _SHADES for fog in range(5)]
    kinds = {}
    for kind in _KINDS:
        if kind == "lamp":  # of its stand's colours there is much around
            kinds[kind] = _distances([block_texture(f"lamp_{s}", theme, 105, 0) for s in ("amber", "blue")])
            continue
        names = _textures((kind, *_ORES) if kind == "stone" else (kind,))
        tiles = [block_texture(name, theme, shade, 0) for name in names for shade in _SHADES]
        if kind in ("stone", "oak_log"):
            tiles += [cracked_texture(name, theme, shade, 4) for name in names for shade in _SHADES]
        if kind in _ANIMALS:
            tiles += [hurt_texture(name, theme, shade) for name in names for shade in _SHADES]
        kinds[kind] = _distances(tiles)
    kinds["lamp_off"] = _distances([block_texture("lamp_off", theme, shade, 0) for shade in _SHADES])
    return Look(_distances(land), kinds)


def _textures(kinds: Iterable[str]) -> list[str]:
    things = [Thing(kind, 0, 0, state=state) for kind in kinds for state in _STATES.get(kind, ("",))]
    return sorted({n for t in things for box in boxes_of(t) for n in (box.side, box.front, box.top) if n})


def _distances(pictures: Sequence[NDArray[np.uint32]]) -> NDArray[np.float32]:
    """How far each quantised colour is from the nearest one of the pictures."""
    used = np.unique(np.concatenate([_codes(unpack(picture)).ravel() for picture in pictures]))
    grid = np.indices((_LEVELS,) * 3).reshape(3, -1).T.astype(np.float32) * (256 / _LEVELS)
    nearest = np.full(len(grid), np.inf, np.float32)
    for colour in grid[used]:
        np.minimum(nearest, ((grid - colour) ** 2).sum(axis=1), out=nearest)
    return np.sqrt(nearest)


def _codes(picture: Picture) -> Codes:
    levels = np.clip(picture, 0, 255).astype(np.int64) * _LEVELS // 256
    return (levels[..., 0] * _LEVELS + levels[..., 1]) * _LEVELS + levels[..., 2]


class PaletteTracker:
    def __init__(self, model: str = "", device: str = "cpu") -> None:
        del model, device

    def start(self) -> PaletteSession:
        return PaletteSession()


class PaletteSession:
    def __init__(self) -> None:
        self._look: Look | None = None
        self._last: Picture | None = None
        self._hidden = _HUD
        self._slots: dict[int, Mask] = {}
        self._kinds: dict[int, str] = {}
        self._shapes: dict[int, Mask] = {}
        """Of each object when it was last seen, with what was hidden of it."""

    def step(self, frame: NDArray[np.uint8], objects: Mapping[int, Point | None]) -> Mapping[int, TrackedMask]:
        view = _halved(frame)
        self._hidden = _HUD | _hand(view)
        view = _without_glow(view)
        codes = _codes(view)
        if self._look is None:
            self._look = _look(min(THEMES, key=lambda theme: float(_look(theme).land[codes[:GAME_ROWS]].mean())))
        turn = (0, 0) if self._last is None else _turn(self._last, view)
        self._last = view
        found = {}
        for number, point in objects.items():
            if point is not None:
                self._prompt(number, view, codes, int(point[0]) // 2, int(point[1]) // 2)
            if number in self._slots:
                mask = self._slots[number]
            elif point is not None:
                mask = self._under_crosshair(number, codes)
            else:
                mask = self._again(number, codes, turn)
            found[number] = TrackedMask(mask.repeat(2, axis=0).repeat(2, axis=1), 0.9 if mask.any() else 0.1)
        return found

    def _prompt(self, number: int, view: Picture, codes: Codes, x: int, y: int) -> None:
        """It is known what the object is."""
        is_menu = bool((np.abs(view[16:140, 82:238] - 198).max(axis=2) < 12).mean() > 0.15)
        slots = [hud.hotbar_rectangle(HotbarSlot(index)) for index in range(9)]
        if is_menu:
            slots = [hud.screen_rectangle(ScreenSlot(column, row)) for column in range(9) for row in range(6)]
        for rows, columns in slots:
            if rows.start <= y < rows.stop and columns.start <= x < columns.stop:
                self._slots[number] = np.zeros(codes.shape, bool)
                self._slots[number][rows, columns] = True
                return
        assert self._look is not None
        near, kinds = codes[y - 16 : y + 17, x - 16 : x + 17], self._look.kinds
        self._kinds[number] = min(_KINDS, key=lambda kind: float(np.minimum(kinds[kind][near], 40).mean()))

    def _under_crosshair(self, number: int, codes: Codes) -> Mask:
        here = self._colours(number, codes, (slice(0, GAME_ROWS), slice(0, VIEW_WIDTH)))
        row, column = VIEW_HEIGHT // 2, VIEW_WIDTH // 2
        middle = (slice(row - 4, row + 5), slice(column - 4, column + 5))
        parts = [part for part in _components(here) if part[middle].any()]
        mask = np.zeros(codes.shape, bool)
        if parts:
            mask[:GAME_ROWS] = _solid(max(parts, key=lambda part: int(part[middle].sum())), self._kinds[number])
        self._shapes[number] = mask
        return mask & ~self._hidden

    def _again(self, number: int, codes: Codes, turn: tuple[int, int]) -> Mask:
        kind = self._kinds[number]
        expected = _moved(self._shapes[number], *turn)
        seen, whole = np.zeros_like(expected), expected
        if expected.any():
            area = _around(expected)
            shape = expected[area]
            here = self._colours(number, codes, area)
            if kind in _LIKE_OTHERS:
                here &= _neighbours(shape, _GROWTH) > 0
            parts = _components(here)
            overlaps = [float((part & shape).sum()) / float((part | shape).sum()) for part in parts]
            if max(overlaps, default=0) > _LEAST_OVERLAP.get(kind, 0.15):
                visible = shape = _solid(parts[int(np.argmax(overlaps))], kind)
            else:  # partly hidden, or beside something in the same colours
                shape = _fitted(shape, here)
                visible = _solid(here & shape, kind)
            if visible.sum() < 0.3 * shape.sum() and kind not in _LIKE_OTHERS:
                # What is passed closely leaves the picture in great steps.
                elsewhere = self._elsewhere(number, codes, expected)
                if elsewhere[1].sum() > 2 * visible.sum():
                    area, shape = elsewhere
                    visible = shape
            if visible.sum() >= 0.05 * shape.sum():
                seen[area] = visible
            whole = np.zeros_like(expected)
            whole[area] = shape
        self._shapes[number] = whole
        return seen & ~self._hidden

    def _elsewhere(self, number: int, codes: Codes, expected: Mask) -> tuple[tuple[slice, slice], Mask]:
        """The nearest region in the object's colours, within reach of the place where it is expected."""
        area = _around(expected, _FAR)
        shape, here = expected[area], self._colours(number, codes, area)
        middle = np.argwhere(shape).mean(axis=0)
        parts = [part for part in _components(here) if part.sum() >= 0.1 * shape.sum()]
        if not parts:
            return area, np.zeros_like(shape)
        nearest = min(parts, key=lambda part: float(np.hypot(*(np.argwhere(part).mean(axis=0) - middle))))
        return area, _solid(nearest, self._kinds[number])

    def _colours(self, number: int, codes: Codes, area: tuple[slice, slice]) -> Mask:
        assert self._look is not None
        like, unlike = self._look.kinds[self._kinds[number]][codes[area]], self._look.land[codes[area]]
        kind = self._kinds[number]
        for other in ("bell", "lamp_off"):
            if kind not in (other, "oak_log", "lamp"):
                unlike = np.minimum(unlike, self._look.kinds[other][codes[area]])
        unlike = unlike + {"lamp": -4, "oak_log": 6}.get(kind, 0)
        return _voted((like < _TOLERANCE) & (like <= unlike) & ~self._hidden[area])


def _halved(frame: NDArray[np.uint8]) -> Picture:
    """The view in single pixels."""
    a, b, c, d = (frame[i::2, j::2].astype(np.float32) for i in (0, 1) for j in (0, 1))
    return (a + b + c + d) / 4


@functools.cache
def _held_items() -> list[tuple[tuple[slice, slice], Picture, Mask]]:
    """Where the game draws what is in the hand, how it looks there, and which pixels it has."""
    held = []
    for item, shift in product((item for item in HOTBAR if item), (0, 6, 12)):
        pixels, opaque = item_sprite(item, 7)
        row, column = 96 + shift, 252 - 2 * shift
        height, width = min(pixels.shape[0], GAME_ROWS - row), min(pixels.shape[1], VIEW_WIDTH - column)
        area = slice(row, row + height), slice(column, column + width)
        held.append((area, unpack(pixels[:height, :width]), opaque[:height, :width]))
    return held


def _hand(view: Picture) -> Mask:
    """Where the item in the hand hides the world."""
    mask = np.zeros(view.shape[:2], bool)
    best = 0.6
    for area, looks, opaque in _held_items():
        alike = float((np.abs(view[area] - looks).max(axis=2) < 40)[opaque].mean())
        if alike > best:
            best = alike
            mask[:] = False
            mask[area] = opaque
    return mask


def _without_glow(view: Picture) -> Picture:
    """The view as it would be without a lit lamp."""
    dark = np.percentile(view[:140:4, ::4].reshape(-1, 3), 2, axis=0)
    for rgb in _GLOW_RGB.values():
        light = np.array(rgb, np.float32) * _GLOW_STRENGTH
        if (dark > light - 10).all():
            view = np.clip((view - light) / (1 - _GLOW_STRENGTH), 0, 255)
    return view


def _turn(last: Picture, now: Picture) -> tuple[int, int]:
    """How far the picture moved from `last` to `now`: (down, right) view px, even numbers."""
    middle, reaches = (0, 0), ((6, 10), (1, 1))
    for scale, (down_reach, right_reach) in zip((4, 2), reaches, strict=True):
        a, b = (
            picture[:140, :, 1].reshape(140 // scale, scale, VIEW_WIDTH // scale, scale).mean(axis=(1, 3))
            for picture in (last, now)
        )
        costs = {}
        for down in range(middle[0] - down_reach, middle[0] + down_reach + 1):
            for right in range(middle[1] - right_reach, middle[1] + right_reach + 1):
                apart = np.abs(_cut(a, -down, -right) - _cut(b, down, right))
                costs[down, right] = float(np.minimum(apart, 40).mean()) + 0.05 * (abs(down) + abs(right))
        best = min(costs, key=costs.__getitem__)
        middle = (2 * best[0], 2 * best[1])
    return middle


def _cut(picture: Picture, down: int, right: int) -> Picture:
    height, width = picture.shape
    return picture[max(down, 0) : height + min(down, 0), max(right, 0) : width + min(right, 0)]


def _moved(mask: Mask, down: int, right: int) -> Mask:
    moved = np.zeros_like(mask)
    height, width = mask.shape
    moved[max(down, 0) : height + min(down, 0), max(right, 0) : width + min(right, 0)] = _cut(mask, -down, -right)
    return moved


def _around(mask: Mask, reach: int = _REACH) -> tuple[slice, slice]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return (
        slice(max(int(rows[0]) - reach, 0), int(rows[-1]) + reach + 1),
        slice(max(int(columns[0]) - reach, 0), int(columns[-1]) + reach + 1),
    )


def _fitted(shape: Mask, here: Mask) -> Mask:
    """The shape, moved and scaled a little so that it covers much of `here` and little else."""
    height, width = shape.shape
    rows, columns = np.nonzero(shape)
    middle = rows.mean(), columns.mean()
    best, found = -np.inf, shape
    for scale in (0.92, 0.96, 1.0, 1.04):
        r = np.rint(middle[0] + (np.arange(height) - middle[0]) / scale).astype(int)
        c = np.rint(middle[1] + (np.arange(width) - middle[1]) / scale).astype(int)
        scaled = shape[np.clip(r, 0, height - 1)[:, None], np.clip(c, 0, width - 1)]
        for down in range(-4, 5, 2):
            for right in range(-4, 5, 2):
                moved = _moved(scaled, down, right)
                inside, cost = float((moved & here).sum()), 1 + 0.01 * (abs(down) + abs(right))
                score = 2 * inside - cost * float(moved.sum())
                if score > best:
                    best, found = score, moved
    return found


def _neighbours(mask: Mask, reach: int = 1) -> NDArray[np.int16]:
    """How many pixels of the square around each are set."""
    padded = np.pad(mask.astype(np.int16), reach)
    size = 2 * reach + 1
    rows = np.sum([padded[i : i + mask.shape[0]] for i in range(size)], axis=0, dtype=np.int16)
    return np.sum([rows[:, i : i + mask.shape[1]] for i in range(size)], axis=0, dtype=np.int16)


def _voted(mask: Mask) -> Mask:
    return _neighbours(mask) >= 5


def _closed(mask: Mask) -> Mask:
    return _neighbours(_neighbours(mask, 2) > 0, 2) == 25


def _solid(mask: Mask, kind: str) -> Mask:
    """Without holes; a cube has no notches either, and under a bell's beam there are posts and gold alone."""
    if kind not in (*_CUBES, "lamp", "bell"):
        return _voted(mask | _closed(mask))
    for axis in (0,) if kind == "bell" else (1, 0):
        from_end = np.flip(np.logical_or.accumulate(np.flip(mask, axis), axis), axis)
        mask = np.logical_or.accumulate(mask, axis) & from_end
    return _with_stand(mask) if kind == "lamp" else mask


def _with_stand(glass: Mask) -> Mask:
    """A lamp whose glass this is: with the lid above it, the pole and the foot below."""
    mask = glass.copy()
    rows, columns = np.flatnonzero(glass.sum(axis=1) > 3), np.flatnonzero(glass.sum(axis=0) > 3)
    if rows.size and columns.size:
        top, bottom, middle, wide = int(rows[0]), int(rows[-1]) + 1, int(columns.mean()), columns.size / 2
        if bottom > _HEARTS_TOP:  # hearts and hotbar hide its lower edge
            mask[:bottom, columns] |= np.logical_or.accumulate(glass[:bottom, columns], axis=0)
        block = max((bottom - top) / 0.8, 2 * wide)
        for start, stop, half in (
            (top - 0.11 * block, top + 0.04 * block, 1.12 * wide),
            (bottom - 0.06 * block, bottom + 0.5 * block, 0.25 * wide),
            (bottom + 0.1 * block, bottom + 0.9 * block, 0.72 * wide),
        ):
            mask[max(round(start), 0) : round(stop), max(round(middle - half), 0) : round(middle + half)] = True
    return mask


def _components(mask: Mask) -> list[Mask]:
    """Its connected parts, row by row: runs of pixels that touch a run above belong together."""
    parent: list[int] = []
    runs: list[tuple[int, int, int]] = []

    def root(number: int) -> int:
        while parent[number] != number:
            number = parent[number]
        return number

    above: list[int] = []
    for row in range(mask.shape[0]):
        edges = np.flatnonzero(np.diff(np.concatenate(([0], mask[row].astype(np.int8), [0])))).tolist()
        current = []
        for start, stop in zip(edges[::2], edges[1::2], strict=True):
            number = len(runs)
            runs.append((row, start, stop))
            parent.append(number)
            for other in above:
                if runs[other][1] <= stop and start <= runs[other][2]:
                    parent[root(other)] = root(number)
            current.append(number)
        above = current
    parts: dict[int, Mask] = {}
    for number, (row, start, stop) in enumerate(runs):
        parts.setdefault(root(number), np.zeros_like(mask))[row, start:stop] = True
    return list(parts.values())
