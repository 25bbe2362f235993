"""Stretches of episodes, and their frames with all that is known of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from shards.clip import Clip
from shards.display.shown_frame import ShownAction, ShownFrame, ShownMask, yuv_to_rgb
from shards.manifest import ClipRow
from shards.masks import decode_runs
from shards.reader import Dataset
from shards.schedule.goals import choose_goals
from shards.video import decode_yuv

MEMORY_WORDS = {"": "", "empty": "memory starts empty", "kept": "memory kept"}


@dataclass(frozen=True)
class Stretch:
    """Frames [start, stop) of an episode that are shown under one heading.

    Attributes:
        memory: what the policy's memory holds before it; "" where there is no policy.
        goals: for every frame of the episode the interaction to show; None shows all candidates.
        predicted: what a policy would do in each frame of the stretch.
    """

    dataset: Dataset
    episode: int
    start: int
    stop: int
    heading: str
    memory: Literal["", "empty", "kept"] = ""
    goals: NDArray[np.int32] | None = None
    predicted: Sequence[ShownAction] = ()

    @property
    def caption(self) -> str:
        """The heading, and what memory holds."""
        return ", ".join(filter(None, (self.heading, MEMORY_WORDS[self.memory])))

    def frames(self, limit: int | None = None) -> Iterator[ShownFrame]:
        """The frames in order; evenly spaced ones where there are more than `limit`.

        Raises:
            DamagedClip: a clip's bytes are missing, changed or do not decode.
        """
        wanted = np.array(spaced(self.start, self.stop, limit), np.int64)
        for row in self.dataset.clip_rows(self.episode):
            inside = wanted[(wanted >= row.start_frame) & (wanted < row.start_frame + row.num_frames)]
            if inside.size:
                yield from self._of_clip(row, (inside - row.start_frame).tolist())

    def _of_clip(self, row: ClipRow, places: list[int]) -> Iterator[ShownFrame]:
        """Frames of one clip; `places` count from its start."""
        clip = self.dataset.read_clip(self.episode, row)
        arrays, first = clip.arrays, places[0]
        with self.dataset.naming(self.episode, row):
            yuv = decode_yuv(clip.video, first, places[-1] + 1)
            for place in places:
                frame = row.start_frame + place
                pitch, yaw = arrays.camera[place].tolist()
                yield ShownFrame(
                    episode_id=self.dataset.episodes.ids[self.episode],
                    frame=frame,
                    rgb=yuv_to_rgb(yuv[place - first]),
                    action=ShownAction(arrays.buttons[place], (pitch, yaw)),
                    gui=bool(arrays.gui[place]),
                    masks=[self._mask(clip, at) for at in self.shown(clip, place)],
                    predicted=self.predicted[frame - self.start] if self.predicted else None,
                )

    def shown(self, clip: Clip, place: int) -> list[int]:
        """The candidates to show in a clip's frame, by their number in the clip: all, or the goal's."""
        first, stop = clip.arrays.candidate_offsets[place : place + 2].tolist()
        goal = None if self.goals is None else self.goals[clip.info.start_frame + place]
        return [at for at in range(first, stop) if goal is None or clip.arrays.candidate_interaction[at] == goal]

    def _mask(self, clip: Clip, candidate: int) -> ShownMask:
        arrays, info = clip.arrays, self.dataset.info
        mask = decode_runs(arrays.runs(candidate), info.frame_height, info.frame_width)
        return ShownMask(clip.info.interactions[int(arrays.candidate_interaction[candidate])], mask)


def goals_of(dataset: Dataset, episode: int, *, seed: int, epoch: int) -> NDArray[np.int32]:
    """For every frame of an episode the interaction that is its goal in that epoch."""
    return choose_goals(
        dataset.candidate_runs(episode),
        int(dataset.episodes.num_frames[episode]),
        seed=seed,
        epoch=epoch,
        episode_id=dataset.episodes.ids[episode],
    )


def spaced(start: int, stop: int, limit: int | None) -> list[int]:
    """Frames of [start, stop): all, or `limit` evenly spaced ones with the first."""
    num_frames = stop - start
    if limit is None or num_frames <= limit:
        return list(range(start, stop))
    return [start + place * num_frames // limit for place in range(limit)]
