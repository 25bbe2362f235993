"""What the player does in one tick, the habits that make it learnable, and what the recorder counts of it."""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

# (from this error on, degrees; mouse movement, px; spread that stays within one of the policy's camera bins, px)
_TURNS = ((14.0, 68, 6), (6.0, 39, 3), (2.0, 21, 2))


@dataclass(frozen=True)
class Action:
    """The inputs of one tick: held buttons by the project's names, mouse movement in px."""

    buttons: frozenset[str] = frozenset()
    dx: int = 0
    dy: int = 0
    dwheel: int = 0

    @property
    def is_noop(self) -> bool:
        """True where nothing is pressed and nothing moves."""
        return not self.buttons and not self.dx and not self.dy


def act(*buttons: str, dx: int = 0, dy: int = 0, dwheel: int = 0) -> Action:
    """Return an action with these buttons held."""
    return Action(frozenset(buttons), dx, dy, dwheel)


def turn_px(error_degrees: float, rng: np.random.Generator) -> int:
    """Return the mouse movement that answers an error of aim: a few sizes, by thresholds, a little uneven."""
    sign = 1 if error_degrees > 0 else -1
    for at_least, px, spread in _TURNS:
        if abs(error_degrees) >= at_least:
            return sign * (px + int(rng.integers(-spread, spread + 1)))
    return int(rng.integers(-1, 2)) if rng.random() < 0.1 else 0


@dataclass
class Ledger:
    """Statistics and inventory over a whole session; they never restart between recordings."""

    stats: Counter[str] = field(default_factory=Counter)
    inventory: Counter[str] = field(default_factory=Counter)

    def gain(self, item: str) -> None:
        """Put an item into the inventory and count the pick-up."""
        self.inventory[item] += 1
        self.stats[f"minecraft.pickup:minecraft.{item}"] += 1

    def spend(self, item: str) -> None:
        """Take an item out of the inventory, if there is one."""
        self.inventory[item] -= 1
        if self.inventory[item] <= 0:
            del self.inventory[item]

    def tick(self, action: Action, blocks_moved: float) -> None:
        """Count what passes with every tick."""
        amounts = {"play_one_minute": 1, "time_since_death": 1}
        if blocks_moved > 0:
            gait = "sprint" if "sprint" in action.buttons else "crouch" if "sneak" in action.buttons else "walk"
            amounts[f"{gait}_one_cm"] = round(100 * blocks_moved)
        amounts |= {name: 1 for name in ("jump", "drop") if name in action.buttons}
        for name, amount in amounts.items():
            self.stats[f"minecraft.custom:minecraft.{name}"] += amount
