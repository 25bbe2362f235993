"""Sums over episodes.parquet, taken row group by row group so that memory stays small and cores share the work."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from shards.reader import Dataset
from shards.vocabulary import BUTTONS

_COLUMNS = ("interactions", "candidate_runs", "recordings", "button_counts", "num_camera_frames", "num_gui_frames")
_MAX_THREADS = 8


@dataclass
class Tally:
    """What some episodes add up to.

    Attributes:
        interactions: number of interactions by type.
        type_frames: frames with at least one mask of that type.
        events: number of interactions by (type, event).
        num_masked_frames: frames with at least one interaction's mask.
        num_overlap_frames: frames with several.
        buttons: frames in which each of BUTTONS is down, i64 (23,).
        sources: recordings by source.
    """

    interactions: Counter[int] = field(default_factory=Counter)
    type_frames: Counter[int] = field(default_factory=Counter)
    events: Counter[tuple[int, str]] = field(default_factory=Counter)
    num_masked_frames: int = 0
    num_overlap_frames: int = 0
    buttons: NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(BUTTONS), np.int64))
    num_camera_frames: int = 0
    num_gui_frames: int = 0
    num_source_frames: int = 0
    sources: Counter[str] = field(default_factory=Counter)

    def add(self, other: Tally) -> None:
        """This tally counts the other's episodes, too."""
        for name, value in vars(other).items():
            if isinstance(value, Counter):
                getattr(self, name).update(value)
            else:
                setattr(self, name, getattr(self, name) + value)


def tally_of(dataset: Dataset) -> Tally:
    """The sums over all episodes of a dataset.

    Raises:
        OSError: if its storage fails.
    """
    num_groups = dataset.num_episode_groups
    num_threads = min(len(os.sched_getaffinity(0)), _MAX_THREADS, max(num_groups, 1))
    total = Tally()
    with ThreadPoolExecutor(num_threads) as threads:
        portions = [range(first, num_groups, num_threads) for first in range(num_threads)]
        for tally in threads.map(lambda groups: _tally_groups(dataset, groups), portions):
            total.add(tally)
    return total


def _tally_groups(dataset: Dataset, groups: Iterable[int]) -> Tally:
    tally = Tally()
    for table in dataset.episode_groups(groups, _COLUMNS):
        _add_interactions(tally, table)
        _add_rest(tally, table)
    return tally


def _add_interactions(tally: Tally, table: pa.Table) -> None:
    column = _array(table, "interactions")
    first_of_episode = np.asarray(column.offsets)[:-1] - column.offsets[0].as_py()
    interactions = column.flatten()
    types = np.asarray(interactions.field("type")).view(np.uint8)
    counts = np.bincount(types, minlength=256)
    known = np.flatnonzero(counts)
    names_of = known.astype(np.uint8).view(np.int8).tolist()  # -1 was 255
    kind_of_type = np.zeros(256, np.uint16)
    kind_of_type[known] = np.arange(len(known))
    kind = kind_of_type[types]
    tally.interactions.update(dict(zip(names_of, counts[known].tolist(), strict=True)))
    events = interactions.field("event").dictionary_encode()
    names = events.dictionary.to_pylist()
    pairs = np.bincount(kind.astype(np.int64) * len(names) + np.asarray(events.indices))
    for place in np.flatnonzero(pairs).tolist():
        tally.events[names_of[place // len(names)], names[place % len(names)]] += int(pairs[place])

    # Episode -> its runs -> their interactions (counted in the episode), all flat.
    runs_column = _array(table, "candidate_runs")
    runs = runs_column.flatten()
    lengths = (np.asarray(runs.field("stop")) - np.asarray(runs.field("start"))).astype(np.int64)
    named = runs.field("interactions")
    num_named = np.diff(np.asarray(named.offsets))
    base = np.repeat(np.repeat(first_of_episode, np.diff(np.asarray(runs_column.offsets))), num_named)
    bits = np.left_shift(np.uint16(1), kind)[base + np.asarray(named.flatten())]
    lengths, num_named = lengths[num_named > 0], num_named[num_named > 0]
    if not lengths.size:
        return
    kinds_of_run = np.bitwise_or.reduceat(bits, np.cumsum(num_named) - num_named)
    tally.num_masked_frames += int(lengths.sum())
    tally.num_overlap_frames += int(lengths[num_named > 1].sum())
    for place, type_id in enumerate(names_of):
        tally.type_frames[type_id] += int(lengths[kinds_of_run & (1 << place) != 0].sum())


def _add_rest(tally: Tally, table: pa.Table) -> None:
    recordings = _array(table, "recordings").flatten()
    tally.sources.update(recordings.field("source").to_pylist())
    tally.num_source_frames += _sum(recordings.field("num_source_frames"))
    buttons = np.asarray(_array(table, "button_counts").flatten()).reshape(-1, len(BUTTONS))
    tally.buttons += buttons.sum(axis=0, dtype=np.int64)
    tally.num_camera_frames += _sum(_array(table, "num_camera_frames"))
    tally.num_gui_frames += _sum(_array(table, "num_gui_frames"))


def _array(table: pa.Table, name: str) -> Any:
    return table[name].combine_chunks()


def _sum(values: Any) -> int:
    return int(np.asarray(values).sum(dtype=np.int64))
