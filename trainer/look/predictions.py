"""What a trained policy would have done on a few windows of validation, beside what the human did."""

from pathlib import Path

import numpy as np
import torch

from shards.display.footage import Stretch, goals_of
from shards.display.shown_frame import ShownAction
from shards.schedule.collection import Collection
from shards.schedule.goals import NO_GOAL
from trainer.build import build_data, load_policy
from trainer.checkpoints.checkpoint import read_checkpoint
from trainer.config import resolve_lanes
from trainer.data import actions
from trainer.data.layout import Batch
from trainer.policy.memory import LaneMemory
from trainer.settings import RunConfig

NUM_LANES, NUM_WINDOWS = 3, 3


def predict_windows(config: RunConfig, checkpoint: Path) -> list[list[Stretch]]:
    """The first windows of some validation lanes, by lane, each seen with the memory that the ones before left.

    The most likely action of each head is taken. It is computed on the CPU.
    """
    small = {"batch_size": NUM_LANES, "num_lanes": None, "num_lane_groups": None, "num_workers": 0}
    fixed = {**small, "augment": False, "episode_continuous_batch": True}
    config = resolve_lanes(config.model_copy(update={"data": config.data.model_copy(update=fixed)}), 1)
    policy = load_policy(config, checkpoint, read_checkpoint(checkpoint)).eval()
    data = build_data(config, rank=0, num_ranks=1)
    data.setup()
    loader = data.val_dataloader()
    if not len(loader):
        loader = data.train_dataloader()
    memory = LaneMemory(policy.initial_state, range(NUM_LANES))
    windows: list[list[Stretch]] = [[] for _ in range(NUM_LANES)]
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
                    window = _window(batch, guesses, lane, data.data.collection, config)
                    if window is not None:
                        windows[lane].append(window)
    finally:
        data.teardown()
    return [of_lane for of_lane in windows if of_lane]


def _window(
    batch: Batch, guesses: dict[str, torch.Tensor], lane: int, collection: Collection, config: RunConfig
) -> Stretch | None:
    """The lane's window of a batch; None where it is padding."""
    num_frames = int(batch["valid"][lane].sum())
    if not num_frames:
        return None
    dataset, episode = collection.locate(int(batch["episode"][lane]))
    start = int(batch["start_frame"][lane])
    buttons, camera = actions.to_env(guesses["buttons"][lane].numpy(), guesses["camera"][lane].numpy())
    remembers = config.trainer.memory == "carry" and not bool(batch["first"][lane, 0])
    if config.data.enable_segment:
        goals = goals_of(dataset, episode, seed=config.seed, epoch=0)
    else:
        goals = np.full(int(dataset.episodes.num_frames[episode]), NO_GOAL, np.int32)
    return Stretch(
        dataset,
        episode,
        start,
        start + num_frames,
        f"{dataset.episodes.ids[episode]}, frames {start}:{start + num_frames}",
        "kept" if remembers else "empty",
        goals,
        [
            ShownAction(buttons[place].astype(np.uint8), (float(camera[place, 0]), float(camera[place, 1])))
            for place in range(num_frames)
        ],
    )
