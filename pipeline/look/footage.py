"""An episode's frames with all that is known of them, ready to be drawn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shards.clip import Clip, Interaction
from shards.errors import RocketError
from shards.goals import NO_GOAL
from shards.manifest import ClipRow
from shards.masks import decode_runs
from shards.reader import Dataset
from shards.video import decode_yuv


@dataclass(frozen=True)
class ShownMask:
    """An interaction's mask in one frame.

    Attributes:
        mask: bool (height, width).
        point: (row, column) as fractions of the frame; NaN where unknown.
    """

    interaction: Interaction
    mask: NDArray[np.bool_]
    point: tuple[float, float]


@dataclass(frozen=True)
class ShownFrame:
    """One frame as it will be drawn.

    Attributes:
        frame: its number in the episode.
        rgb: u8 (height, width, 3).
        buttons: u8 (23,).
        camera: degrees, (pitch, yaw).
        masks: those of all candidates, or of the goal alone.
    """

    episode_id: str
    frame: int
    rgb: NDArray[np.uint8]
    buttons: NDArray[np.uint8]
    camera: tuple[float, float]
    gui: bool
    masks: Sequence[ShownMask]


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


def yuv_to_rgb(yuv: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Planar I420 u8 (n, height * 3 // 2, width) as RGB u8 (n, height, width, 3).

    BT.601, limited range, each colour sample for 2 x 2 pixels.
    """
    n, rows, width = yuv.shape
    height = rows // 3 * 2
    luma = (yuv[:, :height].astype(np.float32) - 16) * (255 / 219)
    planes = yuv[:, height:].reshape(n, 2, height // 2, width // 2).astype(np.float32) - 128
    blue, red = (planes[:, place].repeat(2, axis=1).repeat(2, axis=2) * (255 / 224) for place in (0, 1))
    rgb = np.stack((luma + 1.402 * red, luma - 0.344136 * blue - 0.714136 * red, luma + 1.772 * blue), axis=-1)
    pixels: NDArray[np.uint8] = np.clip(np.rint(rgb), 0, 255).astype(np.uint8)
    return pixels


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
                buttons=clip.arrays.buttons[frame],
                camera=(float(clip.arrays.camera[frame, 0]), float(clip.arrays.camera[frame, 1])),
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
                point=(float(arrays.candidate_point[place, 0]), float(arrays.candidate_point[place, 1])),
            )
