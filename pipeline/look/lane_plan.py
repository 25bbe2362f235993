"""What a training run will do with a dataset: steps, padding, and what each rank reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from shards.errors import RocketError
from shards.reader import Dataset
from shards.schedule.lanes import LanePlan, Schedule, lanes_of_rank
from shards.schedule.settings import ScheduleSettings
from shards.schedule.split import split_episodes

Split = Literal["train", "val"]


@dataclass(frozen=True)
class LaneSettings:
    """What the schedule depends on beside the dataset, as the settings of a run name it.

    Attributes:
        num_lanes: the global batch, ranks times data.batch_size.
        window_frames: data.win_len.
        split_ratio: data.split_ratio; None plans all episodes as one training split.
        shuffle: data.shuffle_episodes.
        num_groups: data.num_lane_groups; None: one for each rank.
    """

    num_lanes: int
    num_ranks: int = 1
    window_frames: int = 128
    seed: int = 0
    split_ratio: float | None = None
    split: Split = "train"
    shuffle: bool = True
    num_groups: int | None = None


@dataclass(frozen=True)
class RankShare:
    """What one rank does in an epoch.

    Attributes:
        shards: those that it reads from, ascending.
        num_bytes: of the episodes on its lanes.
    """

    rank: int
    lanes: range
    num_steps: int
    num_windows: int
    num_episodes: int
    shards: Sequence[int]
    num_bytes: int


@dataclass(frozen=True)
class EpochPlan:
    """One epoch of a run over a dataset.

    Attributes:
        episodes: those of the split.
        num_frames: of every episode of the dataset.
        by_episode: True where there are fewer shards than groups of lanes, so that groups share shards.
        whole_shard_ranks: numbers of ranks that could go on with the run, each rank with shards of its own.
        sharing_ranks: further numbers of ranks that could go on, by reading byte ranges of shared shards.
    """

    path: str
    settings: LaneSettings
    epoch: int
    schedule: Schedule
    episodes: NDArray[np.int64]
    num_frames: NDArray[np.int64]
    num_groups: int
    by_episode: bool
    ranks: Sequence[RankShare]
    whole_shard_ranks: Sequence[int]
    sharing_ranks: Sequence[int]

    @property
    def padding_fraction(self) -> float:
        """The share of all (step, lane) pairs without a window."""
        return self.schedule.num_padding / max(self.schedule.num_lanes * self.schedule.num_steps, 1)

    @property
    def frames_per_step(self) -> int:
        return self.settings.num_lanes * self.settings.window_frames

    def seconds(self, frames_per_second: float) -> float:
        """How long the epoch takes at that speed of all ranks together, padding included."""
        return self.schedule.num_steps * self.frames_per_step / frames_per_second

    def to_json(self) -> dict[str, Any]:
        """The plan for scripts."""
        return {
            "num_lanes": self.settings.num_lanes,
            "num_ranks": self.settings.num_ranks,
            "window_frames": self.settings.window_frames,
            "steps": self.schedule.num_steps,
            "windows": self.schedule.num_windows,
            "padding_windows": self.schedule.num_padding,
            "padding_fraction": self.padding_fraction,
            "ranks": [
                {
                    "rank": share.rank,
                    "steps": share.num_steps,
                    "windows": share.num_windows,
                    "shards": list(share.shards),
                    "bytes": share.num_bytes,
                }
                for share in self.ranks
            ],
        }


def plan_lanes(dataset: Dataset, settings: LaneSettings, epoch: int = 0) -> EpochPlan:
    """The plan of an epoch: what the training data module does with one dataset and the same settings.

    Raises:
        RocketError: if lanes, ranks and groups do not divide, or the split has no episode.
    """
    episodes = dataset.episodes
    if settings.num_lanes < 1:
        raise RocketError(f"--lanes: a number of lanes, got {settings.num_lanes}, expected 1 or more.")
    lanes_of_rank(0, settings.num_ranks, settings.num_lanes)  # do the lanes divide over the ranks?
    num_groups = settings.num_groups or settings.num_ranks
    train, val = np.arange(len(episodes)), np.zeros(0, np.int64)
    if settings.split_ratio is not None:
        train, val = split_episodes(
            episodes.ids, settings.split_ratio, seed=settings.seed, shuffle=settings.shuffle
        )
    chosen = train if settings.split == "train" else val
    if not len(chosen):
        raise RocketError(
            f"{dataset.path}: the {settings.split} split has no episode, got split ratio {settings.split_ratio} "
            f"of {len(episodes)} episodes. Use another --split-ratio."
        )
    plan = _lane_plan(dataset, settings, train, "train", num_groups, None)
    if settings.split == "val":
        plan = _lane_plan(dataset, settings, val, "val", num_groups, plan)
    schedule = plan.epoch(epoch)
    divisors = [ranks for ranks in range(1, settings.num_lanes + 1) if settings.num_lanes % ranks == 0]
    whole = [] if plan.by_episode else [ranks for ranks in divisors if num_groups % ranks == 0]
    return EpochPlan(
        path=dataset.path,
        settings=settings,
        epoch=epoch,
        schedule=schedule,
        episodes=chosen,
        num_frames=episodes.num_frames.astype(np.int64),
        num_groups=num_groups,
        by_episode=plan.by_episode,
        ranks=[_share(dataset, schedule, rank, settings) for rank in range(settings.num_ranks)],
        whole_shard_ranks=whole,
        sharing_ranks=[ranks for ranks in divisors if ranks not in whole],
    )


def _lane_plan(
    dataset: Dataset,
    settings: LaneSettings,
    episodes: NDArray[np.int64],
    split: str,
    num_groups: int,
    like: LanePlan | None,
) -> LanePlan:
    return LanePlan(
        dataset.episodes.num_frames,
        dataset.episodes.shard,
        episodes,
        ScheduleSettings(
            num_lanes=settings.num_lanes,
            window_frames=settings.window_frames,
            num_groups=num_groups,
            seed=settings.seed,
            shuffle=settings.shuffle,
        ),
        fingerprint=dataset.info.fingerprint,
        split=split,
        like=like,
    )


def _share(dataset: Dataset, schedule: Schedule, rank: int, settings: LaneSettings) -> RankShare:
    lanes = lanes_of_rank(rank, settings.num_ranks, settings.num_lanes)
    episodes = np.concatenate([schedule.lane(lane) for lane in lanes])
    table = dataset.episodes
    return RankShare(
        rank=rank,
        lanes=lanes,
        num_steps=schedule.num_steps,
        num_windows=int(schedule.lane_windows[lanes.start : lanes.stop].sum()),
        num_episodes=len(episodes),
        shards=np.unique(table.shard[episodes]).tolist(),
        num_bytes=int((table.stop_byte[episodes] - table.start_byte[episodes]).sum()),
    )
