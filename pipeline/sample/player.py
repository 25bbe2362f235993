"""The scripted player: looks at its goal, walks up to it and does what the goal's kind asks for.

Each tick is offered with the script's action; whoever iterates may send another one, and the world follows that.

What the script does follows from picture, mask and type of the goal, but for one thing: how a bell is
rung, by hitting or by using it, follows from the colour that the last lamp had while it was lit. Nothing in the
picture tells it afterwards: two sessions that differ only in the lamps' colours have the same frames wherever no
lamp is lit.
"""

import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from pipeline.sample.action import Action, Ledger, act, turn_px
from pipeline.sample.models import AIM_HEIGHT
from pipeline.sample.scene import LAMP_COLOURS, MAX_PITCH, Scene, Screen, Target, Thing
from shards.recorder_lines import DEGREES_PER_PX

REACH_BLOCKS = 2.4
_HIT_BLOCKS, _HIT_DEGREES = 4.0, 30.0  # from where a press on a thing counts
_WALK, _SPRINT = 0.2158, 0.2806  # blocks a tick, as in Minecraft
_LOST_CHANCE, _EMPTY_CHANCE = 0.03, 0.03

BUTTON_OF_COLOUR = dict(zip(LAMP_COLOURS, ("attack", "use"), strict=True))


@dataclass(eq=False)
class Interaction:
    """A stretch of frames that leads to one event; `obj_id` is ROCKET-1's raw id, 0..6."""

    obj_id: int
    event: str
    target: Target
    certain: bool = False
    """True where the tracker never loses the target."""


@dataclass
class Tick:
    """One frame and the action taken on it; the scene shows the frame while the tick is current."""

    action: Action
    candidates: list[tuple[Interaction, str]] = field(default_factory=list)
    """Interactions under way and how the tracker fares: "seen", "empty" (no mask) or "lost" (no entry)."""
    starts_recording: bool = False
    role: str = ""
    """"signal" while a lamp is lit, "recall" where only memory tells the button, else empty."""
    is_last: bool = False
    """True for the frame after the session's last action: it has no action."""


_Result = TypeVar("_Result")
Ticks = Generator[Tick, Action | None, _Result]
"""Frames in order; each may be answered with the action to take instead of the script's."""


class SessionOver(Exception):
    """The session has all the frames it was asked for."""


