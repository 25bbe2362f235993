"""Camera movements of a sample of a dataset's clips, for distributions that the manifest does not hold."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shards.clip import ClipArrays
from shards.errors import DamagedClip
from shards.reader import Dataset

NUM_CLIPS = 256


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


def sample_actions(dataset: Dataset, num_clips: int = NUM_CLIPS) -> SampledActions:
    """The actions of at most so many clips, evenly spread over the dataset.

    Raises:
        OSError: if the storage fails.
    """
    table = dataset.episodes
    total = int(table.num_clips.sum())
    camera, damaged, done = [np.zeros((0, 2))], [], 0
    for place in np.unique(np.linspace(0, total - 1, min(num_clips, total)).round().astype(np.int64)).tolist():
        episode = int(np.searchsorted(table.first_clip, place, side="right")) - 1
        row = dataset.clip_rows(episode)[place - int(table.first_clip[episode])]
        try:
            data = dataset.read_members(episode, row, ("npz",))["npz"]
            camera.append(ClipArrays.from_npz(data).camera)
            done += 1
        except DamagedClip as damage:
            damaged.append(damage)
        except ValueError as error:
            damaged.append(dataset.damaged(episode, row, str(error)))
    return SampledActions(np.concatenate(camera), done, damaged)
