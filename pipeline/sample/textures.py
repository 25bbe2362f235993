"""Procedural 16x16 block textures, items as 8x8 sprites, and themes; all colours of the game live here.

Pixels are packed as little-endian 0x00BBGGRR in uint32 (ffmpeg's rgb0), so that drawing moves one number a pixel.
"""

import functools
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Rgb = tuple[int, int, int]
Pixels = NDArray[np.uint32]

TILE = 16
NUM_FOG_LEVELS = 6
FOG_STEP_BLOCKS = 7.0


@dataclass(frozen=True)
class Theme:
    """The colours of one kind of country and weather."""

    grass: Rgb
    path: Rgb
    leaves: Rgb
    sky_top: Rgb
    sky_low: Rgb
    hills: Rgb
    cloud: Rgb


def _theme(colours: str) -> Theme:
    """The theme of seven colours as rrggbb, in the order of its fields."""
    red_green_blue = [tuple(bytes.fromhex(colour)) for colour in colours.split()]
    return Theme(*red_green_blue)  # type: ignore[arg-type]


THEMES = {
    "plains": _theme("6a9e40 977c50 3a7026 70a2f2 bad4f6 5e8868 fafcff"),
    "autumn": _theme("8c943e 927046 b26824 86a8e2 dadce2 8e7c58 f6f4f0"),
    "taiga": _theme("dee8ee 9e9692 385c4a 8caad0 d6e2ec 9cb2be f0f4f8"),
    "savanna": _theme("a8a052 b08e58 768030 7ab4e8 dee2d6 968a5a fcfaf4"),
}

# base colour, spread of the noise, (colour of the speckles, how many)
_PLAIN: dict[str, tuple[Rgb, int, tuple[Rgb, int] | None]] = {
    "stone": ((126, 126, 128), 12, None),
    "dirt": ((134, 96, 66), 14, None),
    "coal_ore": ((126, 126, 128), 10, ((34, 34, 36), 9)),
    "iron_ore": ((126, 126, 128), 10, ((216, 172, 142), 9)),
    "diamond_ore": ((126, 126, 128), 10, ((92, 226, 222), 9)),
    "gold": ((240, 196, 58), 12, None),
    "gold_dark": ((190, 140, 34), 10, None),
    "wool": ((236, 236, 232), 8, None),
    "skin": ((214, 176, 150), 6, None),
    "pig": ((236, 160, 158), 7, None),
    "cow": ((82, 62, 50), 8, ((226, 222, 216), 7)),
    "hoof": ((64, 54, 48), 5, None),
    "leaves": ((58, 112, 38), 26, None),
    "wheat": ((206, 180, 72), 24, None),
    "sprout": ((92, 164, 50), 24, None),
    "farmland": ((92, 62, 38), 10, None),
    "iron": ((206, 208, 212), 6, None),
    "banner": ((150, 62, 160), 8, None),
    "lamp_off": ((112, 112, 120), 8, ((78, 78, 86), 8)),
    "lamp_amber": ((255, 168, 40), 6, ((255, 224, 130), 10)),
    "lamp_blue": ((40, 120, 255), 6, ((150, 200, 255), 10)),
}


def pack(rgb: NDArray[np.integer] | NDArray[np.floating]) -> Pixels:
    """Return (..., 3) channel values as packed pixels (...)."""
    channels = np.clip(rgb, 0, 255).astype(np.uint32)
    packed: Pixels = channels[..., 0] | channels[..., 1] << 8 | channels[..., 2] << 16
    return packed


def unpack(pixels: Pixels) -> NDArray[np.float32]:
    """Return packed pixels (...) as float channel values (..., 3)."""
    return np.stack([pixels & 255, pixels >> 8 & 255, pixels >> 16 & 255], axis=-1).astype(np.float32)


def _noise(name: str) -> np.random.Generator:
    """Return the same generator for the same texture on every machine."""
    return np.random.default_rng(zlib.crc32(name.encode()))


def _speckled(name: str, base: Rgb, spread: int, speckles: tuple[Rgb, int] | None) -> NDArray[np.float32]:
    rng = _noise(name)
    tile = np.array(base, np.float32) + rng.integers(-spread, spread + 1, (TILE, TILE, 1)).astype(np.float32)
    if speckles is not None:
        colour, count = speckles
        for row, column in rng.integers(1, TILE - 2, (count, 2)).tolist():
            tile[row : row + 2, column : column + 2] = colour
    return tile


