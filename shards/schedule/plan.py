"""The plans of both splits of a collection, and what follows from them for some of the lanes."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from shards.errors import RocketError
from shards.schedule.collection import Collection
from shards.schedule.lanes import LanePlan
from shards.schedule.settings import ScheduleSettings
from shards.schedule.split import split_episodes


def plan_splits(collection: Collection, settings: ScheduleSettings) -> tuple[LanePlan, LanePlan]:
    """The plans for training and validation; a shard's lanes are the same in both.

    Raises:
        RocketError: if the split leaves nothing to train on.
    """
    train, val = split_episodes(
        collection.episode_ids, settings.split_ratio, seed=settings.seed, shuffle=settings.shuffle
    )
    if not len(train):
        raise RocketError(
            f"data.split_ratio: no episode is left to train on, got {settings.split_ratio} of "
            f"{len(collection.episode_ids)} episodes. Use a larger share."
        )

    def plan(episodes: NDArray[np.int64], split: str, like: LanePlan | None) -> LanePlan:
        frames, shard = collection.num_frames, collection.shard
        return LanePlan(
            frames, shard, episodes, settings, fingerprint=collection.fingerprint, split=split, like=like
        )

    train_plan = plan(train, "train", None)
    return train_plan, plan(val, "val", train_plan)


def shards_of_lanes(collection: Collection, plans: Sequence[LanePlan], lanes: Sequence[int]) -> list[int]:
    """The shards that these lanes read in any epoch, ascending."""
    shards: set[int] = set()
    for plan in plans:
        groups = {lane // plan.settings.lanes_per_group for lane in lanes}
        episodes = plan.episodes[np.isin(plan.group_of, list(groups))]
        shards |= set(collection.shard[episodes].tolist())
    return sorted(shards)
