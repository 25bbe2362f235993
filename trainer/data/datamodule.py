"""The data module: datasets in, this rank's batches out, with the tutorial's parameters."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from lightning import LightningDataModule

from shards.errors import RocketError
from shards.schedule.collection import Collection, open_collection
from shards.schedule.lanes import LanePlan, lanes_of_rank
from shards.schedule.mixing import MixedPlan
from shards.schedule.plan import SplitPlan, plan_splits, shards_of_rows
from shards.schedule.settings import ScheduleSettings
from shards.storage import CacheSettings
from trainer.data.damage import DamageReport
from trainer.data.layout import BatchLayout
from trainer.data.loader import LaneLoader
from trainer.data.pinned import InFlight, pin
from trainer.data.position import save_position, saved_position, schedule_key
from trainer.data.shuffled import ShuffledSteps
from trainer.data.source import EpisodeSource
from trainer.data.steps import LaneSteps, Steps
from trainer.lightning_parts import batches_in_flight
from trainer.settings import DataConfig


class RocketDataModule(LightningDataModule):
    """Batches of contiguous windows, a lane a row; `layout.Batch` says what they hold.

    Attributes:
        config: its settings.
        collection: the open datasets (after `setup`).
        plan, val_plan: the lanes of both splits (after `setup`).
        damage: what this rank lost to damage in training; `val_damage` in validation.
    """

    collection: Collection
    plan: SplitPlan
    val_plan: LanePlan

    def __init__(
        self,
        config: DataConfig | None = None,
        *,
        data_params: Mapping[str, Any] | None = None,
        seed: int = 0,
        watch_events: Sequence[str] = (),
        rank: int | None = None,
        num_ranks: int | None = None,
        worker_timeout_seconds: float = 600.0,
        **settings: Any,
    ) -> None:
        """Keep the settings; `setup` opens the datasets.

        Args:
            config: the settings; or give them by name, as `MineDataModule` takes them.
            data_params: settings by name; `dataset_dirs` is another name for `datasets`.
            seed: draws the split, each epoch's order, goals and augmentation.
            watch_events: parts of event names that `watch` marks.
            rank, num_ranks: this process's place; the trainer's where not given.
            worker_timeout_seconds: how long a loader process may take over one window.
            settings: further settings by name, such as `batch_size=8`.

        Raises:
            SettingsError: a setting is unknown or has a wrong value.
        """
        super().__init__()
        self.config = config if config is not None else DataConfig.of_names(**(data_params or {}), **settings)
        self.seed, self.watch_events = seed, tuple(watch_events)
        self.rank, self.num_ranks = rank, num_ranks
        self.worker_timeout_seconds = worker_timeout_seconds
        limit = self.config.max_damaged_windows
        self.damage, self.val_damage = DamageReport(limit), DamageReport(limit)
        self._loader: LaneLoader | None = None
        self._val_loader: LaneLoader | None = None
        self._saved: Mapping[str, Any] | None = None
        self._in_flight = InFlight()
        self._ready = False

    def setup(self, stage: str | None = None) -> None:  # noqa: ARG002 (all stages need the same)
        """The datasets are open, split and planned, and this rank's shards are known to be there.

        Raises:
            RocketError: what is wrong with the datasets or does not fit them.
        """
        if self._ready:
            return
        self.collection = open_collection([one.path for one in self.config.datasets])
        self._check_size()
        self._make_plans(self._schedule_settings())
        self._ready = True
        self.load_state_dict(self._saved or {})

    def train_dataloader(self) -> LaneLoader:
        """Batches of the training split, from the position on that was loaded, else from the beginning."""
        if self._loader is None:
            self._loader = self._make_loader(self.plan, self.damage, augment=self.config.augment, only_epoch=None)
            if self._saved is not None:
                self._loader.set_position(*saved_position(self._key, self._saved))
        return self._loader

    def val_dataloader(self) -> LaneLoader | list[Any]:
        """Batches of the validation split: the same windows and goals every time, never varied."""
        if not len(self.val_plan.episodes):
            return []
        if self._val_loader is None:
            self._val_loader = self._make_loader(self.val_plan, self.val_damage, augment=False, only_epoch=0)
        return self._val_loader

    def state_dict(self) -> dict[str, Any]:
        """The position of the next step to train, and what it is a position in; the same on every rank."""
        if self._loader is None:
            return dict(self._saved or {})
        epoch, step = self._loader.position
        at = epoch * self.plan.num_steps + step - self._num_unfinished()
        return save_position(self._key, *divmod(at, self.plan.num_steps))

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Training goes on at the saved position.

        Raises:
            PositionMismatch: if it is a position in other data, lanes or windows.
        """
        if not state_dict:
            return
        self._saved = dict(state_dict)
        if not self._ready:
            return
        self._adopt_groups(state_dict.get("num_groups"))
        position = saved_position(self._key, state_dict)
        if self._loader is not None:
            self._loader.set_position(*position)

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """The batch is on the device, or on its way there; its slot is not used again before it has arrived."""
        moved = super().transfer_batch_to_device(batch, device, dataloader_idx)
        if device.type == "cuda":
            self._in_flight.hold(batch)
        return moved

    def teardown(self, stage: str | None = None) -> None:  # noqa: ARG002
        """Loader processes have ended."""
        for loader in (self._loader, self._val_loader):
            if loader is not None:
                loader.close()

    @property
    def lanes(self) -> range:
        """This rank's lanes in training."""
        return self.plan.lanes_of_rows(self._rows)

    @property
    def _rows(self) -> range:
        return lanes_of_rank(self._rank, self._num_ranks, self._num_lanes)

    @property
    def _rank(self) -> int:
        return self.rank if self.rank is not None else (self.trainer.global_rank if self.trainer else 0)

    @property
    def _num_ranks(self) -> int:
        return self.num_ranks or (self.trainer.world_size if self.trainer else 1)

    @property
    def _num_lanes(self) -> int:
        num_lanes = self.config.batch_size * self._num_ranks
        if self.config.num_lanes not in (None, num_lanes):
            raise RocketError(
                f"data.num_lanes: {self._num_ranks} ranks of {self.config.batch_size} lanes are {num_lanes}, got "
                f"{self.config.num_lanes}. Leave one of data.num_lanes and data.batch_size out."
            )
        return num_lanes

    @property
    def _key(self) -> dict[str, int | float | str | bool]:
        return schedule_key(self.plan.settings, self.collection.fingerprint, len(self.plan.episodes))

    def _schedule_settings(self) -> ScheduleSettings:
        config = self.config
        return ScheduleSettings(
            num_lanes=self._num_lanes,
            num_groups=config.num_lane_groups or self._num_ranks,
            window_frames=config.win_len,
            seed=self.seed,
            split_ratio=config.split_ratio,
            shuffle=config.shuffle_episodes,
            weights=config.weights,
            contiguous=config.episode_continuous_batch,
        )

    def _adopt_groups(self, num_groups: object) -> None:
        """Unless set, the number of groups is that of ranks when the run began, not of today's."""
        settings = self.plan.settings
        if self.config.num_lane_groups is not None or num_groups == settings.num_groups:
            return
        if isinstance(num_groups, int) and settings.num_lanes % num_groups == 0:
            self.teardown()
            self._loader = self._val_loader = None
            self._make_plans(replace(settings, num_groups=num_groups))

    def _make_plans(self, settings: ScheduleSettings) -> None:
        self.plan, self.val_plan = plan_splits(self.collection, settings)
        self.collection.check_shards(shards_of_rows(self.collection, (self.plan, self.val_plan), self._rows))

    def _check_size(self) -> None:
        found = (self.collection.frame_width, self.collection.frame_height)
        if found != (self.config.frame_width, self.config.frame_height):
            raise RocketError(
                f"{self.config.datasets[0].path}: its frames are {found[0]}x{found[1]}, got data.frame_width x "
                f"data.frame_height = {self.config.frame_width}x{self.config.frame_height}. "
                f"Use data.frame_width={found[0]} data.frame_height={found[1]}, or rebuild the dataset."
            )

    def _make_loader(
        self, plan: SplitPlan, damage: DamageReport, *, augment: bool, only_epoch: int | None
    ) -> LaneLoader:
        config = self.config
        source = EpisodeSource(
            self.collection,
            seed=self.seed,
            enable_segment=config.enable_segment,
            augment=augment,
            watch_events=self.watch_events,
            num_kept=4 * config.batch_size + 16,
        )
        steps: Steps
        if isinstance(plan, MixedPlan) or plan.settings.contiguous:
            steps = LaneSteps(plan, self._rows, source)
        else:
            steps = ShuffledSteps(plan, self._rows, self.collection, source)
        return LaneLoader(
            steps,
            BatchLayout(config.batch_size, config.win_len, config.frame_height, config.frame_width),
            num_workers=config.num_workers,
            prefetch_factor=config.prefetch_factor,
            damage=damage,
            only_epoch=only_epoch,
            timeout_seconds=self.worker_timeout_seconds,
            cache=self._cache,
            on_start=pin if self._on_gpu else None,
        )

    @property
    def _on_gpu(self) -> bool:
        return self.trainer is not None and self.trainer.strategy.root_device.type == "cuda"

    @property
    def _cache(self) -> CacheSettings | None:
        if self.config.cache_dir is None:
            return None
        fingerprints = {one.path: one.info.fingerprint for one in self.collection.datasets}
        return CacheSettings(self.config.cache_dir, int(self.config.cache_gb * 1e9), fingerprints)

    def _num_unfinished(self) -> int:
        """Batches that were handed out but not trained on: one, where a checkpoint is made in mid-step."""
        if self.trainer is None or not self.trainer.training:
            return 0
        return batches_in_flight(self.trainer)
