"""What one moment of the little game consists of; the player moves it on, the renderer draws it.

World axes as in Minecraft: x to the east, z to the south, y up, one unit a block; yaw 0 looks along +z and grows
to the right, pitch grows downwards, both in degrees. The village road runs along +z at x = 0.
"""

import math
from dataclasses import dataclass, field

VIEW_WIDTH = 320
VIEW_HEIGHT = 180
"""Size that the game is drawn at, px; ffmpeg doubles it to the contractors' 640x360."""

FOCAL_PX = 160.0
"""Focal length: 90 degrees across the view."""

EYE_HEIGHT = 1.62
MAX_PITCH = 35.0

LAMP_COLOURS = ("amber", "blue")
"""The signal: the colour decides how bells are rung until the next lamp."""


@dataclass
class Thing:
    """Something in the world; `grown` rises from 0 to 1 when it appears."""

    kind: str
    x: float
    z: float
    grown: float = 1.0
    state: str = ""
    crack: float = 0.0
    hurt: bool = False
    drift: float = 0.0
    """Blocks a tick that it strolls to and fro at most."""


@dataclass(frozen=True)
class HotbarSlot:
    """A slot of the hotbar as the goal of an interaction, 0..8."""

    index: int


@dataclass(frozen=True)
class ScreenSlot:
    """A slot of the open screen as the goal of an interaction, by column and row."""

    column: int
    row: int


Target = Thing | HotbarSlot | ScreenSlot


@dataclass
class Screen:
    """An open GUI: `kind` is inventory, crafting or chest; slots hold item names."""

    kind: str
    items: dict[ScreenSlot, str] = field(default_factory=dict)


@dataclass
class Scene:
    """Everything that a frame shows."""

    theme: str = "plains"
    x: float = 0.0
    z: float = 0.0
    yaw: float = 0.0
    pitch: float = 5.0
    things: list[Thing] = field(default_factory=list)
    hotbar: list[str] = field(default_factory=list)
    slot: int = 0
    swing: int = 0
    """Frames left of the arm's swing; the same for hitting and using."""
    glow: str = ""
    """Colour of the lit lamp, or empty."""
    screen: Screen | None = None
    scenery_seed: int = 0

    def camera_space(self, x: float, z: float) -> tuple[float, float]:
        """Return (to the right, ahead) of the eye, blocks."""
        turn = math.radians(self.yaw)
        sin, cos = math.sin(turn), math.cos(turn)
        east, south = x - self.x, z - self.z
        return -cos * east - sin * south, -sin * east + cos * south

    @property
    def horizon(self) -> float:
        """Row of the horizon in the view; the picture shears with the pitch instead of turning."""
        return VIEW_HEIGHT / 2 - FOCAL_PX * math.tan(math.radians(self.pitch))

    def aim_error(self, x: float, y: float, z: float) -> tuple[float, float]:
        """Return how far the crosshair is off a point: (yaw, pitch) degrees to turn."""
        right, ahead = self.camera_space(x, z)
        row = self.horizon + FOCAL_PX * (EYE_HEIGHT - y) / max(ahead, 0.3)
        down = math.degrees(math.atan((row - VIEW_HEIGHT / 2) / FOCAL_PX))
        return math.degrees(math.atan2(right, ahead)), down

    def distance(self, thing: Thing) -> float:
        """Return blocks between the eye and a thing along the ground."""
        return math.hypot(thing.x - self.x, thing.z - self.z)
