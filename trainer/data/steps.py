"""What each step of an epoch brings to a rank's lanes: from the schedule, or from a shuffled stream."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from shards.schedule.lanes import LanePlan, Window
from shards.schedule.mixing import MixedPlan
from trainer.data.fill import WindowTask
from trainer.data.source import EpisodeSource


@dataclass(frozen=True)
class Assignment:
    """A lane's window: what it is, how to read it, and what the manifest says of its n frames.

    Attributes:
        types: the type of each frame's goal, i8 (n,).
        watched: whether validation watches it, bool (n,).
    """

    window: Window
    task: WindowTask
    types: NDArray[np.int8]
    watched: NDArray[np.bool_]


class Steps(Protocol):
    """The steps of epochs for the rows of a rank."""

    @property
    def num_steps(self) -> int:
        """Steps of every epoch."""

    def read(self, epoch: int, step: int) -> list[tuple[int, Assignment | None]]:
        """For each row its lane, and what that gets; None is padding. Cheapest in order of steps."""


class LaneSteps:
    """Steps in the order of the schedule: contiguous windows in every lane."""

    def __init__(self, plan: LanePlan | MixedPlan, rows: range, source: EpisodeSource) -> None:
        """Open nothing yet.

        Args:
            rows: of the global batch, those of this rank.
        """
        self._plan, self._rows, self._source = plan, rows, source

    @property
    def num_steps(self) -> int:
        return self._plan.num_steps

    def read(self, epoch: int, step: int) -> list[tuple[int, Assignment | None]]:
        turns = [self._plan.turn(epoch, step, row) for row in self._rows]
        return [
            (turn.lane, None if turn.window is None else assign(turn.window, turn.epoch, self._source))
            for turn in turns
        ]


def assign(window: Window, epoch: int, source: EpisodeSource) -> Assignment:
    """The window with all that its row needs."""
    facts = source.facts(window.episode, epoch)
    frames = slice(window.start, window.stop)
    return Assignment(window, source.task(window, epoch), facts.types[frames], facts.watched[frames])
