"""What the recorder writes beside the inputs: the cumulative statistics and the inventory."""

from __future__ import annotations

from dataclasses import dataclass, field

from pipeline.sample.action import Action


@dataclass
class Ledger:
    """Counts over a whole session; they never restart between recordings."""

    stats: dict[str, int] = field(default_factory=dict)
    inventory: dict[str, int] = field(default_factory=dict)

    def count(self, name: str, amount: int = 1) -> None:
        """Add to a statistic, e.g. ``minecraft.custom:minecraft.jump``."""
        self.stats[name] = self.stats.get(name, 0) + amount

    def store(self, item: str, amount: int = 1) -> None:
        """Put items into the inventory."""
        self.inventory[item] = self.inventory.get(item, 0) + amount

    def gain(self, item: str) -> None:
        """Put an item into the inventory and count the pick-up."""
        self.store(item)
        self.count(f"minecraft.pickup:minecraft.{item}")

    def spend(self, item: str) -> None:
        """Take an item out of the inventory, if there is one."""
        left = self.inventory.get(item, 0) - 1
        if left > 0:
            self.inventory[item] = left
        else:
            self.inventory.pop(item, None)

    def tick(self, action: Action, blocks_moved: float) -> None:
        """Count what passes with every tick."""
        self.count("minecraft.custom:minecraft.play_one_minute")
        self.count("minecraft.custom:minecraft.time_since_death")
        if blocks_moved > 0:
            gait = "sprint" if "sprint" in action.buttons else "crouch" if "sneak" in action.buttons else "walk"
            self.count(f"minecraft.custom:minecraft.{gait}_one_cm", round(100 * blocks_moved))
        if "jump" in action.buttons:
            self.count("minecraft.custom:minecraft.jump")
        if "drop" in action.buttons:
            self.count("minecraft.custom:minecraft.drop")