def _planks(seams: int, base: Rgb) -> NDArray[np.float32]:
    tile = _speckled("planks", base, 8, None)
    tile[seams - 1 :: seams] *= 0.72
    for band in range(TILE // seams):
        tile[band * seams : (band + 1) * seams, (band * 7 + 3) % TILE] *= 0.8
    return tile


def _special(name: str) -> NDArray[np.float32]:
    """Return the textures that are more than noise."""
    if name == "log":
        tile = _speckled(name, (104, 82, 50), 8, None)
        tile[:, ::4] *= 0.75
        tile[:, 2::5] *= 0.9
    elif name == "log_top":
        rows, columns = np.indices((TILE, TILE))
        ring = np.maximum(abs(rows - 7.5), abs(columns - 7.5)).astype(int)
        tile = np.where((ring % 3 == 2)[..., None], (120, 94, 56), (178, 144, 92)).astype(np.float32)
    elif name == "planks":
        tile = _planks(4, (170, 134, 82))
    elif name in ("chest", "chest_front"):
        tile = _planks(8, (164, 112, 44))
        tile[[0, 5, 15]] = tile[:, [0, 15]] = (60, 42, 20)
        if name == "chest_front":
            tile[4:8, 7:9] = (196, 200, 204)
    elif name in ("table", "table_top"):
        tile = _planks(4, (160, 116, 66))
        tile[[0, 15]] = tile[:, [0, 15]] = (86, 58, 30)
        if name == "table_top":
            tile[[5, 10]] = tile[:, [5, 10]] = (98, 68, 36)
        else:
            tile[4:11, 3:5] = tile[3:5, 8:13] = tile[5:11, 10] = (120, 124, 128)
    elif name in ("pig_face", "cow_face", "wool_face"):
        tile = _special({"pig_face": "pig", "cow_face": "cow", "wool_face": "skin"}[name])
        tile[5:8, 1:4] = tile[5:8, 12:15] = (248, 248, 248)
        tile[5:8, 3:5] = tile[5:8, 11:13] = (30, 28, 30)
        tile[9:13, 5:11] = {"pig_face": (244, 190, 184), "cow_face": (224, 200, 188)}.get(name, (186, 140, 120))
        tile[10:12, 6:7] = tile[10:12, 9:10] = (120, 70, 66)
    elif name == "bell":
        tile = _speckled("gold", (240, 196, 58), 10, None)
        tile[[0, 12]] = (176, 128, 30)
        tile[:, 3:5] = (255, 236, 150)
    else:
        tile = _speckled(name, *_PLAIN[name])
    return tile


@functools.cache
def block_texture(name: str, theme: str, shade: int, fog: int) -> Pixels:
    """Return a (16, 16) texture as it looks in a theme, at a brightness in percent and a fog level."""
    colours = THEMES[theme]
    if name == "leaves":
        tile = _speckled(name, colours.leaves, 24, None)
    elif name == "grass":
        tile = _speckled("dirt", (134, 96, 66), 14, None)
        tile[:4] = _speckled("grass", colours.grass, 12, None)[:4]
    else:
        tile = _special(name)
    mixed = tile * (shade / 100)
    blend = fog / (NUM_FOG_LEVELS + 1)
    return pack(mixed * (1 - blend) + np.array(colours.sky_low, np.float32) * blend)


@functools.cache
def hurt_texture(name: str, theme: str, shade: int) -> Pixels:
    """Return a texture flushed red, as an animal looks when it is hit."""
    tile = unpack(block_texture(name, theme, shade, 0))
    return pack(tile * (0.55, 0.3, 0.3) + np.array((110, 0, 0), np.float32))


@functools.cache
def cracked_texture(name: str, theme: str, shade: int, stage: int) -> Pixels:
    """Return a texture with cracks, stage 1..4."""
    tile = unpack(block_texture(name, theme, shade, 0))
    rng = _noise("cracks")
    for arm in range(2 + 2 * stage):
        row, column = 8.0, 8.0
        step = rng.uniform(-1, 1, 2) + np.array((np.cos(arm * 2.4), np.sin(arm * 2.4)))
        for _ in range(2 + 2 * stage):
            if 0 <= row < TILE and 0 <= column < TILE:
                tile[int(row), int(column)] *= 0.3
            row, column = row + step[0] + rng.uniform(-0.4, 0.4), column + step[1]
    return pack(tile)


_ITEM_COLOURS = {
    "k": (38, 34, 38),
    "b": (122, 84, 44),
    "B": (86, 58, 30),
    "g": (150, 152, 158),
    "G": (206, 208, 214),
    "w": (244, 244, 240),
    "c": (80, 220, 214),
    "C": (170, 250, 246),
    "r": (206, 46, 42),
    "R": (246, 120, 104),
    "l": (84, 166, 54),
    "y": (250, 214, 80),
    "o": (238, 140, 36),
    "p": (226, 128, 130),
    "P": (178, 92, 96),
    "t": (184, 148, 92),
}

ITEMS = {
    "iron_pickaxe": ".kGGGGk. kGkkbkGk ....bk.G ...bk..G ..bk...k .bk..... bk...... k.......",
    "stone_sword": "......gg .....gGg ....gGg. kk.gGg.. .kgGg... .bkg.... bk.kk... k.......",
    "bone_meal": "........ ...www.. ..wwGww. .wGwwww. .wwwwGw. ..wGwww. ...www.. ........",
    "apple": "....Bl.. ....Bl.. .rrrBrr. rRrrrrrr rRrrrrrr rrrrrrrr .rrrrrr. ..rr.rr.",
    "torch": "........ ...yy... ...yo... ...bb... ...bb... ...bb... ...bb... ...kk...",
    "stick": "........ .....bb. ....bbk. ...bbk.. ..bbk... .bbk.... .bk..... ........",
    "oak_planks": "kkkkkkkk tttttttt tttktttt kkkkkkkk tttttttt ttttttkt kkkkkkkk tttttttt",
    "oak_log": "BbBbBbBb BbBbBbBb bbBbBbBb BbBbBbbb BbBbBbBb BbbbBbBb BbBbBbBb BbBbBbBb",
    "cobblestone": "ggkggGgg gGggkggg kgggggkg ggkgGggg gggggkgg Gkggkggg ggggggGk kggkgggg",
    "coal": "........ ..kkk... .kgkkkk. .kkkkgk. kkkgkkkk .kkkkkk. ..kkkk.. ........",
    "raw_iron": "........ ..tGt... .tGttGt. .ttGttt. tGtttGtt .tttttt. ..tttt.. ........",
    "diamond": "........ ..CCCc.. .CCcccc. CCcccccc .Ccccck. ..cccck. ...cck.. ....k...",
    "white_wool": "wwGwwwww wwwwwGww wGwwwwww wwwwGwww wwwwwwwG Gwwwwwww wwwGwwGw wwwwwwww",
    "porkchop": "........ ...ppp.. ..pRRpp. .pRRRRpp .pRRRRpp ..pRRpp. .wwpPp.. ww......",
    "beef": "........ ..PPP... .PrrrPP. PrrwrrrP PrrrrwrP .PrrrrP. ..PPPP.. ........",
    "wheat": ".....yyy ....yyyy ...yyyy. ..toyy.. .tlty... tltl.... ltl..... l.......",
}

ITEM_SIZE = 8


@functools.cache
def item_sprite(name: str, scale: int = 1) -> tuple[Pixels, NDArray[np.bool_]]:
    """Return an item's pixels and where they are opaque, both of shape (8 * scale, 8 * scale)."""
    rows = ITEMS[name].split()
    rgb = np.zeros((ITEM_SIZE, ITEM_SIZE, 3), np.int64)
    opaque = np.zeros((ITEM_SIZE, ITEM_SIZE), bool)
    for row, line in enumerate(rows):
        for column, letter in enumerate(line):
            if letter != ".":
                rgb[row, column], opaque[row, column] = _ITEM_COLOURS[letter], True
    block = np.ones((scale, scale), np.uint32)
    return np.kron(pack(rgb), block), np.kron(opaque, block).astype(bool)
