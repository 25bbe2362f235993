"""A rank's batches in the order of the schedule, read ahead by loader processes into slots of shared memory.

    schedule -> tasks (a window each) -> loader processes -> slots -> batches (views of a slot)

A slot is used again as soon as nothing refers to its batch any more.
"""

import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor

from shards.errors import DamagedClip
from shards.schedule.lanes import Window
from shards.storage import CacheSettings
from trainer.data.damage import DamageReport, LostWindow
from trainer.data.fill import blank_row
from trainer.data.layout import Batch, BatchLayout
from trainer.data.pool import WorkerPool
from trainer.data.shuffled import ShuffledSteps
from trainer.data.source import Assignment
from trainer.data.steps import LaneSteps

_HELD_BATCHES = 2
"""Batches that the trainer may hold (the last one and the next) before a further one is copied."""


@dataclass
class _FillingSlot:
    """A slot that is being filled for a step."""

    slot: int
    epoch: int
    step: int
    turns: list[tuple[int, Assignment | None]]
    num_unread: int = 0
    damages: dict[int, DamagedClip] = field(default_factory=dict)  # by row


class LaneLoader:
    """Iterates over the batches of a rank's lanes; `len` is the steps of an epoch.

    Iterating begins at `position` and ends with the epoch; reading ahead does not stop there. With `only_epoch`,
    every iteration goes through that epoch from its beginning (validation).

    Attributes:
        position: (epoch, step) of the next batch that is handed out.
        damage: what was lost so far.
        seconds_waited: how long batches were waited for so far.
    """

    def __init__(
        self,
        steps: LaneSteps | ShuffledSteps,
        layout: BatchLayout,
        *,
        num_workers: int,
        prefetch_factor: int,
        damage: DamageReport,
        only_epoch: int | None = None,
        cache: CacheSettings | None = None,
        on_start: Callable[[Tensor], Callable[[], None]] | None = None,
    ) -> None:
        """Start nothing yet: loader processes start with the first iteration.

        Args:
            prefetch_factor: windows that each loader process keeps ready; two batches are, at least.
            on_start: called with the memory of all slots when they are made; what it returns undoes it.
        """
        self.steps, self._layout = steps, layout
        self._num_workers, self._cache = num_workers, cache
        self._num_ahead = max(2, -(-num_workers * prefetch_factor // layout.num_rows)) if num_workers else 1
        self._only_epoch = only_epoch
        self.damage = damage
        self.seconds_waited = 0.0
        self._on_start = on_start
        self._at = 0 if only_epoch is None else only_epoch * steps.num_steps  # steps since the first epoch's start
        self._next = self._at  # the next step to read
        self._pool: WorkerPool | None = None
        self._close: weakref.finalize | None = None  # type: ignore[type-arg]
        self._free: deque[int] = deque()
        self._filling: deque[_FillingSlot] = deque()
        self._num_held = 0

    def __len__(self) -> int:
        return self.steps.num_steps

    @property
    def position(self) -> tuple[int, int]:
        return divmod(self._at, self.steps.num_steps)

    def set_position(self, epoch: int, step: int) -> None:
        """The next batch is that of this step of this epoch."""
        self._at = epoch * self.steps.num_steps + step

    def __iter__(self) -> Iterator[Batch]:
        if self.steps.num_steps == 0:
            return
        if self._only_epoch is not None:
            self._at = self._only_epoch * self.steps.num_steps
        end = (self._at // self.steps.num_steps + 1) * self.steps.num_steps
        try:
            while self._at < end:
                began = time.perf_counter()
                batch = self._take(self._at, end)
                self._at += 1
                self.seconds_waited += time.perf_counter() - began
                yield batch
        finally:
            if self._only_epoch is not None:
                self.close()

    def close(self) -> None:
        """All loader processes have ended; a later iteration starts new ones."""
        if self._close is not None:
            self._close()
        self._pool = self._close = None
        self._free, self._num_held = deque(), 0
        self._filling.clear()

    def _take(self, at: int, end: int) -> Batch:
        """The batch of that step; reading ahead goes on behind it."""
        if self._pool is None:
            self._start()
            self._next = at
        if self._next - len(self._filling) != at:
            self._discard()
            self._next = at
        self._read_ahead(end)
        while self._filling[0].num_unread:
            self._collect()
        batch = self._hand_out(self._filling.popleft())
        self._read_ahead(end)
        return batch

    def _start(self) -> None:
        # The trainer holds two batches only for the moment in which it asks for the next.
        num_slots = max(self._num_ahead, _HELD_BATCHES) + 1
        pool = WorkerPool(self._layout, num_slots, self._num_workers, self._cache)
        self._pool, self._free = pool, deque(range(num_slots))
        undo = None
        if self._on_start is not None:
            undo = self._on_start(torch.from_numpy(pool.slots.whole()))
        self._close = weakref.finalize(self, _close_all, pool, undo)

    def _read_ahead(self, end: int) -> None:
        """Every free slot has a step to be read, up to as many as are kept ready."""
        while self._free and len(self._filling) < self._num_ahead:
            if self._only_epoch is not None and self._next >= end:
                return
            epoch, step = divmod(self._next, self.steps.num_steps)
            turns = self.steps.read(epoch, step)
            self._submit(_FillingSlot(self._free.popleft(), epoch, step, turns))
            self._next += 1

    def _submit(self, filling: _FillingSlot) -> None:
        assert self._pool is not None
        self._filling.append(filling)
        for row, (lane, assignment) in enumerate(filling.turns):
            view = self._pool.slots.row(filling.slot, row)
            _describe(view, lane, None if assignment is None else assignment.window)
            if assignment is None:
                blank_row(view, 0, masks=False)
                continue
            num_frames = len(assignment.types)
            view["segment/obj_id"][:num_frames] = assignment.types
            view["watch"][:num_frames] = assignment.watched
            self._pool.submit(filling.slot, row, assignment.task)
            filling.num_unread += 1

    def _collect(self) -> None:
        assert self._pool is not None
        for slot, row, damage in self._pool.collect():
            filling = next(one for one in self._filling if one.slot == slot)
            filling.num_unread -= 1
            if damage is not None:
                filling.damages[row] = damage

    def _discard(self) -> None:
        """What was read ahead is forgotten, once the processes have let go of it."""
        for filling in self._filling:
            while filling.num_unread:
                self._collect()
            self._free.append(filling.slot)
        self._filling.clear()

    def _hand_out(self, filling: _FillingSlot) -> Batch:
        assert self._pool is not None
        memory = self._pool.slots.slot(filling.slot)
        fields = self._layout.views(memory)
        for row, damage in sorted(filling.damages.items()):
            fields["damaged"][row] = True
            fields["segment/obj_id"][row], fields["watch"][row] = -1, False
            lane, assignment = filling.turns[row]
            assert assignment is not None
            place = f"Epoch {filling.epoch}, step {filling.step}, lane {lane}"
            self.damage.add(LostWindow(len(assignment.types), damage), assignment.window.start, place)
        tensors = {name: torch.from_numpy(array) for name, array in fields.items()}
        if self._num_held >= _HELD_BATCHES:  # somebody collects batches: their memory must be their own
            tensors = {name: tensor.clone() for name, tensor in tensors.items()}
            self._free.append(filling.slot)
        else:
            self._num_held += 1
            # The tensors' arrays refer to `memory` itself: it goes with the last of them.
            last = weakref.finalize(memory, _give_back, weakref.ref(self), weakref.ref(self._pool), filling.slot)
            last.atexit = False
        return _as_batch(tensors, filling.epoch, filling.step)


def _close_all(pool: WorkerPool, undo: Callable[[], None] | None) -> None:
    pool.close()
    if undo is not None:
        undo()


def _give_back(loader_ref: Callable[[], LaneLoader | None], pool_ref: Callable[[], Any], slot: int) -> None:
    loader, pool = loader_ref(), pool_ref()
    if loader is not None and pool is not None and loader._pool is pool:
        loader._num_held -= 1
        loader._free.append(slot)


def _describe(row: dict[str, Any], lane: int, window: Window | None) -> None:
    """The row says which window it is; all its frames are without goal so far."""
    row["lane"][...] = lane
    row["episode"][...] = -1 if window is None else window.episode
    row["start_frame"][...] = 0 if window is None else window.start
    row["stop_frame"][...] = 0 if window is None else window.stop
    row["index"][...] = 0 if window is None else window.index
    row["last"][...] = window is not None and window.last
    row["first"][:] = False
    row["first"][0] = window is not None and window.first
    row["damaged"][...] = False
    row["segment/obj_id"][:] = -1
    row["watch"][:] = False


def _as_batch(tensors: dict[str, Tensor], epoch: int, step: int) -> Batch:
    """The fields under their nested names, and the step that they are of."""
    batch: dict[str, Any] = {}
    for name, tensor in tensors.items():
        outer, _, inner = name.rpartition("/")
        (batch.setdefault(outer, {}) if outer else batch)[inner] = tensor
    return cast(Batch, batch | {"step": torch.tensor(step), "epoch": torch.tensor(epoch)})
