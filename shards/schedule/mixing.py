"""Mixing datasets by weight: each one's share of the windows is set, whatever its size.

    weights 2 : 1, 4 rows      A has 2.67 rows, B has 1.33
    row 0  lane 0 of A         A A A A A A A A A ...
    row 1  lane 1 of A         A A A A A A A A A ...
    row 2  lane 2 of A, 0 of B A A B A A B A A B ...      two lanes in turn, each with its own memory
    row 3  lane 1 of B         B B B B B B B B B ...

Rows of the global batch are dealt out to the datasets in proportion to their weights. A row that two datasets
share has a lane of each and gives turns to them, so shares are exact to a window a shared row at every step. Each
dataset goes through epochs of its own on its lanes, as a `LanePlan` has them: episodes whole and in order, and no
window a second time before all of its dataset were seen. A dataset's epochs begin and end in the middle of the
run's, at steps that all its lanes share; the few windows that are missing there are padding.

An epoch of the run, which nothing in the data marks any more, is as many steps as all windows would fill once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor

import numpy as np
from numpy.typing import NDArray

from shards.errors import RocketError
from shards.schedule.collection import Collection
from shards.schedule.lanes import TURN_SLACK, LanePlan, Turn
from shards.schedule.settings import ScheduleSettings


@dataclass(frozen=True)
class Share:
    """What a dataset has of a mixed run.

    Attributes:
        share: of all windows.
        epochs: of the dataset, in an epoch of the run.
        deviation: by which the share may differ at most over any 1,000 steps.
    """

    path: str
    share: float
    num_windows: int
    epochs: float
    deviation: float


@dataclass(frozen=True)
class _Part:
    """A dataset's part of a row: its lane there, and the share of the row's steps."""

    dataset: int
    lane: int
    rate: Fraction


class MixedPlan:
    """The lanes of several datasets with given shares; what `LanePlan` is for one, or for several as one.

    Attributes:
        num_steps: steps of the run's epoch.
        num_windows: windows of all datasets together.
        by_episode: True where groups of rows share shards of a dataset.
        num_padding: (step, row) pairs of an epoch without a window, on average.
        shares: of each dataset.
    """

    ends_with_epoch = False

    def __init__(self, collection: Collection, episodes: NDArray[np.int64], settings: ScheduleSettings) -> None:
        """Plan the lanes of the training split.

        Raises:
            RocketError: if there is not one weight for each dataset, or none of a dataset's episodes trains.
        """
        datasets = collection.datasets
        if len(settings.weights) != len(datasets) or min(settings.weights) <= 0:
            raise RocketError(
                f"data.datasets: weights {settings.weights}, expected a positive one for each of "
                f"{len(datasets)} datasets."
            )
        self.settings, self.episodes = settings, episodes
        total = sum(map(Fraction, settings.weights))
        shares = [Fraction(weight) / total for weight in settings.weights]
        self._rows = _deal_rows(shares, settings.num_lanes)
        self._first_lane = np.cumsum([0, *map(len, self._rows)]).tolist()
        self._plans: list[LanePlan] = []
        self._groups: list[list[int]] = []
        holder = np.array([collection.dataset_of(int(episode)) for episode in episodes])
        for number, dataset in enumerate(datasets):
            own = episodes[holder == number]
            if not len(own):
                raise RocketError(f"{dataset.path}: none of its episodes trains. Use a larger data.split_ratio.")
            rates = self._rates(number)
            self._plans.append(
                LanePlan(
                    collection.num_frames,
                    collection.shard,
                    own,
                    settings,
                    fingerprint=dataset.info.fingerprint,
                    rates=[group for group in rates if len(group)],
                )
            )
            self._groups.append([group for group, found in enumerate(rates) if len(found)])
        self.by_episode = any(plan.by_episode for plan in self._plans)
        self.num_windows = sum(plan.num_windows for plan in self._plans)
        self.num_steps = ceil(self.num_windows / settings.num_lanes)
        padding = [
            float(settings.num_lanes * share * plan.num_steps) - plan.num_windows
            for share, plan in zip(shares, self._plans, strict=True)
        ]
        ends = [1000 // plan.num_steps + 1 for plan in self._plans]  # of its epochs within any 1,000 steps
        lost = [each * times for each, times in zip(padding, ends, strict=True)]
        self.shares = [
            Share(
                path=dataset.path,
                share=float(share),
                num_windows=plan.num_windows,
                epochs=self.num_steps / plan.num_steps,
                deviation=(2 * TURN_SLACK + max(own * (1 - float(share)), (sum(lost) - own) * float(share)))
                / (1000 * settings.num_lanes),
            )
            for dataset, share, plan, own in zip(datasets, shares, self._plans, lost, strict=True)
        ]
        self.num_padding = round(
            sum(self.num_steps / plan.num_steps * each for plan, each in zip(self._plans, padding, strict=True))
        )

    def turn(self, epoch: int, step: int, row: int) -> Turn:
        """What a row of the global batch gets in a step. Cheapest in order of steps."""
        at = epoch * self.num_steps + step
        place, tick = _turn_of(self._rows[row], at)
        part = self._rows[row][place]
        plan = self._plans[part.dataset]
        own_epoch = at // plan.num_steps
        begun = _ticks_before(self._rows[row], place, own_epoch * plan.num_steps)
        window = plan.turn(own_epoch, tick - begun, part.lane).window
        return Turn(self._first_lane[row] + place, window, own_epoch)

    def lanes_of_rows(self, rows: range) -> range:
        """The lanes that these rows go through."""
        return range(self._first_lane[rows.start], self._first_lane[rows.stop])

    def episodes_of_groups(self, groups: set[int]) -> NDArray[np.int64]:
        """The episodes that the rows of these groups show."""
        return np.concatenate(
            [
                plan.episodes[np.isin(plan.group_of, [at for at, group in enumerate(rows) if group in groups])]
                for plan, rows in zip(self._plans, self._groups, strict=True)
            ]
        )

    def _rates(self, dataset: int) -> list[NDArray[np.floating]]:
        """For each group of rows the rates of the dataset's lanes there."""
        per_group = self.settings.lanes_per_group
        return [
            np.array(
                [
                    float(part.rate)
                    for row in self._rows[group * per_group : (group + 1) * per_group]
                    for part in row
                    if part.dataset == dataset
                ]
            )
            for group in range(self.settings.num_groups)
        ]


