"""An episode's frames with all that is known of them, ready to be drawn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from shards.clip import Clip
from shards.display.shown_frame import ShownAction, ShownFrame, ShownMask, yuv_to_rgb
from shards.errors import RocketError
from shards.manifest import ClipRow
from shards.masks import decode_runs
from shards.reader import Dataset
from shards.schedule.goals import NO_GOAL
from shards.video import decode_yuv


def read_frames(
    dataset: Dataset, episode: int, frames: Sequence[int], goals: NDArray[np.int32] | None = None
) -> Iterator[ShownFrame]:
    """These frames of an episode, in ascending order.

    Args:
        frames: ascending numbers in the episode.
        goals: for every frame of the episode the interaction to show; None shows all candidates.

    Raises:
        RocketError: if the episode has no such frame.
        DamagedClip: if a clip's bytes are missing, changed or do not decode.
    """
    num_frames = int(dataset.episodes.num_frames[episode])
    for frame in frames:
        if not 0 <= frame < num_frames:
            raise RocketError(
                f"episode {dataset.episodes.ids[episode]}: no frame {frame}, expected 0 to {num_frames - 1}. "
                f"Use --frames 0:{num_frames}."
            )
    wanted = np.asarray(frames, np.int64)
    for row in dataset.clip_rows(episode):
        inside = wanted[(wanted >= row.start_frame) & (wanted < row.start_frame + row.num_frames)]
        if inside.size:
            yield from _read_clip(dataset, episode, row, (inside - row.start_frame).tolist(), goals)


def _read_clip(
    dataset: Dataset, episode: int, row: ClipRow, frames: list[int], goals: NDArray[np.int32] | None
) -> Iterator[ShownFrame]:
    """Frames of one clip; `frames` count from its start."""
    clip = dataset.read_clip(episode, row)
    first, stop = frames[0], frames[-1] + 1
    try:
        yuv = decode_yuv(clip.video, first, stop)
        for frame in frames:
            yield ShownFrame(
                episode_id=dataset.episodes.ids[episode],
                frame=row.start_frame + frame,
                rgb=yuv_to_rgb(yuv[frame - first : frame - first + 1])[0],
                action=ShownAction(
                    clip.arrays.buttons[frame],
                    (float(clip.arrays.camera[frame, 0]), float(clip.arrays.camera[frame, 1])),
                ),
                gui=bool(clip.arrays.gui[frame]),
                masks=list(
                    _masks(dataset, clip, frame, None if goals is None else int(goals[row.start_frame + frame]))
                ),
            )
    except (ValueError, IndexError) as error:
        if isinstance(error, RocketError):
            raise
        raise dataset.damaged(episode, row, str(error)) from error


def _masks(dataset: Dataset, clip: Clip, frame: int, goal: int | None) -> Iterator[ShownMask]:
    """All candidates' masks of a frame, or the goal's."""
    if goal == NO_GOAL:
        return
    arrays, info = clip.arrays, dataset.info
    for place in range(int(arrays.candidate_offsets[frame]), int(arrays.candidate_offsets[frame + 1])):
        interaction = int(arrays.candidate_interaction[place])
        if goal is None or interaction == goal:
            yield ShownMask(
                interaction=clip.info.interactions[interaction],
                mask=decode_runs(arrays.runs(place), info.frame_height, info.frame_width),
            )
