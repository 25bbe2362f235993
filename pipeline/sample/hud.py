"""What lies on the glass: hotbar, hearts, crosshair, the held item, and the screens of chests and crafting.

The mouse cursor is not drawn: it belongs to the operating system, so the contractors' videos do not show it
either.
"""

import functools

import numpy as np
from numpy.typing import NDArray

from pipeline.sample.scene import VIEW_HEIGHT, VIEW_WIDTH, HotbarSlot, Scene, Screen, ScreenSlot
from pipeline.sample.textures import ITEM_SIZE, Pixels, item_sprite

_SLOT = 15
_HOTBAR_LEFT = (VIEW_WIDTH - 9 * _SLOT) // 2
_HOTBAR_TOP = 150
_PANEL_LEFT, _PANEL_TOP, _PANEL_WIDTH, _PANEL_HEIGHT = 80, 14, 160, 132
_CELL = 16

Rectangle = tuple[slice, slice]
Goals = NDArray[np.uint8]


def _grey(level: int) -> np.uint32:
    return np.uint32(level * 0x010101)


def hotbar_rectangle(slot: HotbarSlot) -> Rectangle:
    """Return the rows and columns of a hotbar slot in the view."""
    left = _HOTBAR_LEFT + slot.index * _SLOT
    return slice(_HOTBAR_TOP, _HOTBAR_TOP + _SLOT), slice(left, left + _SLOT)


def screen_rectangle(slot: ScreenSlot) -> Rectangle:
    """Return the rows and columns of a screen's slot in the view; nine columns, rows 0..2 are the upper part."""
    left = _PANEL_LEFT + 8 + slot.column * _CELL
    top = _PANEL_TOP + 10 + slot.row * _CELL + (14 if slot.row > 2 else 0)
    return slice(top, top + _CELL), slice(left, left + _CELL)


def screen_centre_px(slot: ScreenSlot) -> tuple[float, float]:
    """Return a slot's middle as (x, y) in the contractors' window of 1280x720."""
    rows, columns = screen_rectangle(slot)
    return (columns.start + columns.stop) / 2 * 1280 / VIEW_WIDTH, (rows.start + rows.stop) / 2 * 720 / VIEW_HEIGHT


def _stamp(canvas: Pixels, sprite: tuple[Pixels, NDArray[np.bool_]], row: int, column: int) -> None:
    """Copy a sprite, cut at the canvas's lower and right edge."""
    pixels, opaque = sprite
    height, width = min(pixels.shape[0], canvas.shape[0] - row), min(pixels.shape[1], canvas.shape[1] - column)
    if height > 0 and width > 0:
        area = canvas[row : row + height, column : column + width]
        np.copyto(area, pixels[:height, :width], where=opaque[:height, :width])


def draw_hotbar(canvas: Pixels, goals: Goals, scene: Scene) -> None:
    """Leave hearts and the nine slots; the selected one is framed in white."""
    right = _HOTBAR_LEFT + 9 * _SLOT
    bar = (slice(_HOTBAR_TOP, _HOTBAR_TOP + _SLOT), slice(_HOTBAR_LEFT, right))
    canvas[bar] = _hotbar_picture(tuple(scene.hotbar), scene.slot)
    goals[bar] = 0
    hearts = slice(_HOTBAR_LEFT, _HOTBAR_LEFT + _HEARTS.shape[1])
    np.copyto(canvas[_HOTBAR_TOP - 8 : _HOTBAR_TOP - 2, hearts], np.uint32(0x2A2ECE), where=_HEARTS)


_HEART = np.array(
    [[c == "#" for c in line] for line in (".##.##.", "#######", "#######", ".#####.", "..###..", "...#...")]
)
_HEARTS = np.tile(np.pad(_HEART, ((0, 0), (0, 1))), (1, 8))


