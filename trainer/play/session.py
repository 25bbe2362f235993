"""`rocket-train play`: a checkpoint plays seeded episodes; rates, videos and recordings of them."""

import sys
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import numpy as np
import torch

from shards.clip import Interaction
from shards.display.drawing import draw_frame
from shards.display.film import FILM_WIDTH_PX, Film
from shards.display.shown_frame import ShownAction, ShownFrame, ShownMask
from shards.errors import RocketError, first_line
from shards.interaction_types import NO_INTERACTION
from trainer.build import load_policy
from trainer.checkpoints.checkpoint import read_checkpoint
from trainer.look.evaluate import checkpoint_config
from trainer.play.recording import EpisodeRecorder
from trainer.play.rollout import EpisodePlan, Outcome, PlayedFrame, PlaySettings, Rollout

_SECONDS_BETWEEN_LINES = 10
SHORT_NAMES = {"sample": "rocket1/Sample-v0", "minestudio": "rocket1/MineStudio-v0"}
"""Environments of ours; any other is named by its gymnasium id."""


def env_maker(name: str, where: str = "--env") -> Callable[[], Any]:
    """What makes a new environment of this name, which was given at `where`.

    Raises:
        RocketError: there is none, or it needs what is not installed.
    """
    import gymnasium

    env_id = SHORT_NAMES.get(name, name)
    if env_id not in gymnasium.registry:
        for plugin in entry_points(group="gymnasium.envs"):  # gymnasium itself loads none since 1.0
            plugin.load()()
    try:
        gymnasium.spec(env_id)
    except gymnasium.error.Error as error:
        raise RocketError(
            f"{where} {name}: gymnasium knows no such environment ({first_line(error)}). "
            f"Expected {', '.join(SHORT_NAMES)}, or an id that an installed package registers."
        ) from error
    return partial(gymnasium.make, env_id, disable_env_checker=True)


def play_checkpoint(
    path: Path,
    settings: PlaySettings,
    *,
    averaged: bool = False,
    video: Path | None = None,
    record: Path | None = None,
) -> list[Outcome]:
    """Play with a checkpoint's policy; the outcomes, in the order of the plans.

    Args:
        path: a checkpoint of rocket-train, full or weights only.
        video: folder for a video of each episode: mask, keys, how much the policy remembers.
        record: folder for the episodes as recordings.
    """
    content = read_checkpoint(path)
    config = checkpoint_config(path, content)
    policy = load_policy(config, path, content, averaged).eval()
    if config.trainer.accelerator != "cpu" and torch.cuda.is_available():
        policy = policy.cuda()
    torch.manual_seed(settings.seed)
    plans = settings.plans()
    rollout = Rollout(
        policy,
        env_maker(settings.env),
        plans,
        num_lanes=settings.num_lanes,
        frame_size=(config.data.frame_height, config.data.frame_width),
        forget_every=config.data.win_len if settings.memory == "reset" else None,
        deterministic=not settings.sampled,
    )
    outcomes: dict[int, Outcome] = {}
    writers: dict[int, _EpisodeFiles] = {}
    progress = _Progress(len(plans))
    try:
        for episode, frame, outcome in rollout:
            if episode not in writers:
                writers[episode] = _EpisodeFiles(plans[episode], video, record)
            writers[episode].add(frame)
            progress.step()
            if outcome is not None:
                writers.pop(episode).close(finished=True)
                outcomes[episode] = outcome
                progress.episode(outcome)
    finally:
        for unfinished in writers.values():
            unfinished.close(finished=False)
    return [outcomes[number] for number in range(len(plans))]


class _EpisodeFiles:
    """The video and the recording of one episode, as far as they are wanted."""

    def __init__(self, plan: EpisodePlan, video: Path | None, record: Path | None) -> None:
        self._plan = plan
        self._film = self._recorder = None
        if video is not None:
            video.mkdir(parents=True, exist_ok=True)
            self._film = Film(video / f"{plan.name}-{plan.seed}.mp4")
        if record is not None:
            record.mkdir(parents=True, exist_ok=True)
            self._recorder = EpisodeRecorder(record, plan)
        self._num_frames = 0

    def add(self, frame: PlayedFrame) -> None:
        if self._film is not None:
            self._film.add(draw_frame(self._shown(frame), FILM_WIDTH_PX))
        if self._recorder is not None:
            self._recorder.add(frame)
        self._num_frames += 1

    def close(self, finished: bool) -> None:
        for writer in (self._film, self._recorder):
            if writer is not None:
                writer.close(finished)

    def _shown(self, frame: PlayedFrame) -> ShownFrame:
        age = f"remembers {frame.memory_age} frames"
        masks = []
        if frame.obj_id != NO_INTERACTION:
            goal = Interaction(frame.obj_id, age, 0, 0)
            masks.append(ShownMask(goal, frame.mask.astype(bool)))
        action = ShownAction(frame.buttons, (float(frame.camera[0]), float(frame.camera[1])))
        name = f"{self._plan.name} {self._plan.seed}"
        return ShownFrame(name, self._num_frames, np.ascontiguousarray(frame.image), action, frame.gui, masks)


class _Progress:
    """How far the episodes are, on stderr."""

    def __init__(self, num_episodes: int) -> None:
        self._num_episodes, self._done, self._wins = num_episodes, 0, 0
        self._steps = self._steps_of_done = 0
        self._start = self._told = time.monotonic()

    def step(self) -> None:
        self._steps += 1

    def episode(self, outcome: Outcome) -> None:
        self._done += 1
        self._wins += outcome.success
        self._steps_of_done += outcome.num_steps
        now = time.monotonic()
        if now - self._told < _SECONDS_BETWEEN_LINES and self._done < self._num_episodes:
            return
        self._told = now
        rate = self._steps / (now - self._start)
        # Other episodes are on their way, so that time goes by steps.
        left = max(self._steps_of_done / self._done * self._num_episodes - self._steps, 0) / max(rate, 1e-9)
        sys.stderr.write(
            f"play: {self._done} of {self._num_episodes} episodes, {self._wins} won, {rate:.0f} actions/s, "
            f"{left:.0f} s left\n"
        )
