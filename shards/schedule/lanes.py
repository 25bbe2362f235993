"""The schedule: which window of which episode each lane gets in each step of an epoch.

    group 0 (shards 0, 3, ...)  lane 0  [ep 7: w0 w1 w2][ep 2: w0][ep 31: w0 w1 ...   ][ padding ]
                                lane 1  [ep 4: w0 w1 w2 w3 w4 w5 ][ep 9: w0 w1 ...        ]
    group 1 (shards 1, 2, ...)  lane 2  ...
                                        step 0  1  2  ...                           num_steps - 1

It is a function of the datasets, the split, the epoch and `ScheduleSettings`. Rank, worker and machine do not
enter.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shards.errors import RocketError
from shards.schedule.draws import draw_order
from shards.schedule.packing import balance, pack_lanes
from shards.schedule.settings import ScheduleSettings, nearest_divisor

_SLACK = 0.0002
"""Padding that is accepted for the sake of a freer shuffle, as a share of the windows."""

_UNEVEN = 0.01
"""Share of the steps by which whole shards may prolong an epoch where lanes have rates."""

TURN_SLACK = 3
"""Windows by which a lane that moves on in a share of the steps may be behind that share."""

_SORTED_SHARES = (0.2, 0.4, 0.6, 0.8, 1.0)
"""Shares of a group's windows that are placed longest first, tried in turn until the lanes fit."""


@dataclass(frozen=True, slots=True)
class Window:
    """Frames [start, stop) of an episode; `first` and `last` say whether they begin and end it."""

    episode: int
    start: int
    stop: int
    index: int
    first: bool
    last: bool


@dataclass(frozen=True, slots=True)
class Turn:
    """What a row of the global batch gets in a step.

    Attributes:
        lane: whose memory the row goes on with.
        window: None is padding.
        epoch: names the draws of the window's goals.
    """

    lane: int
    window: Window | None
    epoch: int


