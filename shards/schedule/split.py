"""Which episodes are for training and which for validation."""

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from shards.errors import RocketError


def split_episodes(
    episode_ids: Sequence[str], ratio: float, *, seed: int = 0, shuffle: bool = True
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Episodes for training and for validation, as ascending indices; every episode is in one of the two.

    With `shuffle`, an episode's place is drawn from the seed and its name alone: the same name is on the same
    side in every dataset that holds it, and a dataset that grows moves only the few at the border. Without it,
    the first ones train.

    Args:
        ratio: the share of episodes that train; both sides get one at least where it is neither 0 nor 1.

    Raises:
        RocketError: if the ratio is outside [0, 1].
    """
    if not 0 <= ratio <= 1:
        raise RocketError(f"split_ratio: a share of the episodes, got {ratio}, expected 0 to 1. Use 0.95.")
    num_episodes = len(episode_ids)
    num_train = int(num_episodes * ratio + 0.5)
    if 0 < ratio < 1 and num_episodes > 1:
        num_train = min(max(num_train, 1), num_episodes - 1)
    order = np.arange(num_episodes)
    if shuffle:
        places = [hashlib.sha256(f"{seed}\0{episode_id}".encode()).digest() for episode_id in episode_ids]
        order = np.array(sorted(range(num_episodes), key=lambda episode: (places[episode], episode)), np.int64)
    return np.sort(order[:num_train]), np.sort(order[num_train:])
