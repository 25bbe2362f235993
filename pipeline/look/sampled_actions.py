"""The actions of a sample of clips: the manifest's sums do not say how far the camera moves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shards.clip import ClipArrays
from shards.errors import DamagedClip
from shards.schedule.collection import Collection

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


def sample_actions(collection: Collection, num_clips: int = NUM_CLIPS) -> SampledActions:
    """The actions of at most so many clips, evenly spread over the datasets.

    Raises:
        OSError: if the storage fails.
    """
    stops = np.cumsum(np.concatenate([one.episodes.num_clips for one in collection.datasets]))
    camera, damaged = [np.zeros((0, 2))], []
    for clip in np.unique(np.linspace(0, stops[-1] - 1, num_clips).round().astype(np.int64)).tolist():
        episode = int(np.searchsorted(stops, clip, side="right"))
        dataset, place = collection.locate(episode)
        row = dataset.clip_rows(place)[clip - int(stops[episode])]  # counted from the episode's end
        try:
            data = dataset.read_members(place, row, ("arrays",))["arrays"]
            camera.append(ClipArrays.from_bytes(data).camera)
        except DamagedClip as damage:
            damaged.append(damage)
        except ValueError as error:
            damaged.append(dataset.damaged(place, row, str(error)))
    return SampledActions(np.concatenate(camera), len(camera) - 1, damaged)
