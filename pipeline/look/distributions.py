"""What the manifest's sums do not say: interactions over an episode's time, and camera movements of a sample."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shards.clip import ClipArrays
from shards.errors import DamagedClip
from shards.reader import Dataset

NUM_CLIPS = 256
_MAX_BINS = 60
_MIN_BIN_FRAMES = 40
_FEW = 0.05
"""The chart ends where fewer episodes than this share, or than one, are still going on."""


@dataclass(frozen=True)
class Coverage:
    """Shares of frames by time since the episode's start.

    Attributes:
        edges_frames: bin i covers frames [edges[i], edges[i + 1]) of every episode that lasts so long.
        shares: for each interaction type, the share of a bin's frames that have a mask of it.
        num_episodes: episodes that reach a bin's start.
    """

    edges_frames: NDArray[np.int64]
    shares: Mapping[int, NDArray[np.float64]]
    num_episodes: NDArray[np.int64]


def coverage_of(*datasets: Dataset) -> Coverage:
    """The coverage of all episodes of some datasets."""
    lengths = np.sort(np.concatenate([one.episodes.num_frames for one in datasets]).astype(np.int64))
    end = int(lengths[max(0, int(len(lengths) * (1 - _FEW)) - 1)]) if len(lengths) else 1
    num_bins = max(1, min(_MAX_BINS, end // _MIN_BIN_FRAMES))
    edges = np.unique(np.linspace(0, end, num_bins + 1).round().astype(np.int64))
    covered: dict[int, NDArray[np.int64]] = {}
    groups = (group for one in datasets for group in one.episode_groups(["interactions", "candidate_runs"]))
    for table in groups:
        for type_id, frames in _covered(table, end).items():
            covered[type_id] = covered.get(type_id, np.zeros(end, np.int64)) + frames
    alive = len(lengths) - np.searchsorted(lengths, np.arange(end), side="right")
    total = np.maximum(np.add.reduceat(alive, edges[:-1]), 1) if len(edges) > 1 else np.ones(0, np.int64)
    return Coverage(
        edges_frames=edges,
        shares={type_id: np.add.reduceat(covered[type_id], edges[:-1]) / total for type_id in sorted(covered)},
        num_episodes=alive[edges[:-1]],
    )


def _covered(table: Any, end: int) -> dict[int, NDArray[np.int64]]:
    """For each type and each frame number below `end`, how many of the episodes have a mask of it there."""
    interactions = table["interactions"].combine_chunks()
    runs_column = table["candidate_runs"].combine_chunks()
    types = np.asarray(interactions.flatten().field("type"))
    first_of_episode = np.asarray(interactions.offsets)[:-1] - interactions.offsets[0].as_py()
    runs = runs_column.flatten()
    named = runs.field("interactions")
    num_named = np.diff(np.asarray(named.offsets))
    base = np.repeat(np.repeat(first_of_episode, np.diff(np.asarray(runs_column.offsets))), num_named)
    type_of_named = types[base + np.asarray(named.flatten())]
    run_of_named = np.repeat(np.arange(len(num_named)), num_named)
    starts = np.minimum(np.asarray(runs.field("start")), end)
    stops = np.minimum(np.asarray(runs.field("stop")), end)
    covered = {}
    for type_id in np.unique(types).tolist():
        mine = np.unique(run_of_named[type_of_named == type_id])  # a run counts once, however many it names
        steps = np.bincount(starts[mine], minlength=end + 1) - np.bincount(stops[mine], minlength=end + 1)
        covered[type_id] = np.cumsum(steps)[:end]
    return covered


@dataclass(frozen=True)
class SampledActions:
    """Actions of evenly spread clips.

    Attributes:
        camera: f64 (n, 2), degrees, [pitch, yaw].
        num_clips: how many clips that are.
        damaged: clips that could not be read.
    """

    camera: NDArray[np.float64]
    num_clips: int
    damaged: list[DamagedClip]


def sample_actions(*datasets: Dataset, num_clips: int = NUM_CLIPS) -> SampledActions:
    """The actions of at most so many clips, evenly spread over the datasets.

    Raises:
        OSError: if the storage fails.
    """
    totals = np.cumsum([0, *(int(one.episodes.num_clips.sum()) for one in datasets)])
    camera, damaged = [np.zeros((0, 2))], []
    places = np.linspace(0, totals[-1] - 1, min(num_clips, int(totals[-1]))).round().astype(np.int64)
    for place in np.unique(places).tolist():
        number = int(np.searchsorted(totals, place, side="right")) - 1
        dataset, clip = datasets[number], place - int(totals[number])
        episode = int(np.searchsorted(dataset.episodes.first_clip, clip, side="right")) - 1
        row = dataset.clip_rows(episode)[clip - int(dataset.episodes.first_clip[episode])]
        try:
            data = dataset.read_members(episode, row, ("arrays",))["arrays"]
            camera.append(ClipArrays.from_bytes(data).camera)
        except DamagedClip as damage:
            damaged.append(damage)
        except ValueError as error:
            damaged.append(dataset.damaged(episode, row, str(error)))
    return SampledActions(np.concatenate(camera), len(camera) - 1, damaged)
