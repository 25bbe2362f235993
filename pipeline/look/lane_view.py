"""What one lane sees, step by step: its windows, where its memory starts anew, and the frames' goals."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from pipeline.look.footage import read_frames
from pipeline.look.lane_plan import EpochPlan
from shards.display.shown_frame import ShownFrame
from shards.errors import RocketError
from shards.reader import Dataset
from shards.schedule.goals import choose_goals
from shards.schedule.lanes import Window


@dataclass(frozen=True)
class LaneStep:
    """One step of one lane; `window` is None where it is padding."""

    step: int
    window: Window | None
    episode_id: str | None

    @property
    def resets_memory(self) -> bool:
        """Whether the window begins an episode, so that nothing is remembered."""
        return self.window is not None and self.window.first

    def describe(self) -> str:
        """The step in words."""
        if self.window is None:
            return f"step {self.step}: padding, masked and without loss"
        memory = "memory starts anew" if self.window.first else "memory goes on"
        return f"step {self.step}: {self.episode_id}, frames {self.window.start}:{self.window.stop}, {memory}"


class LaneView:
    """The steps of one lane in an epoch, with the frames as the policy gets them (without augmentation)."""

    def __init__(self, dataset: Dataset, plan: EpochPlan, lane: int) -> None:
        """Look at a lane of the plan.

        Raises:
            RocketError: if the plan has no such lane.
        """
        num_lanes = plan.settings.num_lanes
        if not 0 <= lane < num_lanes:
            raise RocketError(
                f"--lane: no lane {lane}, expected 0 to {num_lanes - 1}. Use --lanes for more lanes."
            )
        self._dataset, self._plan, self.lane = dataset, plan, lane
        # Validation shows the same goals every time.
        self._goal_epoch = 0 if plan.settings.split == "val" else plan.epoch
        self._goals = lru_cache(maxsize=4)(self._choose)

    def steps(self, start: int, stop: int) -> list[LaneStep]:
        """Steps [start, stop).

        Raises:
            RocketError: if the epoch has no such steps.
        """
        num_steps = self._plan.schedule.num_steps
        if not 0 <= start < stop <= num_steps:
            raise RocketError(
                f"--steps: got {start}:{stop}, expected steps of 0:{num_steps}. Use --steps 0:{min(8, num_steps)}."
            )
        steps = []
        for step in range(start, stop):
            window = self._plan.schedule.window(step, self.lane)
            name = None if window is None else self._dataset.episodes.ids[window.episode]
            steps.append(LaneStep(step, window, name))
        return steps

    def frames(self, step: LaneStep, limit: int | None = None) -> Iterator[ShownFrame]:
        """The window's frames with their goals; evenly spaced ones where there are more than `limit`.

        Raises:
            DamagedClip: if a clip's bytes are missing, changed or do not decode.
        """
        if step.window is None:
            return iter(())
        chosen = spaced(step.window.start, step.window.stop, limit)
        return read_frames(self._dataset, step.window.episode, chosen, self._goals(step.window.episode))

    def _choose(self, episode: int) -> NDArray[np.int32]:
        return choose_goals(
            self._dataset.candidate_runs(episode),
            int(self._dataset.episodes.num_frames[episode]),
            seed=self._plan.settings.seed,
            epoch=self._goal_epoch,
            episode_id=self._dataset.episodes.ids[episode],
        )


def spaced(start: int, stop: int, limit: int | None) -> list[int]:
    """Frames of [start, stop): all, or `limit` evenly spaced ones with the first."""
    num_frames = stop - start
    if limit is None or num_frames <= limit:
        return list(range(start, stop))
    return [start + place * num_frames // limit for place in range(limit)]