@functools.cache
def _hotbar_picture(items: tuple[str, ...], selected: int) -> Pixels:
    bar = np.full((_SLOT, 9 * _SLOT), _grey(70), np.uint32)
    for index in range(9):
        cell = bar[:, index * _SLOT : (index + 1) * _SLOT]
        cell[1:-1, 1:-1] = _grey(118)
        if index < len(items) and items[index]:
            _stamp(cell, item_sprite(items[index]), 4, 4)
        if index == selected:
            cell[:2] = cell[-2:] = cell[:, :2] = cell[:, -2:] = _grey(250)
    return bar


def draw_hand(canvas: Pixels, goals: Goals, scene: Scene) -> None:
    """Leave the held item at the lower right, moved while the arm swings."""
    item = scene.hotbar[scene.slot] if scene.slot < len(scene.hotbar) else ""
    shift = (0, 6, 12, 6)[scene.swing % 4]
    row, column = 96 + shift, 252 - 2 * shift
    if item:
        sprite = item_sprite(item, 7)
        _stamp(canvas, sprite, row, column)
        size = ITEM_SIZE * 7
        area = goals[row : row + size, column : column + size]
        area[sprite[1][: area.shape[0], : area.shape[1]]] = 0
    else:
        canvas[row + 20 :, column + 28 : column + 54] = np.uint32(0x7896C8)
        goals[row + 20 :, column + 28 : column + 54] = 0


def draw_crosshair(canvas: Pixels) -> None:
    """Leave a small cross in the middle of the view."""
    row, column = VIEW_HEIGHT // 2, VIEW_WIDTH // 2
    canvas[row, column - 3 : column + 4] = _grey(236)
    canvas[row - 3 : row + 4, column] = _grey(236)


def draw_screen(canvas: Pixels, goals: Goals, screen: Screen) -> None:
    """Darken the world and leave the screen's panel with its slots."""
    canvas[:] = canvas >> 1 & np.uint32(0x7F7F7F)
    goals[:] = 0
    panel = canvas[_PANEL_TOP : _PANEL_TOP + _PANEL_HEIGHT, _PANEL_LEFT : _PANEL_LEFT + _PANEL_WIDTH]
    panel[:] = _screen_picture(screen.kind)
    for slot, item in screen.items.items():
        rows, columns = screen_rectangle(slot)
        _stamp(canvas, item_sprite(item), rows.start + 4, columns.start + 4)


_UPPER_SLOTS = {
    "chest": {(column, row) for column in range(9) for row in range(3)},
    "crafting": {(column, row) for column in (1, 2, 3) for row in range(3)} | {(6, 1)},
    "inventory": {(5, 0), (6, 0), (5, 1), (6, 1), (8, 0)},
}


@functools.cache
def _screen_picture(kind: str) -> Pixels:
    panel = np.full((_PANEL_HEIGHT, _PANEL_WIDTH), _grey(198), np.uint32)
    panel[:2] = panel[:, :2] = _grey(252)
    panel[-2:] = panel[:, -2:] = _grey(86)
    for row in range(6):
        for column in range(9):
            if row < 3 and (column, row) not in _UPPER_SLOTS[kind]:
                continue
            rows, columns = screen_rectangle(ScreenSlot(column, row))
            cell = panel[
                rows.start - _PANEL_TOP : rows.stop - _PANEL_TOP,
                columns.start - _PANEL_LEFT : columns.stop - _PANEL_LEFT,
            ]
            cell[:] = _grey(139)
            cell[0] = cell[:, 0] = _grey(56)
            cell[-1] = cell[:, -1] = _grey(240)
    if kind == "crafting":
        panel[32:36, 78:92] = _grey(110)
    elif kind == "inventory":
        panel[8:60, 10:70] = _grey(20)
        panel[14:24, 34:46] = np.uint32(0x7896C8)
        panel[24:42, 32:48] = np.uint32(0xB0A040)
        panel[42:58, 33:47] = np.uint32(0x90443C)
    return panel
