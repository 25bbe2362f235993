"""The plans of both splits of a collection, and what follows from them for some of the lanes."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from shards.errors import RocketError
from shards.schedule.collection import Collection
from shards.schedule.lanes import LanePlan
from shards.schedule.mixing import MixedPlan
from shards.schedule.settings import ScheduleSettings
from shards.schedule.split import split_episodes

SplitPlan = LanePlan | MixedPlan


def plan_splits(collection: Collection, settings: ScheduleSettings) -> tuple[SplitPlan, LanePlan]:
    """The plans for training and validation; a shard's lanes are the same in both.

    With weights, training mixes the datasets, and validation still sees each of its windows once, on lanes of its
    own choice.

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

    if settings.weights:
        return MixedPlan(collection, train, settings), plan(val, "val", None)
    train_plan = plan(train, "train", None)
    return train_plan, plan(val, "val", train_plan)


def shards_of_rows(collection: Collection, plans: Sequence[SplitPlan], rows: range) -> list[int]:
    """The shards that these rows of the global batch read in any epoch, ascending."""
    shards: set[int] = set()
    for plan in plans:
        groups = {row // plan.settings.lanes_per_group for row in rows}
        shards |= set(collection.shard[plan.episodes_of_groups(groups)].tolist())
    return sorted(shards)
