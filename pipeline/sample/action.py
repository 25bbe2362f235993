"""What the player does in one tick, and the habits that make it learnable."""

from __future__ import annotations

from dataclasses import dataclass

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
