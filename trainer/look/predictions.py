"""What a trained policy would have done on a few windows of validation, beside what the human did."""

# B lanes, T frames in the window
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from shards.clip import Interaction
from shards.display.player import Stretch
from shards.display.shown_frame import ShownAction, ShownFrame, ShownMask, yuv_to_rgb
from shards.interaction_types import NO_INTERACTION
from shards.reader import Dataset
from shards.schedule.collection import Collection
from shards.schedule.goals import NO_GOAL, choose_goals
from trainer.build import build_data, load_policy
from trainer.checkpoints.checkpoint import policy_state, read_checkpoint
from trainer.config import resolve_lanes
from trainer.data import actions
from trainer.data.layout import Batch
from trainer.policy.memory import LaneMemory
from trainer.settings import RunConfig

NUM_LANES, NUM_WINDOWS, FRAMES_OF_WINDOW = 3, 3, 6


@dataclass(frozen=True)
class PredictedWindow:
    """Frames of one window, each with the human's action and the policy's.

    Attributes:
        episode_id: the episode that the window is of.
        start, stop: its frames.
        remembers: whether the policy had seen frames of this episode before.
        frames: some of them, drawn in a strip.
        stretch: all of them, for the player.
    """

    episode_id: str
    start: int
    stop: int
    remembers: bool
    frames: list[ShownFrame]
    stretch: Stretch


def predict_windows(config: RunConfig, checkpoint: Path) -> list[list[PredictedWindow]]:
    """The first windows of some validation lanes, by lane, each seen with the memory that the ones before left.

    The most likely action of each head is taken. It is computed on the CPU.

    Args:
        config: the run's settings.
        checkpoint: weights of the run.

    Raises:
        RocketError: the weights do not fit or the datasets cannot be opened.
    """
    small = {"batch_size": NUM_LANES, "num_lanes": None, "num_lane_groups": None, "num_workers": 0}
    fixed = {**small, "augment": False, "episode_continuous_batch": True}
    config = resolve_lanes(config.model_copy(update={"data": config.data.model_copy(update=fixed)}), 1)
    content = read_checkpoint(checkpoint)
    policy = load_policy(config, checkpoint, policy_state(checkpoint, content)).eval()
    data = build_data(config, rank=0, num_ranks=1)
    data.setup()
    loader = data.val_dataloader()
    if not len(loader):
        loader = data.train_dataloader()
    memory = LaneMemory(policy.initial_state, range(NUM_LANES))
    windows: list[list[PredictedWindow]] = [[] for _ in range(NUM_LANES)]
    try:
        with torch.inference_mode():
            for _, batch in zip(range(NUM_WINDOWS), loader, strict=False):
                past = None if config.trainer.memory == "reset" else memory.fetch(batch["lane"], batch["first"])
                latents, after = policy(batch, past)
                memory.store(batch["lane"], after)
                guesses = {
                    head: latents["pi_logits"][head].squeeze(-2).argmax(-1) for head in ("buttons", "camera")
                }
                for lane in range(NUM_LANES):
                    window = _window(batch, guesses, lane, data.collection, config)
                    if window is not None:
                        windows[lane].append(window)
    finally:
        data.teardown()
    return [of_lane for of_lane in windows if of_lane]


def _window(
    batch: Batch,
    guesses: dict[str, torch.Tensor],
    lane: int,
    collection: Collection,
    config: RunConfig,
) -> PredictedWindow | None:
    """The lane's window of a batch; None where it is padding."""
    num_frames = int(batch["valid"][lane].sum())
    if not num_frames:
        return None
    episode, start = int(batch["episode"][lane]), int(batch["start_frame"][lane])
    episode_id, stop = collection.episode_ids[episode], start + num_frames
    chosen = [
        place * num_frames // min(FRAMES_OF_WINDOW, num_frames)
        for place in range(min(FRAMES_OF_WINDOW, num_frames))
    ]
    rgb = yuv_to_rgb(batch["yuv"][lane, chosen].numpy())
    buttons, camera = actions.to_env(guesses["buttons"][lane].numpy(), guesses["camera"][lane].numpy())
    frames = []
    for place, pixels in zip(chosen, rgb, strict=True):
        human = batch["env_action"]
        frames.append(
            ShownFrame(
                episode_id=episode_id,
                frame=start + place,
                rgb=pixels,
                action=_action(human["buttons"][lane, place].numpy(), human["camera"][lane, place].numpy()),
                gui=False,
                masks=_masks(batch, lane, place, config),
                predicted=_action(buttons[place], camera[place]),
            )
        )
    remembers = config.trainer.memory == "carry" and not bool(batch["first"][lane, 0])
    dataset, place = collection.locate(episode)
    stretch = Stretch(
        dataset,
        place,
        start,
        stop,
        f"{episode_id}, frames {start}:{stop}",
        "kept" if remembers else "empty",
        _goals(dataset, place, config),
        [_action(buttons[place], camera[place]) for place in range(num_frames)],
    )
    return PredictedWindow(episode_id, start, stop, remembers, frames, stretch)


def _goals(dataset: Dataset, episode: int, config: RunConfig) -> NDArray[np.int32]:
    """For every frame of an episode the interaction that validation shows."""
    num_frames, episode_id = int(dataset.episodes.num_frames[episode]), dataset.episodes.ids[episode]
    if not config.data.enable_segment:
        return np.full(num_frames, NO_GOAL, np.int32)
    runs = dataset.candidate_runs(episode)
    return choose_goals(runs, num_frames, seed=config.seed, epoch=0, episode_id=episode_id)


def _action(buttons: NDArray[Any], camera: NDArray[Any]) -> ShownAction:
    return ShownAction(buttons.astype(np.uint8), (float(camera[0]), float(camera[1])))


def _masks(batch: Batch, lane: int, place: int, config: RunConfig) -> list[ShownMask]:
    """The mask of the frame's goal, if it has one."""
    type_id = int(batch["segment"]["obj_id"][lane, place])
    if type_id == NO_INTERACTION:
        return []
    height, width = config.data.frame_height, config.data.frame_width
    bits = batch["segment"]["obj_mask_bits"][lane, place].numpy()
    mask = np.unpackbits(bits, count=height * width).reshape(height, width).astype(bool)
    return [ShownMask(Interaction(type_id, "", 0, 0), mask)]
