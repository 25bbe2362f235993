"""What the things of the world are built of: a few textured boxes each.

Boxes are given around the thing's foot: x0, x1, y0, y1, z0, z1 in blocks; the player comes from -z, so that side
has the front texture.
"""

from dataclasses import dataclass

from pipeline.sample.scene import Thing


@dataclass(frozen=True)
class Box:
    """An axis-aligned box and the textures of its sides, its front (towards -z), and its top and bottom."""

    x0: float
    x1: float
    y0: float
    y1: float
    z0: float
    z1: float
    side: str
    front: str = ""
    top: str = ""


def _cube(side: str, front: str = "", top: str = "") -> Box:
    return Box(-0.5, 0.5, 0, 1, -0.5, 0.5, side, front, top)


def _animal(hide: str, face: str, coat: float) -> list[Box]:
    """Return legs, body and a head that looks at the player."""
    legs = [
        Box(x - 0.11, x + 0.11, 0, 0.4, z - 0.11, z + 0.11, "hoof" if hide != "pig" else hide)
        for x in (-0.24, 0.24)
        for z in (-0.3, 0.3)
    ]
    body = Box(-0.38 - coat, 0.38 + coat, 0.36, 0.95 + coat, -0.45, 0.5, hide)
    head = Box(-0.27, 0.27, 0.62, 1.14, -0.85, -0.42, "skin" if hide == "wool" else hide, face)
    return [*legs, body, head]


def _lamp(state: str) -> list[Box]:
    glass = f"lamp_{state or 'off'}"
    return [
        Box(-0.32, 0.32, 0, 0.18, -0.32, 0.32, "stone"),
        Box(-0.1, 0.1, 0.18, 0.7, -0.1, 0.1, "iron"),
        Box(-0.42, 0.42, 0.7, 1.5, -0.42, 0.42, glass),
        Box(-0.48, 0.48, 1.5, 1.62, -0.48, 0.48, "iron"),
    ]


_BELL = [
    Box(-0.5, -0.36, 0, 1.45, -0.12, 0.12, "log"),
    Box(0.36, 0.5, 0, 1.45, -0.12, 0.12, "log"),
    Box(-0.34, 0.34, 0.5, 0.66, -0.3, 0.3, "gold_dark"),
    Box(-0.25, 0.25, 0.66, 1.28, -0.24, 0.24, "bell"),
    Box(-0.6, 0.6, 1.3, 1.47, -0.16, 0.16, "log"),
]
_BANNER = [
    Box(-0.6, 0.6, 0, 0.5, -0.6, 0.6, "stone"),
    Box(-0.08, 0.08, 0.5, 2.7, -0.08, 0.08, "log"),
    Box(-0.45, 0.45, 1.2, 2.6, -0.14, -0.08, "banner"),
]
_TREE = [
    Box(-0.3, 0.3, 0, 2.4, -0.3, 0.3, "log"),
    Box(-1.5, 1.5, 2.0, 3.6, -1.5, 1.5, "leaves"),
    Box(-0.9, 0.9, 3.6, 4.5, -0.9, 0.9, "leaves"),
]
_PINE = [
    Box(-0.25, 0.25, 0, 1.4, -0.25, 0.25, "log"),
    Box(-1.4, 1.4, 1.2, 2.4, -1.4, 1.4, "leaves"),
    Box(-0.9, 0.9, 2.4, 3.6, -0.9, 0.9, "leaves"),
    Box(-0.45, 0.45, 3.6, 4.8, -0.45, 0.45, "leaves"),
]
_HOUSE = [
    Box(-2.5, 2.5, 0, 3, -2, 2, "planks"),
    Box(-0.5, 0.5, 0, 2, -2.06, -2, "log"),
    Box(-2.9, 2.9, 3, 3.6, -2.4, 2.4, "log"),
    Box(-2, 2, 3.6, 4.3, -1.5, 1.5, "log"),
]


_CHEST_LIDS = {"": 0.0, "open": 0.12}
_WHEAT = {"": ("sprout", 0.4), "ripe": ("wheat", 0.8)}
_BOXES = {
    **{ore: [_cube(ore)] for ore in ("coal_ore", "iron_ore", "diamond_ore", "stone")},
    "oak_log": [_cube("log", "log", "log_top")],
    "crafting_table": [_cube("table", "table", "table_top")],
    "bell": _BELL,
    "banner": _BANNER,
    "pig": _animal("pig", "pig_face", 0.0),
    "cow": _animal("cow", "cow_face", 0.04),
    "sheep": _animal("wool", "wool_face", 0.08),
    "tree": _TREE,
    "pine": _PINE,
    "house": _HOUSE,
}


def boxes_of(thing: Thing) -> list[Box]:
    """The boxes of a thing in its present state, unordered."""
    if thing.kind == "lamp":
        return _lamp(thing.state)
    if thing.kind == "chest":
        lid = _CHEST_LIDS[thing.state]
        return [
            Box(-0.45, 0.45, 0, 0.6, -0.45, 0.45, "chest", "chest_front", "chest"),
            Box(-0.45, 0.45, 0.6 + lid, 0.9 + lid, -0.45, 0.45, "chest"),
        ]
    if thing.kind == "wheat":
        crop, tall = _WHEAT[thing.state]
        stalks = [
            Box(x - 0.09, x + 0.09, 0.1, tall, z - 0.09, z + 0.09, crop)
            for x in (-0.3, 0, 0.3)
            for z in (-0.2, 0.2)
        ]
        return [Box(-0.5, 0.5, 0, 0.1, -0.5, 0.5, "farmland"), *stalks]
    return _BOXES[thing.kind]


SCENERY = ("tree", "pine", "house")

AIM_HEIGHT = {
    "lamp": 1.0,
    "bell": 0.85,
    "banner": 1.3,
    "wheat": 0.25,
    "chest": 0.45,
    "pig": 0.65,
    "cow": 0.65,
    "sheep": 0.65,
}
"""Height of the middle of what is seen of a thing, blocks; 0.5 for all others."""
