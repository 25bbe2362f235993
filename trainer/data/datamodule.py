"""The data module: datasets in, this rank's batches out, with the tutorial's parameters."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from lightning import LightningDataModule

from shards.schedule.lanes import lanes_of_rank
from shards.schedule.mixing import MixedPlan
from shards.schedule.plan import SplitPlan
from shards.storage import CacheSettings
from trainer.data.damage import DamageReport
from trainer.data.layout import BatchLayout
from trainer.data.loader import LaneLoader
from trainer.data.pinned import InFlight, pin
from trainer.data.plan import DataPlan
from trainer.data.shuffled import ShuffledSteps
from trainer.data.source import EpisodeSource
from trainer.data.steps import LaneSteps
from trainer.lightning_parts import batches_in_flight
from trainer.settings import DataConfig


class RocketDataModule(LightningDataModule):
    """Batches of contiguous windows, a lane a row; `layout.Batch` says what they hold.

    Attributes:
        damage: what this rank lost to damage in training; `val_damage` in validation.
    """

    def __init__(
        self,
        config: DataConfig | None = None,
        *,
        data_params: Mapping[str, Any] | None = None,
        seed: int = 0,
        watch_events: Sequence[str] = (),
        rank: int | None = None,
        num_ranks: int | None = None,
        **settings: Any,
    ) -> None:
        """Keep the settings; `setup` opens the datasets.

        Args:
            config: the settings; or give them by name, in `data_params` or `settings`, as the tutorial does.
            seed: draws the split, each epoch's order, goals and augmentation.
            watch_events: parts of event names that `watch` marks.
            rank, num_ranks: this process's place; the trainer's where not given.

        Raises:
            SettingsError: a setting is unknown or has a wrong value.
        """
        super().__init__()
        self.config = config if config is not None else DataConfig.of_names(**(data_params or {}), **settings)
        self.seed, self.watch_events = seed, tuple(watch_events)
        self.rank, self.num_ranks = rank, num_ranks
        limit = self.config.max_damaged_windows
        self.damage, self.val_damage = DamageReport(limit), DamageReport(limit)
        self._loader: LaneLoader | None = None
        self._val_loader: LaneLoader | None = None
        self._saved: Mapping[str, Any] | None = None
        self._in_flight = InFlight()
        self._data: DataPlan | None = None

    def setup(self, stage: str | None = None) -> None:  # noqa: ARG002 (all stages need the same)
        """The datasets are open, split and planned, and this rank's shards are known to be there.

        Raises:
            RocketError: what is wrong with the datasets or does not fit them.
        """
        if self._data is None:
            self._use(DataPlan.open(self.config, self.seed, self._num_ranks))
            self.load_state_dict(self._saved or {})

    def train_dataloader(self) -> LaneLoader:
        """Batches of the training split, from the position on that was loaded, else from the beginning."""
        if self._loader is None:
            self._loader = self._make_loader(self.data.train, self.damage, validates=False)
            if self._saved is not None:
                self._loader.set_position(*self.data.saved_position(self._saved))
        return self._loader

    def val_dataloader(self) -> LaneLoader | list[Any]:
        """Batches of the validation split: the same windows and goals every time, never varied."""
        if not len(self.data.val.episodes):
            return []
        if self._val_loader is None:
            self._val_loader = self._make_loader(self.data.val, self.val_damage, validates=True)
        return self._val_loader

    def state_dict(self) -> dict[str, Any]:
        """The position of the next step to train, and what it is a position in; the same on every rank."""
        if self._loader is None:
            return dict(self._saved or {})
        epoch, step = self._loader.position
        at = epoch * self.data.train.num_steps + step - self._num_unfinished()
        return self.data.save_position(*divmod(at, self.data.train.num_steps))

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Training goes on at the saved position.

        Raises:
            RocketError: if it is a position in other data, lanes or windows.
        """
        if not state_dict:
            return
        self._saved = dict(state_dict)
        if self._data is None:
            return
        if self.config.num_lane_groups is None:
            data = self._data.with_groups(state_dict.get("num_groups"))
            if data is not self._data:
                self.teardown()
                self._loader = self._val_loader = None
                self._use(data)
        position = self.data.saved_position(state_dict)
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
    def data(self) -> DataPlan:
        """The open datasets and their plans (after `setup`)."""
        assert self._data is not None
        return self._data

    @property
    def lanes(self) -> range:
        """This rank's lanes in training."""
        return self.data.train.lanes_of_rows(self._rows)

    @property
    def _rows(self) -> range:
        return lanes_of_rank(self._rank, self._num_ranks, self.config.batch_size * self._num_ranks)

    @property
    def _rank(self) -> int:
        return self.rank if self.rank is not None else (self.trainer.global_rank if self.trainer else 0)

    @property
    def _num_ranks(self) -> int:
        return self.num_ranks or (self.trainer.world_size if self.trainer else 1)

    def _use(self, data: DataPlan) -> None:
        data.check_shards(self._rows)
        self._data = data

    def _make_loader(self, plan: SplitPlan, damage: DamageReport, *, validates: bool) -> LaneLoader:
        config = self.config
        source = EpisodeSource(
            self.data.collection,
            seed=self.seed,
            enable_segment=config.enable_segment,
            augment=config.augment and not validates,
            watch_events=self.watch_events,
            num_kept=4 * config.batch_size + 16,
        )
        steps: LaneSteps | ShuffledSteps
        if isinstance(plan, MixedPlan) or plan.settings.contiguous:
            steps = LaneSteps(plan, self._rows, source)
        else:
            steps = ShuffledSteps(plan, self._rows, self.data.collection, source)
        return LaneLoader(
            steps,
            BatchLayout(config.batch_size, config.win_len, config.frame_height, config.frame_width),
            num_workers=config.num_workers,
            prefetch_factor=config.prefetch_factor,
            damage=damage,
            only_epoch=0 if validates else None,
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
        fingerprints = {one.path: one.info.fingerprint for one in self.data.collection.datasets}
        return CacheSettings(self.config.cache_dir, int(self.config.cache_gb * 1e9), fingerprints)

    def _num_unfinished(self) -> int:
        """Batches that were handed out but not trained on: one, where a checkpoint is made in mid-step."""
        if self.trainer is None or not self.trainer.training:
            return 0
        return batches_in_flight(self.trainer)
