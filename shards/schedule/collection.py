"""Several datasets as one: their episodes follow each other, and so do their shards."""

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from shards.errors import DatasetError, RocketError
from shards.reader import Dataset, open_dataset


class Collection:
    """Datasets with one numbering of episodes and shards.

    Attributes:
        num_frames, shard: of each episode, shape (N,).
        episode_ids: names, N of them.
        fingerprint: changes with any dataset, and with their order.
    """

    def __init__(self, datasets: Sequence[Dataset]) -> None:
        """Join open datasets.

        Raises:
            RocketError: if there is none, or their frames differ in size.
        """
        if not datasets:
            raise RocketError(
                "data.datasets: no dataset, got an empty list, expected a folder or more. "
                "Use data.datasets=DATASET."
            )
        first = datasets[0]
        for other in datasets[1:]:
            sizes = [(one.info.frame_width, one.info.frame_height) for one in (first, other)]
            if sizes[0] != sizes[1]:
                raise RocketError(
                    f"{other.path}: frames of another size, got {sizes[1][0]}x{sizes[1][1]}, expected "
                    f"{sizes[0][0]}x{sizes[0][1]} as in {first.path}. Rebuild one of the two."
                )
        self.datasets = list(datasets)
        self.frame_width, self.frame_height = first.info.frame_width, first.info.frame_height
        self.num_frames = np.concatenate([one.episodes.num_frames for one in datasets]).astype(np.int64)
        self._first_episode = np.cumsum([0, *(len(one.episodes) for one in datasets)])
        self._first_shard = np.cumsum([0, *(one.info.counts["num_shards"] for one in datasets)])
        self.shard = np.concatenate(
            [
                one.episodes.shard.astype(np.int64) + first_shard
                for one, first_shard in zip(datasets, self._first_shard[:-1], strict=True)
            ]
        )
        self.episode_ids = [episode_id for one in datasets for episode_id in one.episodes.ids]
        prints = [one.info.fingerprint for one in datasets]
        self.fingerprint = prints[0] if len(prints) == 1 else hashlib.sha256(" ".join(prints).encode()).hexdigest()

    def dataset_of(self, episode: int) -> int:
        """The number of the dataset that holds an episode."""
        return int(np.searchsorted(self._first_episode, episode, side="right")) - 1

    def locate(self, episode: int) -> tuple[Dataset, int]:
        """The dataset that holds an episode, and the episode's number there."""
        place = self.dataset_of(episode)
        return self.datasets[place], episode - int(self._first_episode[place])

    def locate_shard(self, shard: int) -> tuple[Dataset, int]:
        """The dataset that holds a shard, and the shard's number there."""
        place = int(np.searchsorted(self._first_shard, shard, side="right")) - 1
        return self.datasets[place], shard - int(self._first_shard[place])

    def find(self, shard: int, episode_id: str) -> int:
        """The episode of that name in the dataset that holds that shard.

        Raises:
            DatasetError: if its manifest has none.
        """
        place = int(np.searchsorted(self._first_shard, shard, side="right")) - 1
        return int(self._first_episode[place]) + self.datasets[place].index_of(episode_id)

    def check_shards(self, shards: Sequence[int]) -> None:
        """These shards are there, with the size that their manifest says.

        Raises:
            DatasetError: naming a shard that is missing or of another size.
        """
        places = np.searchsorted(self._first_shard, shards, side="right") - 1
        with ThreadPoolExecutor(max_workers=16) as threads:  # an object store answers each one slowly
            checks = [
                threads.submit(self.datasets[place].check_shards, [int(shard - self._first_shard[place])])
                for shard, place in zip(shards, places.tolist(), strict=True)
            ]
            for check in checks:
                check.result()


def open_collection(paths: Sequence[str]) -> Collection:
    """The datasets at these folders or addresses, as one.

    Raises:
        RocketError: if one cannot be opened, appears twice, or does not fit the others.
    """
    datasets = [open_dataset(path) for path in paths]
    seen: dict[str, str] = {}
    for dataset in datasets:
        fingerprint = dataset.info.fingerprint
        if fingerprint in seen:
            raise DatasetError(
                f"{dataset.path}: the same dataset as {seen[fingerprint]}, so its windows would be seen twice an "
                "epoch. Take one of them out of data.datasets."
            )
        seen[fingerprint] = dataset.path
    return Collection(datasets)