class Schedule:
    """One epoch of the schedule; `LanePlan.epoch` makes it.

    It keeps each lane's episodes and their cumulative windows, never a table of windows.

    Attributes:
        num_steps: steps of the epoch, the same for every lane and every epoch.
        num_windows: windows of the split; each is at one (step, lane).
        num_padding: (step, lane) pairs without a window, all at the ends of lanes.
    """

    def __init__(
        self,
        num_steps: int,
        window_frames: int,
        num_frames: NDArray[np.int64],
        episodes: NDArray[np.int64],
        lane_sizes: NDArray[np.int64],
    ) -> None:
        """The lanes hold `episodes` (concatenated, lane after lane; `lane_sizes` episodes each)."""
        self.num_steps, self.window_frames = num_steps, window_frames
        self._num_frames, self._episodes = num_frames, episodes
        self._bounds = np.concatenate(([0], np.cumsum(lane_sizes)))
        windows = -(-num_frames[episodes] // window_frames)
        ends = np.concatenate(([0], np.cumsum(windows)))
        starts = ends[self._bounds[:-1]]
        self._ends = ends[1:] - np.repeat(starts, lane_sizes)  # windows of the lane up to the episode's end
        self.lane_windows = np.diff(ends[self._bounds])
        self.num_windows = int(self.lane_windows.sum())
        self.num_padding = self.num_lanes * num_steps - self.num_windows

    @property
    def num_lanes(self) -> int:
        return len(self._bounds) - 1

    def lane(self, lane: int) -> NDArray[np.int64]:
        """The lane's episodes in order."""
        return self._episodes[self._bounds[lane] : self._bounds[lane + 1]]

    def window(self, step: int, lane: int) -> Window | None:
        """What the lane gets in that step; None is padding.

        Raises:
            IndexError: if there is no such step or lane.
        """
        if not (0 <= step < self.num_steps and 0 <= lane < self.num_lanes):
            raise IndexError(f"step {step}, lane {lane} of {self.num_steps} steps, {self.num_lanes} lanes")
        begin, end = int(self._bounds[lane]), int(self._bounds[lane + 1])
        at = begin + int(np.searchsorted(self._ends[begin:end], step, side="right"))
        if at == end:
            return None
        index = step - (int(self._ends[at - 1]) if at > begin else 0)
        episode = int(self._episodes[at])
        start, num_frames = index * self.window_frames, int(self._num_frames[episode])
        stop = min(start + self.window_frames, num_frames)
        return Window(episode, start, stop, index, first=index == 0, last=stop == num_frames)


class LanePlan:
    """What all epochs of a run have in common: the groups of lanes, their episodes, the number of steps.

    Attributes:
        num_steps: steps of every epoch.
        by_episode: True where there are fewer shards than groups, so that groups share shards.
        group_of: the group of each of `episodes`, shape (len(episodes),).
        episode_windows: the number of windows of each of `episodes`.
        num_lanes: of all groups.
        ends_with_epoch: every episode that an epoch begins it ends, too.
        group_of_shard: the group that each shard belongs to; empty with `by_episode`.
    """

    ends_with_epoch = True
    shares: tuple[()] = ()  # no dataset has a set share of the windows

    def __init__(
        self,
        num_frames: NDArray[np.integer],
        shard: NDArray[np.integer],
        episodes: NDArray[np.integer],
        settings: ScheduleSettings,
        *,
        fingerprint: str,
        split: str = "train",
        like: "LanePlan | None" = None,
        rates: Sequence[NDArray[np.floating]] | None = None,
    ) -> None:
        """Plan the lanes of a split; `plan.plan_splits` does it for whole datasets.

        Args:
            num_frames: frames of every episode of the dataset, shape (N,), each 1 or more.
            shard: the shard of every episode, shape (N,).
            episodes: the episodes of the split, indices into the two.
            fingerprint: the dataset's; with `split`, the seed and the epoch it names the draws.
            like: the plan of another split of the dataset, whose shards keep their groups here.
            rates: for each group the share of the steps in which each of its lanes moves on; all: 1.
        """
        self.settings = settings
        self._num_frames = np.asarray(num_frames, np.int64)
        self.episodes = np.asarray(episodes, np.int64)
        self._draws = ("schedule", fingerprint, split, settings.seed)
        self._current: tuple[int, Schedule] | None = None
        self._rates = [np.ones(settings.lanes_per_group)] * settings.num_groups if rates is None else rates
        self.episode_windows = windows = -(-self._num_frames[self.episodes] // settings.window_frames)
        self.num_windows = int(windows.sum())
        self.num_lanes = sum(map(len, self._rates))
        lanes_at_once = sum(float(group.sum()) for group in self._rates)
        self.num_steps = int(-(-self.num_windows // lanes_at_once) * (1 + _SLACK))

        shards, shard_of = np.unique(np.asarray(shard)[self.episodes], return_inverse=True)
        taken = {} if like is None or like.by_episode else like.group_of_shard
        room = np.array([self._room(group).sum() for group in range(len(self._rates))], np.int64)
        self.by_episode: bool = len(shards) < len(room) and not taken
        shard_windows = np.bincount(shard_of, weights=windows, minlength=len(shards)).astype(np.int64)
        group = balance(shard_windows, room)
        if rates is not None:  # whole shards may not fit groups of different sizes
            self.by_episode |= _overflow(group, shard_windows, room) > _UNEVEN * self.num_steps
        self.group_of_shard: dict[int, int] = {}
        if self.by_episode:
            self.group_of = balance(windows, room)
        else:
            group = np.array([taken.get(int(s), int(g)) for s, g in zip(shards, group, strict=True)], np.int64)
            self.group_of_shard = dict(zip(shards.tolist(), group.tolist(), strict=True))
            self.group_of = group[shard_of]
        self._members = [np.flatnonzero(self.group_of == group) for group in range(len(room))]
        if settings.contiguous:
            self._fit()
        else:  # a window goes to any lane of its group
            longest = max(windows[members].sum() for members in self._members)
            self.num_steps = int(-(-longest // settings.lanes_per_group))

    @property
    def num_padding(self) -> int:
        """(step, lane) pairs of an epoch without a window."""
        return self.settings.num_lanes * self.num_steps - self.num_windows

    def epoch(self, epoch: int) -> Schedule:
        """The schedule of that epoch: other neighbours in each lane, in another order, than in other epochs."""
        assert self.settings.contiguous, "shuffled windows have no lanes"
        order: list[NDArray[np.int64]] = []
        sizes: list[NDArray[np.int64]] = []
        for group, members in enumerate(self._members):
            room = self._room(group)
            shuffled = self._order(len(members), epoch, group, "episodes")
            windows = self.episode_windows[members][shuffled]
            for share in _SORTED_SHARES:
                lane = pack_lanes(windows, room, share)
                if not _overflow(lane, windows, room):
                    break
            else:
                lane = self._fitting[group][shuffled]
                if len(set(room.tolist())) == 1:
                    lane = self._order(len(room), epoch, group, "lanes")[lane]
            # The longest-first ones came last: shuffle once more inside each lane.
            mixed = self._order(len(members), epoch, group, "lane order")
            by_lane = mixed[np.argsort(lane[mixed], kind="stable")]
            order.append(self.episodes[members[shuffled[by_lane]]])
            sizes.append(np.bincount(lane, minlength=len(room)))
        return Schedule(
            self.num_steps,
            self.settings.window_frames,
            self._num_frames,
            np.concatenate(order),
            np.concatenate(sizes),
        )

    def turn(self, epoch: int, step: int, row: int) -> Turn:
        """What a row of the global batch gets in a step: the window of its lane. Cheapest in order of epochs."""
        if self._current is None or self._current[0] != epoch:
            self._current = (epoch, self.epoch(epoch))
        return Turn(row, self._current[1].window(step, row), epoch)

    def episodes_of_groups(self, groups: set[int]) -> NDArray[np.int64]:
        """The episodes of these groups of lanes."""
        return self.episodes[np.isin(self.group_of, list(groups))]

    def lanes_of_rows(self, rows: range) -> range:
        """The lanes that these rows go through."""
        return rows

    def _fit(self) -> None:
        """Find a packing that fits, so that every epoch can have the same number of steps, and that number."""
        while True:
            rooms = [self._room(group) for group in range(len(self._members))]
            windows = [self.episode_windows[members] for members in self._members]
            self._fitting = [balance(*pair) for pair in zip(windows, rooms, strict=True)]
            missing = max(_overflow(*found) for found in zip(self._fitting, windows, rooms, strict=True))
            if not missing:
                return
            self.num_steps += missing

    def _room(self, group: int) -> NDArray[np.int64]:
        """Windows that each lane of the group has room for in an epoch."""
        rates = self._rates[group]
        least = np.where(rates < 1, np.floor(rates * self.num_steps) - TURN_SLACK, self.num_steps)
        return np.maximum(least, 0).astype(np.int64)

    def _order(self, count: int, epoch: int, group: int, what: str) -> NDArray[np.int64]:
        return draw_order(count, *self._draws, epoch, group, what) if self.settings.shuffle else np.arange(count)


def _overflow(lane: NDArray[np.int64], windows: NDArray[np.int64], room: NDArray[np.int64]) -> int:
    """Windows that the fullest lane has too many; 0 where all fit."""
    return int((np.bincount(lane, weights=windows, minlength=len(room)).astype(np.int64) - room).max(initial=0))


def lanes_of_rank(rank: int, num_ranks: int, num_lanes: int) -> range:
    """The lanes that a rank owns: [rank * num_lanes / num_ranks, (rank + 1) * num_lanes / num_ranks).

    Raises:
        RocketError: if the lanes do not divide evenly.
    """
    if num_ranks < 1 or num_lanes % num_ranks:
        raise RocketError(
            f"num_lanes: {num_lanes} lanes do not divide over the ranks, got {num_ranks} ranks, expected a "
            f"divisor of {num_lanes}. Use {nearest_divisor(num_lanes, num_ranks)} ranks or another global batch."
        )
    assert 0 <= rank < num_ranks, f"rank {rank} of {num_ranks}"
    per_rank = num_lanes // num_ranks
    return range(rank * per_rank, (rank + 1) * per_rank)