class Player:
    """Moves a scene on, tick by tick."""

    def __init__(self, scene: Scene, lengths: Sequence[int], rng: np.random.Generator) -> None:
        self.scene, self.ledger, self.rng = scene, Ledger(), rng
        self.cursor = (640.0, 360.0)
        self.num_kept = 0
        """Frames so far that are no no-ops: what a dataset keeps."""
        self.can_wheel = True
        self.places_in_view = False
        """Things appear where the player looks, not along the road: a policy may have strayed from it."""
        self._lengths = list(lengths)
        self._frames_in_recording = 0
        self._at_session_start = True
        self._has_roamed = False
        """The last tick was without a goal, so the statistics of the next frame hold all that was done."""

    def tick(
        self, action: Action, interactions: Sequence[Interaction] = (), role: str = "", may_cut: bool = False
    ) -> Ticks[Action]:
        """Yield the frame with the script's action; it, or the one that was sent, takes effect and is returned."""
        starts = self._at_session_start
        self._at_session_start = False
        is_last = len(self._lengths) == 1
        if may_cut and self._frames_in_recording >= self._lengths[0] and (self._has_roamed or not is_last):
            self._lengths.pop(0)
            if not self._lengths:
                raise SessionOver
            starts, self._frames_in_recording = True, 0
        candidates = []
        for interaction in interactions:
            luck = 1.0 if interaction.certain else float(self.rng.random())
            tracking = (
                "lost" if luck < _LOST_CHANCE else "empty" if luck < _LOST_CHANCE + _EMPTY_CHANCE else "seen"
            )
            candidates.append((interaction, tracking))
        sent = yield Tick(action, candidates, starts, role)
        done = action if sent is None else sent
        self._frames_in_recording += 1
        self._has_roamed = may_cut
        self.num_kept += not done.is_noop
        self._apply(done)
        return done

    def _apply(self, action: Action) -> None:
        scene, buttons = self.scene, action.buttons
        moved = 0.0
        if scene.screen is not None:
            self.cursor = (self.cursor[0] + action.dx, self.cursor[1] + action.dy)
        else:
            scene.yaw += action.dx * DEGREES_PER_PX
            scene.pitch = max(-MAX_PITCH, min(MAX_PITCH, scene.pitch + action.dy * DEGREES_PER_PX))
            self.cursor = (self.cursor[0] + action.dx, self.cursor[1] + action.dy)
            ahead = ("forward" in buttons) - ("back" in buttons)
            right = ("right" in buttons) - ("left" in buttons)
            speed = _SPRINT if "sprint" in buttons and ahead > 0 else _WALK * (0.3 if "sneak" in buttons else 1.0)
            turn = math.radians(scene.yaw)
            step_x = -math.sin(turn) * ahead - math.cos(turn) * right
            step_z = math.cos(turn) * ahead - math.sin(turn) * right
            moved = speed * math.hypot(step_x, step_z)
            scene.x += speed * step_x
            scene.z += speed * step_z
            if buttons & {"attack", "use"}:
                scene.swing = scene.swing % 4 + 1
            elif scene.swing % 4:
                scene.swing += 1
        for name in buttons:
            if name.startswith("hotbar."):
                scene.slot = int(name[7:]) - 1
        for thing in scene.things:
            thing.grown = min(1.0, thing.grown + 0.25)
            thing.x += thing.drift * math.sin(self.num_kept / 9)
        scene.things = [thing for thing in scene.things if thing.z > scene.z - 2]
        self.ledger.tick(action, moved)

    def look(self, thing: Thing) -> tuple[int, int]:
        """Return the mouse movement towards a thing."""
        yaw, pitch = self.scene.aim_error(thing.x, AIM_HEIGHT.get(thing.kind, 0.5), thing.z)
        return turn_px(yaw, self.rng), self._pitch_px(pitch)

    def _pitch_px(self, error_degrees: float) -> int:
        """Return the movement of `turn_px`, but none that the neck can't follow."""
        px = turn_px(error_degrees, self.rng)
        return px if abs(self.scene.pitch + px * DEGREES_PER_PX) <= MAX_PITCH else 0

    def off_by_degrees(self, thing: Thing) -> float:
        """Return how far a thing is to the side of the crosshair."""
        return abs(self.scene.aim_error(thing.x, 0.5, thing.z)[0])

    def roam(self, num_frames: int) -> Ticks[None]:
        """Run along the road with no goal; the only place where a recording may be cut."""
        for _ in range(num_frames):
            dx, dy = turn_px(-self.scene.yaw, self.rng), self._pitch_px(5 - self.scene.pitch)
            yield from self.tick(act("forward", "sprint", dx=dx, dy=dy), may_cut=True)

    def idle(self, num_frames: int) -> Ticks[None]:
        """Do nothing."""
        for _ in range(num_frames):
            yield from self.tick(act())

    def select(self, slot: int, interactions: Sequence[Interaction] = ()) -> Ticks[None]:
        """Bring a hotbar slot into the hand: by its key, or by the wheel, a slot a tick."""
        by_wheel = self.rng.random() < 0.5 and self.can_wheel
        while self.scene.slot != slot:
            step = 1 if slot > self.scene.slot else -1
            new = self.scene.slot + step if by_wheel else slot
            # The wheel leaves no key; a number key is seen as hotbar.N all the same.
            yield from self.tick(act(f"hotbar.{new + 1}", dwheel=-step if by_wheel else 0), interactions)

    def walk_to(
        self, thing: Thing, interactions: Sequence[Interaction], reach: float = REACH_BLOCKS
    ) -> Ticks[None]:
        """Turn and walk until a thing is within reach and near the crosshair."""
        while self.scene.distance(thing) > reach or self.off_by_degrees(thing) >= 6:
            dx, dy = self.look(thing)
            walking = self.off_by_degrees(thing) < 16 and self.scene.distance(thing) > reach
            buttons = ("forward", "sprint") if walking and self.scene.distance(thing) > 5 else ("forward",)
            yield from self.tick(act(*(buttons if walking else ()), dx=dx, dy=dy), interactions)

    def work_on(
        self, thing: Thing, button: str, interactions: Sequence[Interaction], role: str = ""
    ) -> Ticks[Action]:
        """Press a button for a frame while keeping the crosshair on a thing; return what was pressed on it."""
        dx, dy = self.look(thing)
        on_it = self.scene.distance(thing) <= _HIT_BLOCKS and self.off_by_degrees(thing) <= _HIT_DEGREES
        done = yield from self.tick(act(button, dx=dx, dy=dy), interactions, role)
        return done if on_it else act()

    def place(self, kind: str, degrees: float, blocks: float, state: str = "") -> Thing:
        """Return a new thing that grows out of the ground, seen at an angle from the road or from the view."""
        scene = self.scene
        turn = math.radians(degrees + (scene.yaw if self.places_in_view else 0.0))
        thing = Thing(kind, scene.x - math.sin(turn) * blocks, scene.z + math.cos(turn) * blocks, 0.25, state)
        scene.things.append(thing)
        return thing

    def open_screen(self, screen: Screen, button: str, interactions: Sequence[Interaction] = ()) -> Ticks[None]:
        """Open a screen with one press; the cursor starts in the middle."""
        yield from self.tick(act(button), interactions)
        self.scene.screen, self.cursor = screen, (640.0, 360.0)

    def close_screen(self, button: str) -> Ticks[None]:
        """Close the screen with one press."""
        yield from self.tick(act(button))
        self.scene.screen = None

    def move_cursor(self, x: float, y: float, interactions: Sequence[Interaction] = ()) -> Ticks[None]:
        """Move the cursor to a point of the 1280x720 window as the view is turned: by a few sizes of step."""
        while True:
            dx = turn_px((x - self.cursor[0]) * DEGREES_PER_PX, self.rng)
            dy = turn_px((y - self.cursor[1]) * DEGREES_PER_PX, self.rng)
            if abs(x - self.cursor[0]) * DEGREES_PER_PX < 2 and abs(y - self.cursor[1]) * DEGREES_PER_PX < 2:
                return
            yield from self.tick(act(dx=dx, dy=dy), interactions)

    def fling_cursor(self, x: float, y: float) -> Ticks[None]:
        """Move the cursor to an exact point in strides of up to 240 px."""
        while self.cursor != (x, y):
            dx, dy = (int(max(-240, min(240, goal - at))) for goal, at in zip((x, y), self.cursor, strict=True))
            yield from self.tick(act(dx=dx, dy=dy))
