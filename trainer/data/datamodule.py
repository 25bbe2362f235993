"""The data module: datasets in, this rank's batches out, with the tutorial's parameters."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from lightning import LightningDataModule
from lightning.pytorch.loops.progress import _ProcessedTracker

from shards.errors import RocketError
from shards.schedule.collection import Collection, open_collection
from shards.schedule.lanes import LanePlan, lanes_of_rank
from shards.storage import CacheSettings
from trainer.data.damage import DamageReport
from trainer.data.layout import BatchLayout
from trainer.data.loader import LaneLoader
from trainer.data.pinned import InFlight, pin
from trainer.data.position import ScheduleKey
from trainer.data.shuffled import ShuffledPlan, ShuffledSteps
from trainer.data.source import EpisodeSource
from trainer.data.splits import SplitSettings, notes_on, plan_splits, shards_of_lanes
from trainer.data.steps import LaneSteps, Steps

_log = logging.getLogger(__name__)


class RocketDataModule(LightningDataModule):
    """Batches of contiguous windows, a lane a row; `layout.BatchLayout` says what they hold.

    Attributes:
        collection: the open datasets (after `setup`).
        plan, val_plan: the lanes of both splits (after `setup`).
        damage: what this rank lost to damage in training; `val_damage` in validation.
    """

    collection: Collection
    plan: LanePlan
    val_plan: LanePlan

    def __init__(
        self,
        datasets: Sequence[str],
        *,
        win_len: int = 128,
        frame_width: int = 224,
        frame_height: int = 224,
        enable_segment: bool = True,
        batch_size: int = 8,
        num_workers: int = 8,
        prefetch_factor: int = 4,
        split_ratio: float = 0.95,
        shuffle_episodes: bool = True,
        episode_continuous_batch: bool = True,
        num_lane_groups: int | None = None,
        augment: bool = False,
        max_damaged_windows: int = 0,
        num_lanes: int | None = None,
        seed: int = 0,
        watch_events: Sequence[str] = (),
        cache_dir: str | None = None,
        cache_gb: float = 100.0,
        rank: int | None = None,
        num_ranks: int | None = None,
        worker_timeout_seconds: float = 600.0,
    ) -> None:
        """Keep the settings; `setup` opens the datasets.

        Args:
            datasets: folders or addresses, read as one.
            win_len: frames of a window, the policy's timesteps.
            frame_width, frame_height: pixels; the datasets' own.
            enable_segment: give each frame its goal's mask and type; otherwise they are empty and -1.
            batch_size: lanes of one rank.
            num_workers: loader processes of one rank; with 0 the training process reads.
            prefetch_factor: windows that each of them keeps ready (two batches are, at least).
            split_ratio: share of the episodes that train.
            shuffle_episodes: draw the split and each epoch's order; otherwise both are as stored.
            episode_continuous_batch: lanes; otherwise shuffled windows without memory.
            num_lane_groups: groups of lanes that shards are tied to; one a rank where not given.
            augment: vary the pictures of training.
            max_damaged_windows: windows that damage may cost this rank before the run stops.
            num_lanes: lanes of all ranks; must be batch_size x ranks where given.
            watch_events: parts of event names that `watch` marks.
            cache_dir: folder on a local disk for copies of shards that lie at an address; none where not given.
            cache_gb: gigabytes that all copies in it may take.
            rank, num_ranks: this process's place; the trainer's where not given.
            worker_timeout_seconds: how long a loader process may take over one window.
        """
        super().__init__()
        self.datasets = [str(path) for path in datasets]
        self.win_len, self.frame_width, self.frame_height = win_len, frame_width, frame_height
        self.enable_segment, self.augment = enable_segment, augment
        self.batch_size, self.num_workers, self.prefetch_factor = batch_size, num_workers, prefetch_factor
        self.split_ratio, self.shuffle_episodes = split_ratio, shuffle_episodes
        self.episode_continuous_batch, self.num_lane_groups = episode_continuous_batch, num_lane_groups
        self.num_lanes, self.seed, self.watch_events = num_lanes, seed, tuple(watch_events)
        self.cache_dir, self.cache_gb = cache_dir, cache_gb
        self.rank, self.num_ranks = rank, num_ranks
        self.worker_timeout_seconds = worker_timeout_seconds
        self.damage, self.val_damage = DamageReport(max_damaged_windows), DamageReport(max_damaged_windows)
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
        self.collection = open_collection(self.datasets)
        self._check_size()
        self._make_plans(self.num_lane_groups or self._num_ranks)
        if self._rank == 0:
            for note in notes_on(self.plan):
                _log.warning(note)
        self._ready = True
        self.load_state_dict(self._saved or {})

    def train_dataloader(self) -> LaneLoader:
        """Batches of the training split, from the position on that was loaded, else from the beginning."""
        if self._loader is None:
            self._loader = self._make_loader(self.plan, self.damage, augment=self.augment, only_epoch=None)
            if self._saved is not None:
                self._loader.set_position(*self._key.position(self._saved))
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
        return self._key.state(*divmod(at, self.plan.num_steps))

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
        self._adopt_groups(state_dict.get("num_lane_groups"))
        position = self._key.position(state_dict)
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
    def _rank(self) -> int:
        return self.rank if self.rank is not None else (self.trainer.global_rank if self.trainer else 0)

    @property
    def _num_ranks(self) -> int:
        return self.num_ranks or (self.trainer.world_size if self.trainer else 1)

    @property
    def _num_lanes(self) -> int:
        num_lanes = self.batch_size * self._num_ranks
        if self.num_lanes not in (None, num_lanes):
            raise RocketError(
                f"data.num_lanes: {self._num_ranks} ranks of {self.batch_size} lanes are {num_lanes}, got "
                f"{self.num_lanes}. Leave one of data.num_lanes and data.batch_size out."
            )
        return num_lanes

    @property
    def _key(self) -> ScheduleKey:
        return ScheduleKey(
            fingerprint=self.collection.fingerprint,
            seed=self.seed,
            num_lanes=self._num_lanes,
            num_lane_groups=self.plan.num_groups,
            win_len=self.win_len,
            split_ratio=self.split_ratio,
            shuffle_episodes=self.shuffle_episodes,
            num_train_episodes=len(self.plan.episodes),
            episode_continuous_batch=self.episode_continuous_batch,
        )

    def _adopt_groups(self, num_groups: object) -> None:
        """Unless set, the number of groups is that of ranks when the run began, not of today's."""
        if self.num_lane_groups is not None or num_groups == self.plan.num_groups:
            return
        if isinstance(num_groups, int) and self._num_lanes % num_groups == 0:
            self.teardown()
            self._loader = self._val_loader = None
            self._make_plans(num_groups)

    def _make_plans(self, num_groups: int) -> None:
        settings = SplitSettings(
            split_ratio=self.split_ratio,
            shuffle_episodes=self.shuffle_episodes,
            episode_continuous_batch=self.episode_continuous_batch,
            num_lanes=self._num_lanes,
            win_len=self.win_len,
            seed=self.seed,
        )
        self.plan, self.val_plan = plan_splits(self.collection, settings, num_groups)
        lanes = lanes_of_rank(self._rank, self._num_ranks, self._num_lanes)
        self.collection.check_shards(shards_of_lanes(self.collection, (self.plan, self.val_plan), lanes))

    def _check_size(self) -> None:
        found = (self.collection.frame_width, self.collection.frame_height)
        if found != (self.frame_width, self.frame_height):
            raise RocketError(
                f"{self.datasets[0]}: its frames are {found[0]}x{found[1]}, got data.frame_width x "
                f"data.frame_height = {self.frame_width}x{self.frame_height}. "
                f"Use data.frame_width={found[0]} data.frame_height={found[1]}, or rebuild the dataset."
            )

    def _make_loader(
        self, plan: LanePlan, damage: DamageReport, *, augment: bool, only_epoch: int | None
    ) -> LaneLoader:
        source = EpisodeSource(
            self.collection,
            seed=self.seed,
            window_frames=self.win_len,
            enable_segment=self.enable_segment,
            augment=augment,
            watch_events=self.watch_events,
            num_kept=4 * self.batch_size + 16,
        )
        lanes = lanes_of_rank(self._rank, self._num_ranks, self._num_lanes)
        return LaneLoader(
            self._steps(plan, lanes, source),
            BatchLayout(self.batch_size, self.win_len, self.frame_height, self.frame_width),
            num_workers=self.num_workers,
            prefetch_factor=self.prefetch_factor,
            damage=damage,
            only_epoch=only_epoch,
            timeout_seconds=self.worker_timeout_seconds,
            cache=self._cache,
            on_start=pin if self._on_gpu else None,
        )

    @property
    def _on_gpu(self) -> bool:
        return self.trainer is not None and self.trainer.strategy.root_device.type == "cuda"

    def _steps(self, plan: LanePlan, lanes: Sequence[int], source: EpisodeSource) -> Steps:
        if not isinstance(plan, ShuffledPlan):
            return LaneSteps(plan, lanes, source)
        return ShuffledSteps(plan, lanes, self.collection, source, (self.collection.fingerprint, self.seed))

    @property
    def _cache(self) -> CacheSettings | None:
        if self.cache_dir is None:
            return None
        fingerprints = {one.path: one.info.fingerprint for one in self.collection.datasets}
        return CacheSettings(self.cache_dir, int(self.cache_gb * 1e9), fingerprints)

    def _num_unfinished(self) -> int:
        """Batches that were handed out but not trained on: one, where a checkpoint is made in mid-step."""
        if self.trainer is None or not self.trainer.training:
            return 0
        progress = self.trainer.fit_loop.epoch_loop.batch_progress.current
        assert isinstance(progress, _ProcessedTracker)
        return max(progress.ready - progress.processed, 0)
