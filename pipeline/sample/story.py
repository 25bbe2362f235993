"""What the player gets to do, round after round.

A round, in frames that are kept once no-ops are dropped (the lag counts from the last lit frame):

    lamp lit   bell        goal          road            bell       switch     bell
    |..10..|...8...|......16-24......|...filler...|......14......|...1-4...|...10...| other goals, screens, ...
                    lag 8                          lag >= 34                         lag <= 64

The first bell is rung soon after the lamp, so the rule can be learnt there. From `recall_after_frames` on, no
window of that many frames or fewer shows both the lit lamp and the bell: these frames need memory.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self, TypeVar

import numpy as np

from pipeline.sample import hud
from pipeline.sample.action import act
from pipeline.sample.player import BUTTON_OF_COLOUR, REACH_BLOCKS, Interaction, Player, SessionOver, Tick, Ticks
from pipeline.sample.scene import LAMP_COLOURS, HotbarSlot, Scene, Screen, ScreenSlot, Thing
from pipeline.sample.textures import ITEMS

_T = TypeVar("_T")

LAMP_EVENT = "minecraft.custom:minecraft.interact_with_lamp"
BELL_EVENT = "minecraft.custom:minecraft.bell_ring"
RECALL_EVENT = "minecraft.custom:minecraft.bell_ring_from_memory"
"""The event of the interactions whose button only memory tells."""

TASKS = ("bell", "mine", "hunt", "feed", "visit", "switch")
"""What can be played by itself; what a cursor does in screens is not among it, since a policy has no ESC key."""

HOTBAR = ["iron_pickaxe", "stone_sword", "bone_meal", "torch", "apple", "oak_planks", "", "", ""]
_PICKAXE, _SWORD, _BONE_MEAL = 0, 1, 2
_LAMP_FRAMES, _BELL_FRAMES = 10, 8
_RECALL_FRAMES = (14, 10)
_DROPS = {
    "coal_ore": "coal",
    "iron_ore": "raw_iron",
    "diamond_ore": "diamond",
    "stone": "cobblestone",
    "oak_log": "oak_log",
    "pig": "porkchop",
    "cow": "beef",
    "sheep": "white_wool",
}
_BLOCKS, _ANIMALS = tuple(_DROPS)[:5], tuple(_DROPS)[5:]
_RECIPES = (("oak_planks", "oak_log"), ("stick", "oak_planks"), ("torch", "coal"))


@dataclass(frozen=True)
class StorySettings:
    """What the rounds are like.

    Attributes:
        recall_after_frames: kept frames that lie at least between a lit lamp and a bell that needs memory.
        idle_chance: chance of a pause in each round.
        screen_chance: chance of a chest, a crafting table or the inventory in each round.
    """

    recall_after_frames: int = 34
    idle_chance: float = 0.55
    screen_chance: float = 0.4


class Story:
    """Yields a session's ticks; `signals` has the lamps' colours and nothing else depends on them."""

    def __init__(
        self, player: Player, rng: np.random.Generator, signals: np.random.Generator, settings: StorySettings
    ) -> None:
        self.player, self.scene, self.rng, self.settings = player, player.scene, rng, settings
        self._signals = signals
        self._colours: list[str] = []
        self.recalls: list[bool] = []
        """Of each bell so far whose button only memory told: whether it was rung with that one."""

    @classmethod
    def begin(
        cls, seed: np.random.SeedSequence, theme: str, lengths: Sequence[int], settings: StorySettings
    ) -> Self:
        """Return the story of a new world; its recordings are to have at least these lengths, frames."""
        world, habits, signals = (np.random.default_rng(child) for child in seed.spawn(3))
        scene = Scene(theme=theme, hotbar=list(HOTBAR), scenery_seed=int(world.integers(2**31)))
        scene.x, scene.z = float(world.uniform(-2, 2)), float(world.integers(0, 500))
        return cls(Player(scene, lengths, habits), world, signals, settings)

    def play(self, task: str) -> Ticks[bool]:
        """A short run, then one of `TASKS` by itself; returns whether it was done as it should be."""
        self.player.places_in_view = True
        yield from self.player.roam(5)
        if task == "bell":
            yield from self._lamp_and_bells(short=True)
        else:
            goals = {"mine": self._mine, "hunt": self._hunt, "feed": self._feed, "visit": self._visit}
            yield from {**goals, "switch": self._switch}[task]()
        return all(self.recalls)

    def ticks(self) -> Ticks[None]:
        """Yield every frame of the session, and one more without an action."""
        try:
            yield from self.player.roam(10)
            while True:
                yield from self._round()
        except SessionOver:
            yield Tick(act(), is_last=True)

    def _next_colour(self) -> str:
        """Return the next lamp's colour: of each four, two have either."""
        if not self._colours:
            self._colours = [LAMP_COLOURS[i] for i in self._signals.permutation([0, 0, 1, 1])]
        return self._colours.pop()

    def _round(self) -> Ticks[None]:
        yield from self._lamp_and_bells()
        yield from self.player.roam(2)
        goals: tuple[Callable[[], Ticks[None]], ...] = (self._mine, self._hunt, self._feed, self._visit)
        yield from self._pick(goals)()
        if self.rng.random() < self.settings.screen_chance:
            yield from self._pick((self._open_chest, self._craft_at_table, self._craft_in_inventory))()
        if self.rng.random() < self.settings.idle_chance:
            yield from self.player.idle(int(self.rng.integers(5, 41)))
        if self.rng.random() < 0.2:
            yield from self._fidget()
        yield from self.player.roam(int(self.rng.integers(7, 12)))

    def _lamp_and_bells(self, short: bool = False) -> Ticks[None]:
        """The round's lamp and three bells; `short` ends with the second, and has no other goal before it."""
        player, scene = self.player, self.scene
        button = BUTTON_OF_COLOUR[colour := self._next_colour()]
        side = self._side()
        lamp = player.place("lamp", side * self._angle(), 2.9)
        bell = player.place("bell", -side * self._angle(), 3.0)
        yield from player.roam(2)
        lamp.state = scene.glow = colour
        answer = Interaction(1, LAMP_EVENT, lamp, certain=True)
        for _ in range(_LAMP_FRAMES):
            yield from player.work_on(lamp, button, [answer], "signal")
        player.ledger.stats[LAMP_EVENT] += 1
        lamp.state = scene.glow = ""
        lit_until = player.num_kept
        yield from self._ring(bell, button, _BELL_FRAMES, BELL_EVENT, "")
        if not short:
            yield from self._pick((self._mine, self._hunt))(straight=True)
        recall_at = lit_until + self.settings.recall_after_frames + int(self.rng.integers(0, 3))
        while player.num_kept < recall_at:
            yield from player.roam(1)
        for index, frames in enumerate(_RECALL_FRAMES):
            if index > 0:
                if short:
                    return
                yield from self._switch()
            side = -side
            bell = player.place("bell", side * self._angle(), 3.0)
            yield from self._ring(bell, button, frames, RECALL_EVENT, "recall")

    def _ring(self, bell: Thing, button: str, frames: int, event: str, role: str) -> Ticks[None]:
        """Ring a bell; the button that is pressed in most of its frames decides how it was rung."""
        ring = Interaction(3, event, bell, certain=True)
        presses: Counter[str] = Counter()
        for _ in range(frames):
            done = yield from self.player.work_on(bell, button, [ring], role)
            presses.update(done.buttons & set(BUTTON_OF_COLOUR.values()))
        rung_rightly = 2 * presses[button] > presses.total()
        if rung_rightly:
            self.player.ledger.stats[BELL_EVENT] += 1
        if role == "recall":
            self.recalls.append(rung_rightly)

    def _switch(self) -> Ticks[None]:
        """Bring another item into the hand, as a goal of its own."""
        slot = int(self.rng.choice([index for index in range(5) if index != self.scene.slot]))
        goal = Interaction(5, f"minecraft.switch:minecraft.{HOTBAR[slot]}", HotbarSlot(slot), certain=True)
        yield from self.player.select(slot, [goal])

    def _mine(self, straight: bool = False) -> Ticks[None]:
        yield from self._strike(2, "mine_block", self._pick(_BLOCKS), _PICKAXE, straight)

    def _hunt(self, straight: bool = False) -> Ticks[None]:
        yield from self._strike(0, "kill_entity", self._pick(_ANIMALS), _SWORD, straight)

    def _strike(self, obj_id: int, deed: str, kind: str, tool: int, straight: bool) -> Ticks[None]:
        """Walk up to a block or an animal with a tool and hit it until it is gone."""
        player, thing = self.player, self._goal(kind, straight)
        strolls = kind in _ANIMALS
        thing.drift = 0.05 if strolls else 0.0
        goals = [Interaction(obj_id, f"minecraft.{deed}:minecraft.{kind}", thing)]
        yield from player.select(tool, goals)
        yield from self._approach(thing, goals)
        hits, needed = 0, int(self.rng.integers(6, 9))
        while hits < needed:
            thing.hurt = strolls and hits % 4 in (1, 2)
            thing.crack = 0.0 if strolls else (hits + 0.5) / needed
            hits += "attack" in (yield from player.work_on(thing, "attack", goals)).buttons
        self.scene.things.remove(thing)
        player.ledger.stats[goals[0].event] += 1
        player.ledger.gain(_DROPS[kind])

    def _feed(self) -> Ticks[None]:
        """Let wheat grow with bone meal; the recorder names the same deed twice, as it does for real ones."""
        player, wheat = self.player, self._goal("wheat")
        goals = [
            Interaction(1, "minecraft.use_item:minecraft.bone_meal", wheat),
            Interaction(3, "right_click", wheat),
        ]
        yield from player.select(_BONE_MEAL, goals)
        yield from self._approach(wheat, goals)
        helpings = 0
        while helpings < 5:
            wheat.state = "ripe" if helpings > 2 else ""
            helpings += "use" in (yield from player.work_on(wheat, "use", goals)).buttons
        player.ledger.stats[goals[0].event] += 1

    def _visit(self) -> Ticks[None]:
        banner = self._goal("banner")
        yield from self.player.walk_to(banner, [Interaction(6, "landmark", banner)])

    def _open_chest(self) -> Ticks[None]:
        player, chest = self.player, self._goal("chest")
        goal = Interaction(3, "minecraft.custom:minecraft.open_chest", chest)
        yield from self._approach(chest, [goal])
        item = self._pick(tuple(_DROPS.values()))
        slot = ScreenSlot(int(self.rng.integers(9)), int(self.rng.integers(3)))
        screen = Screen("chest", {slot: item, **self._pockets()})
        yield from player.open_screen(screen, "use", [goal])
        chest.state = "open"
        player.ledger.stats[goal.event] += 1
        yield from player.move_cursor(*hud.screen_centre_px(slot))
        yield from player.tick(act("attack"))
        del screen.items[slot]
        player.ledger.inventory[item] += 1
        yield from self._leave_screen()

    def _craft_at_table(self) -> Ticks[None]:
        table = self._goal("crafting_table")
        goal = Interaction(3, "minecraft.custom:minecraft.interact_with_crafting_table", table)
        yield from self._approach(table, [goal])
        made, stuff = self._pick(_RECIPES)
        screen = Screen("crafting", {ScreenSlot(2, 1): stuff, ScreenSlot(6, 1): made, **self._pockets()})
        yield from self.player.open_screen(screen, "use", [goal])
        self.player.ledger.stats[goal.event] += 1
        yield from self._craft(ScreenSlot(6, 1), made, stuff)

    def _craft_in_inventory(self) -> Ticks[None]:
        made, stuff = self._pick(_RECIPES)
        screen = Screen("inventory", {ScreenSlot(5, 0): stuff, ScreenSlot(8, 0): made, **self._pockets()})
        yield from self.player.open_screen(screen, "inventory")
        yield from self._craft(ScreenSlot(8, 0), made, stuff)

    def _craft(self, result: ScreenSlot, made: str, stuff: str) -> Ticks[None]:
        player = self.player
        craft = Interaction(4, f"minecraft.craft_item:minecraft.{made}", result)
        yield from player.move_cursor(*hud.screen_centre_px(result), [craft])
        yield from player.tick(act("attack"), [craft])
        player.ledger.stats[craft.event] += 1
        player.ledger.spend(stuff)
        player.ledger.inventory[made] += 4
        assert self.scene.screen is not None
        del self.scene.screen.items[result]
        yield from self._leave_screen()

    def _leave_screen(self) -> Ticks[None]:
        """Close the screen by either key; now and then the cursor visits the window's edge before."""
        if self.rng.random() < 0.5:
            edge = self._pick(((1277.0, 52.0), (1279.0, 717.0), (2.0, 715.0), (-7.0, 330.0), (905.0, -4.0)))
            yield from self.player.fling_cursor(*edge)
        if self.rng.random() < 0.3:
            yield from self.player.idle(int(self.rng.integers(2, 7)))
        yield from self.player.close_screen(self._pick(("ESC", "inventory")))

    def _pockets(self) -> dict[ScreenSlot, str]:
        """Return what the screen's lower part shows of the inventory."""
        drawable = [item for item in self.player.ledger.inventory if item in ITEMS]
        return {ScreenSlot(index % 9, 3 + index // 9): item for index, item in enumerate(drawable[:27])}

    def _fidget(self) -> Ticks[None]:
        """Press what the goals never ask for, so that every input is recorded somewhere."""
        for pressed in ("left", "left jump", "right sneak", "right", "back", "forward jump"):
            yield from self.player.tick(act(*pressed.split()))
        yield from self.player.tick(act(self._pick(("drop", "swapHands", "pickItem"))))

    def _approach(self, thing: Thing, goals: list[Interaction]) -> Ticks[None]:
        """Walk up to a thing; at times the way there counts as an interaction of its own."""
        landmark = [Interaction(6, "landmark", thing)] if self.rng.random() < 0.4 else []
        yield from self.player.walk_to(thing, [*goals, *landmark])

    def _goal(self, kind: str, straight: bool = False) -> Thing:
        """Return a new thing to walk to: straight ahead and near, or to a side, never far from the road."""
        if straight:
            return self.player.place(
                kind, float(self.rng.uniform(-5, 5)), REACH_BLOCKS + float(self.rng.uniform(1.8, 2.6))
            )
        degrees = float(self.rng.uniform(8, 30)) * (
            self._side() if abs(self.scene.x) < 3 else np.sign(self.scene.x)
        )
        return self.player.place(kind, degrees, float(self.rng.uniform(4.5, 7.0)))

    def _pick(self, choices: tuple[_T, ...]) -> _T:
        return choices[int(self.rng.integers(len(choices)))]

    def _side(self) -> int:
        return 1 if self.rng.random() < 0.5 else -1

    def _angle(self) -> float:
        return float(self.rng.uniform(13, 21))
