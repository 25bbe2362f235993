"""The plans of both splits of a collection, and what follows from them for a rank."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shards.errors import RocketError
from shards.schedule.collection import Collection
from shards.schedule.lanes import LanePlan
from shards.schedule.split import split_episodes
from trainer.data.shuffled import ShuffledPlan

_MUCH_PADDING = 0.1


@dataclass(frozen=True)
class SplitSettings:
    """What the splits are a function of, beside the collection and the number of lane groups."""

    split_ratio: float
    shuffle_episodes: bool
    episode_continuous_batch: bool
    num_lanes: int
    win_len: int
    seed: int


def split_collection(
    collection: Collection, settings: SplitSettings
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The episodes that train and those that validate.

    Raises:
        RocketError: if none is left to train on.
    """
    train, val = split_episodes(
        collection.episode_ids, settings.split_ratio, seed=settings.seed, shuffle=settings.shuffle_episodes
    )
    if not len(train):
        raise RocketError(
            f"data.split_ratio: no episode is left to train on, got {settings.split_ratio} of "
            f"{len(collection.episode_ids)} episodes. Use a larger share."
        )
    return train, val


def plan_splits(collection: Collection, settings: SplitSettings, num_groups: int) -> tuple[LanePlan, LanePlan]:
    """The plans for training and validation; a shard's lanes are the same in both.

    Raises:
        RocketError: if the split leaves nothing to train on, or the lanes do not form equal groups.
    """
    train, val = split_collection(collection, settings)
    make = LanePlan if settings.episode_continuous_batch else ShuffledPlan

    def plan(episodes: NDArray[np.int64], split: str, like: LanePlan | None) -> LanePlan:
        return make(
            collection.num_frames,
            collection.shard,
            episodes,
            num_lanes=settings.num_lanes,
            window_frames=settings.win_len,
            num_groups=num_groups,
            seed=settings.seed,
            fingerprint=collection.fingerprint,
            split=split,
            shuffle=settings.shuffle_episodes,
            like=like,
        )

    train_plan = plan(train, "train", None)
    return train_plan, plan(val, "val", train_plan)


def shards_of_lanes(collection: Collection, plans: Sequence[LanePlan], lanes: Sequence[int]) -> list[int]:
    """The shards that these lanes read in any epoch, ascending."""
    shards: set[int] = set()
    for plan in plans:
        groups = {lane * plan.num_groups // plan.num_lanes for lane in lanes}
        episodes = plan.episodes[np.isin(plan.group_of, list(groups))]
        shards |= set(collection.shard[episodes].tolist())
    return sorted(shards)


def notes_on(plan: LanePlan) -> list[str]:
    """What a user should know about a plan before the run: sentences, mostly none."""
    notes = []
    if plan.by_episode:
        notes.append(
            f"There are fewer shards than the {plan.num_groups} groups of lanes, so episodes are assigned one by "
            "one and ranks read from the same shards."
        )
    share = plan.num_padding / max(plan.num_lanes * plan.num_steps, 1)
    if share > _MUCH_PADDING:
        notes.append(
            f"{share:.0%} of each epoch is padding: {plan.num_windows} windows on {plan.num_lanes} lanes in "
            f"{plan.num_groups} groups. Fewer lanes, data.num_lane_groups=1 or smaller shards make it less."
        )
    return notes