def _deal_rows(shares: Sequence[Fraction], num_rows: int) -> list[list[_Part]]:
    """The parts of each row: the datasets follow each other over the rows, and a border within a row splits it."""
    rows: list[list[_Part]] = [[] for _ in range(num_rows)]
    start = Fraction(0)
    for number, share in enumerate(shares):
        stop = start + share * num_rows
        for lane, row in enumerate(range(floor(start), ceil(stop))):
            rate = min(stop, Fraction(row + 1)) - max(start, Fraction(row))
            rows[row].append(_Part(number, lane, rate))
        start = stop
    return rows


def _turn_of(parts: Sequence[_Part], at: int) -> tuple[int, int]:
    """Whose turn the row's step `at` is, and how many turns that part had before."""
    left = Fraction(1)
    for place, part in enumerate(parts[:-1]):
        before, after = floor(part.rate / left * at), floor(part.rate / left * (at + 1))
        if after > before:
            return place, before
        at, left = at - before, left - part.rate
    return len(parts) - 1, at


def _ticks_before(parts: Sequence[_Part], place: int, at: int) -> int:
    """The turns that a part of the row had before its step `at`."""
    left = Fraction(1)
    for part in parts[:place]:
        at, left = at - floor(part.rate / left * at), left - part.rate
    return at if place == len(parts) - 1 else floor(parts[place].rate / left * at)
