"""What each step of an epoch brings to a rank's lanes: from the schedule, or from a shuffled stream."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from shards.schedule.lanes import LanePlan, Schedule, Window
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
    """The steps of epochs for the lanes of a rank."""

    lanes: Sequence[int]

    @property
    def num_steps(self) -> int:
        """Steps of every epoch."""

    def read(self, epoch: int, step: int) -> list[Assignment | None]:
        """What each of the lanes gets; None is padding. Cheapest when steps are asked for in order."""


class LaneSteps:
    """Steps in the order of the schedule: contiguous windows in every lane."""

    def __init__(self, plan: LanePlan, lanes: Sequence[int], source: EpisodeSource) -> None:
        self.lanes: Sequence[int] = list(lanes)
        self._plan, self._source = plan, source
        self._schedule: tuple[int, Schedule] | None = None

    @property
    def num_steps(self) -> int:
        return self._plan.num_steps

    def schedule(self, epoch: int) -> Schedule:
        """The epoch's schedule."""
        if self._schedule is None or self._schedule[0] != epoch:
            self._schedule = (epoch, self._plan.epoch(epoch))
        return self._schedule[1]

    def read(self, epoch: int, step: int) -> list[Assignment | None]:
        windows = [self.schedule(epoch).window(step, lane) for lane in self.lanes]
        return [None if window is None else assign(window, epoch, self._source) for window in windows]


def assign(window: Window, epoch: int, source: EpisodeSource) -> Assignment:
    """The window with all that its row needs."""
    facts = source.facts(window.episode, epoch)
    frames = slice(window.start, window.stop)
    return Assignment(window, source.task(window, epoch), facts.types[frames], facts.watched[frames])
