"""The datasets of a run opened, split and planned: what it reads, before it reads any of it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

from shards.errors import RocketError
from shards.schedule.collection import Collection, open_collection
from shards.schedule.lanes import LanePlan
from shards.schedule.plan import SplitPlan, plan_splits, shards_of_rows
from shards.schedule.settings import ScheduleSettings, setting_keys
from trainer.settings import DataConfig

STATE_NAME = "RocketDataModule"
"""Under which Lightning puts the data module's position into a checkpoint: the name of its class."""
STATE_VERSION = 2
_KEYS = {
    **setting_keys(),
    "fingerprint": "the fingerprint of data.datasets",
    "num_train_episodes": "the number of episodes that train",
}


@dataclass(frozen=True)
class DataPlan:
    """Open datasets and the lanes of both splits."""

    collection: Collection
    train: SplitPlan
    val: LanePlan

    @classmethod
    def open(cls, config: DataConfig, seed: int, num_ranks: int) -> Self:
        """The plan of a run that begins on this many ranks.

        Raises:
            RocketError: what is wrong with the datasets, or does not fit them.
        """
        num_lanes = config.batch_size * num_ranks
        if config.num_lanes not in (None, num_lanes):
            raise RocketError(
                f"data.num_lanes: {num_ranks} ranks of {config.batch_size} lanes are {num_lanes}, got "
                f"{config.num_lanes}. Leave one of data.num_lanes and data.batch_size out."
            )
        collection = open_collection([one.path for one in config.datasets])
        width, height = collection.frame_width, collection.frame_height
        if (width, height) != (config.frame_width, config.frame_height):
            raise RocketError(
                f"{config.datasets[0].path}: its frames are {width}x{height}, got data.frame_width x "
                f"data.frame_height = {config.frame_width}x{config.frame_height}. "
                f"Use data.frame_width={width} data.frame_height={height}, or rebuild the dataset."
            )
        settings = ScheduleSettings(
            num_lanes=num_lanes,
            num_groups=config.num_lane_groups or num_ranks,
            window_frames=config.win_len,
            seed=seed,
            split_ratio=config.split_ratio,
            shuffle=config.shuffle_episodes,
            weights=config.weights,
            contiguous=config.episode_continuous_batch,
        )
        return cls(collection, *plan_splits(collection, settings))

    def with_groups(self, num_groups: object) -> Self:
        """The plan with as many groups of lanes as the run began with, on however many ranks it goes on."""
        settings = self.train.settings
        if not isinstance(num_groups, int) or settings.num_lanes % num_groups or num_groups == settings.num_groups:
            return self
        return type(self)(self.collection, *plan_splits(self.collection, replace(settings, num_groups=num_groups)))

    def check_shards(self, rows: range) -> None:
        """Return if the shards that these rows of the global batch read are there, as they were built.

        Raises:
            RocketError: one is missing, or not the one that was built.
        """
        self.collection.check_shards(shards_of_rows(self.collection, (self.train, self.val), rows))

    def save_position(self, epoch: int, step: int) -> dict[str, object]:
        """The position as what a checkpoint holds: plain values, and what they are a position in."""
        return {"version": STATE_VERSION, "epoch": epoch, "step": step, **self._key()}

    def saved_position(self, state: Mapping[str, Any]) -> tuple[int, int]:
        """The (epoch, step) that a checkpoint holds; all that differs is named if it is of other data or lanes.

        Raises:
            RocketError: it is a position in something else; every difference is named.
        """
        if state.get("version") != STATE_VERSION:
            raise RocketError(
                f"checkpoint: data position of version {state.get('version')}, expected {STATE_VERSION}. "
                "Resume with the release that wrote it."
            )
        problems = [
            f"{_KEYS[name]} was {state.get(name)}, got {value}"
            for name, value in self._key().items()
            if state.get(name) != value
        ]
        if problems:
            raise RocketError(
                f"checkpoint: its position in the data does not fit this run: {'; '.join(problems)}. "
                "Use the settings and data of that run, or start from its weights alone with policy.init_from."
            )
        epoch, step = state["epoch"], state["step"]
        assert isinstance(epoch, int), epoch
        assert isinstance(step, int), step
        return epoch, step

    def _key(self) -> dict[str, Any]:
        """All that the schedule is a function of, but the epoch."""
        settings = self.train.settings
        return {
            **asdict(settings),
            "weights": ":".join(map(str, settings.weights)),
            "fingerprint": self.collection.fingerprint,
            "num_train_episodes": len(self.train.episodes),
        }
