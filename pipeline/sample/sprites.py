"""The flat pictures of the game: items as 8x8 sprites."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

from pipeline.sample.textures import Pixels, pack

_PALETTE = {
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
                rgb[row, column], opaque[row, column] = _PALETTE[letter], True
    block = np.ones((scale, scale), np.uint32)
    return np.kron(pack(rgb), block), np.kron(opaque, block).astype(bool)
