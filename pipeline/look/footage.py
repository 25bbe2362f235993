"""Frames with all that is known of them, ready to be drawn: of an episode, or as a lane of training gets them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from pipeline.look.lane_plan import EpochPlan
from shards.clip import Clip
from shards.display.shown_frame import ShownAction, ShownFrame, ShownMask, yuv_to_rgb
from shards.errors import RocketError
from shards.manifest import ClipRow
from shards.masks import decode_runs
from shards.reader import Dataset
from shards.schedule.goals import NO_GOAL, choose_goals
from shards.schedule.lanes import Window
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


@dataclass(frozen=True)
class LaneStep:
    """One step of one lane; `window` is None where it is padding."""

    step: int
    window: Window | None
    episode_id: str | None

    @property
    def resets_memory(self) -> bool:
        """Whether the window begins an episode, so that nothing is remembered."""
        return self.window is not None and self.window.first

    def describe(self) -> str:
        """The step in words."""
        if self.window is None:
            return f"step {self.step}: padding, masked and without loss"
        memory = "memory starts empty" if self.window.first else "memory goes on"
        return f"step {self.step}: {self.episode_id}, frames {self.window.start}:{self.window.stop}, {memory}"


class LaneView:
    """The steps of one lane in an epoch, with the frames as the policy gets them (without augmentation)."""

    def __init__(self, plan: EpochPlan, lane: int) -> None:
        """Look at a lane of the plan.

        Raises:
            RocketError: if the plan has no such lane.
        """
        num_lanes = plan.settings.num_lanes
        if not 0 <= lane < num_lanes:
            raise RocketError(
                f"--lane: no lane {lane}, expected 0 to {num_lanes - 1}. Use --lanes for more lanes."
            )
        self.plan, self.lane = plan, lane
        # Validation shows the same goals every time.
        self._goal_epoch = 0 if plan.split == "val" else plan.epoch
        self.goals = lru_cache(maxsize=4)(self._choose_goals)

    def steps(self, start: int, stop: int) -> list[LaneStep]:
        """Steps [start, stop).

        Raises:
            RocketError: if the epoch has no such steps.
        """
        num_steps = self.plan.schedule.num_steps
        if not 0 <= start < stop <= num_steps:
            raise RocketError(
                f"--steps: got {start}:{stop}, expected steps of 0:{num_steps}. Use --steps 0:{min(8, num_steps)}."
            )
        steps = []
        for step in range(start, stop):
            window = self.plan.schedule.window(step, self.lane)
            name = None if window is None else self.plan.collection.episode_ids[window.episode]
            steps.append(LaneStep(step, window, name))
        return steps

    def frames(self, step: LaneStep, limit: int | None = None) -> Iterator[ShownFrame]:
        """The window's frames with their goals; evenly spaced ones where there are more than `limit`.

        Raises:
            DamagedClip: if a clip's bytes are missing, changed or do not decode.
        """
        if step.window is None:
            return iter(())
        chosen = spaced(step.window.start, step.window.stop, limit)
        dataset, episode = self.plan.collection.locate(step.window.episode)
        return read_frames(dataset, episode, chosen, self.goals(step.window.episode))

    def _choose_goals(self, episode: int) -> NDArray[np.int32]:
        """For every frame of an episode of the collection the interaction that is its goal."""
        dataset, place = self.plan.collection.locate(episode)
        return choose_goals(
            dataset.candidate_runs(place),
            int(dataset.episodes.num_frames[place]),
            seed=self.plan.settings.seed,
            epoch=self._goal_epoch,
            episode_id=dataset.episodes.ids[place],
        )


def spaced(start: int, stop: int, limit: int | None) -> list[int]:
    """Frames of [start, stop): all, or `limit` evenly spaced ones with the first."""
    num_frames = stop - start
    if limit is None or num_frames <= limit:
        return list(range(start, stop))
    return [start + place * num_frames // limit for place in range(limit)]
