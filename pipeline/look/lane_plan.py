"""What a training run will do with its datasets: steps, padding, and what each rank reads."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from shards.errors import RocketError
from shards.schedule.collection import Collection
from shards.schedule.lanes import LanePlan, Schedule, lanes_of_rank
from shards.schedule.mixing import MixedPlan
from shards.schedule.plan import SplitPlan, plan_splits
from shards.schedule.settings import ScheduleSettings, divisors, setting_keys
from shards.schedule.watch_out import odd_data, padding_share
from shards.settings import CONFIG_FILE, flat, override, read_yaml

Split = Literal["train", "val"]


@dataclass(frozen=True)
class RankShare:
    """What one rank does in an epoch: its lanes, and what it reads for them."""

    rank: int
    lanes: range
    num_windows: int
    num_episodes: int
    shards: Sequence[int]
    num_bytes: int


@dataclass(frozen=True)
class EpochPlan:
    """One epoch of a run over its datasets.

    Attributes:
        splits: the plans for training and validation.
        lane_plan: that one of the two which `split` names.
    """

    collection: Collection
    splits: tuple[SplitPlan, LanePlan]
    lane_plan: LanePlan
    num_ranks: int
    split: Split
    epoch: int

    @property
    def settings(self) -> ScheduleSettings:
        return self.lane_plan.settings

    @property
    def episodes(self) -> NDArray[np.int64]:
        """Those of the split."""
        return self.lane_plan.episodes

    @cached_property
    def schedule(self) -> Schedule:
        return self.lane_plan.epoch(self.epoch)

    @cached_property
    def ranks(self) -> list[RankShare]:
        return [_share(self.collection, self.schedule, rank, self.num_ranks) for rank in range(self.num_ranks)]

    @property
    def whole_shard_ranks(self) -> list[int]:
        """Numbers of ranks that the run could continue on, each rank with shards of its own."""
        return [] if self.lane_plan.by_episode else divisors(self.settings.num_groups)

    @property
    def sharing_ranks(self) -> list[int]:
        """Further numbers of ranks that it could continue on, by reading byte ranges of shared shards."""
        return [ranks for ranks in divisors(self.settings.num_lanes) if ranks not in self.whole_shard_ranks]

    @property
    def padding_fraction(self) -> float:
        """The share of all (step, lane) pairs without a window."""
        return padding_share(self.lane_plan)

    @property
    def frames_per_step(self) -> int:
        return self.settings.num_lanes * self.settings.window_frames

    def seconds(self, frames_per_second: float) -> float:
        """How long the epoch takes at that speed of all ranks together, padding included."""
        return self.schedule.num_steps * self.frames_per_step / frames_per_second

    def watch_out(self, *, of_run: bool) -> list[str]:
        """What is odd about the data and their lanes, a line each, with the setting that changes it.

        Args:
            of_run: the settings are a run's; otherwise a split that all train in is only the default.
        """
        validates = of_run or self.settings.split_ratio < 1
        train, val = self.splits
        return odd_data(self.collection, train, len(val.episodes), self.num_ranks, validates=validates)

    def to_json(self) -> dict[str, Any]:
        return {
            "num_lanes": self.settings.num_lanes,
            "num_ranks": self.num_ranks,
            "window_frames": self.settings.window_frames,
            "steps": self.schedule.num_steps,
            "windows": self.schedule.num_windows,
            "padding_windows": self.schedule.num_padding,
            "padding_fraction": self.padding_fraction,
            "ranks": [
                {
                    "rank": share.rank,
                    "steps": self.schedule.num_steps,
                    "windows": share.num_windows,
                    "shards": list(share.shards),
                    "bytes": share.num_bytes,
                }
                for share in self.ranks
            ],
        }


def plan_lanes(
    collection: Collection,
    settings: ScheduleSettings,
    num_ranks: int = 1,
    *,
    split: Split = "train",
    epoch: int = 0,
) -> EpochPlan:
    """The plan of an epoch: what training does with these datasets and settings.

    Raises:
        RocketError: if lanes and ranks do not divide, the split has no episode, or the windows are shuffled.
    """
    if not settings.contiguous:
        raise RocketError(
            "data.episode_continuous_batch: the run reads shuffled windows, got false, expected true. "
            "It has no lanes to plan or to show."
        )
    lanes_of_rank(0, num_ranks, settings.num_lanes)  # do the lanes divide over the ranks?
    splits = plan_splits(collection, settings)
    plan = splits[split == "val"]
    if isinstance(plan, MixedPlan):
        shares = "; ".join(f"{one.path} {one.share:.2%}" for one in plan.shares)
        raise RocketError(
            f"data.datasets: the run mixes its datasets by weight, expected none ({shares} of the windows). Run: "
            "rocket-train CONFIG --dry-run"
        )
    if not len(plan.episodes):
        raise RocketError(
            f"{', '.join(one.path for one in collection.datasets)}: the {split} split has no episode, got split "
            f"ratio {settings.split_ratio:g} of {len(collection.episode_ids)} episodes. Use another --split-ratio."
        )
    return EpochPlan(collection, splits, plan, num_ranks, split, epoch)


def _share(collection: Collection, schedule: Schedule, rank: int, num_ranks: int) -> RankShare:
    lanes = lanes_of_rank(rank, num_ranks, schedule.num_lanes)
    episodes = np.concatenate([schedule.lane(lane) for lane in lanes])
    tables = [one.episodes for one in collection.datasets]
    num_bytes = np.concatenate([table.stop_byte - table.start_byte for table in tables])
    return RankShare(
        rank=rank,
        lanes=lanes,
        num_windows=int(schedule.lane_windows[lanes.start : lanes.stop].sum()),
        num_episodes=len(episodes),
        shards=np.unique(collection.shard[episodes]).tolist(),
        num_bytes=int(num_bytes[episodes].sum()),
    )


@dataclass(frozen=True)
class RunLanes:
    """What the settings of a run say of its lanes.

    Attributes:
        values: fields of ScheduleSettings; without `num_groups` where there is one for each rank.
    """

    datasets: Sequence[str]
    num_ranks: int
    values: dict[str, Any]


def lanes_of_run(run: Path) -> RunLanes:
    """The lanes of the run in this folder, or of the YAML file.

    Raises:
        RocketError: if there is no such file or it lacks settings of a run.
    """
    path = run / CONFIG_FILE if run.is_dir() else run
    settings = flat(override(read_yaml(path), (), path.name))
    try:
        num_lanes, devices = settings["data.num_lanes"], settings["trainer.devices"]
        batch_size = settings["data.batch_size"]
        num_ranks = (devices if isinstance(devices, int) else 1) * settings["trainer.num_nodes"]
        if num_lanes:
            num_ranks = num_lanes // batch_size
        values = {name: settings[key] for name, key in setting_keys().items() if " " not in key}
        values["num_lanes"] = num_lanes or batch_size * num_ranks
        entries = [one if isinstance(one, dict) else {"path": str(one)} for one in settings["data.datasets"]]
        if any("weight" in one for one in entries):
            values["weights"] = tuple(float(one.get("weight", 1)) for one in entries)
        datasets = [one["path"] for one in entries]
    except KeyError as missing:
        raise RocketError(
            f"{path}: not all settings of a run, got no {missing.args[0]}. "
            f"Write all of them: rocket-train show {shlex.quote(str(path))} > run.yaml"
        ) from None
    return RunLanes(datasets, num_ranks, {name: value for name, value in values.items() if value is not None})
