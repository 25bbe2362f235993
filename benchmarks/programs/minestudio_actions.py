"""Compare the actions that MineStudio's class takes with exported weights to those that were played.

From the repository's root, first here, then in the peers' environment (make bench makes it):

    python -m benchmarks.programs.minestudio_actions CHECKPOINT FOLDER [TASK]
    PYTHONPATH=.venv-bench/minestudio .venv-bench/bin/python -m benchmarks.programs.minestudio_actions FOLDER

The first plays an episode of the sample's game and leaves in FOLDER the exported weights, and for each frame what
the policy was shown, its action and its scores. The second gives the same observations, one by one, to
MineStudio's policy with its own memory and compares the likeliest actions.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch

from benchmarks.measure import answer

FRAMES_FILE = "frames.npz"


def play(checkpoint: Path, folder: Path, task: str) -> None:
    """An episode is played, and written down frame by frame, with the weights as MineStudio loads them."""
    from trainer.build import load_policy
    from trainer.checkpoints.checkpoint import read_checkpoint
    from trainer.checkpoints.transfer import export_policy
    from trainer.look.evaluate import checkpoint_config
    from trainer.play.rollout import EpisodePlan, Rollout
    from trainer.play.session import env_maker

    content = read_checkpoint(checkpoint)
    config = checkpoint_config(checkpoint, content)
    policy = load_policy(config, checkpoint, content).eval()
    frames: list[dict[str, Any]] = []
    choose, score = policy.get_action, policy.pi_head.forward

    def scores(latent: torch.Tensor) -> Any:
        logits = score(latent)
        frames.append({name: tensor.numpy() for name, tensor in logits.items()})
        return logits

    def remember(seen: dict[str, Any], memory: Any, **settings: Any) -> Any:
        chosen, after = choose(seen, memory, **settings)
        frames[-1] |= {"image": seen["image"].numpy(), **{k: v.numpy() for k, v in seen["segment"].items()}}
        frames[-1] |= {f"action_{name}": tensor.numpy() for name, tensor in chosen.items()}
        return chosen, after

    policy.get_action = remember  # type: ignore[method-assign]
    policy.pi_head.forward = scores  # type: ignore[method-assign]
    size = (config.data.frame_height, config.data.frame_width)
    plans = [EpisodePlan(task, 0)]
    rollout = Rollout(policy, env_maker("sample"), plans, num_lanes=1, frame_size=size, deterministic=True)
    outcome = [outcome for *_, outcome in rollout][-1]
    folder.mkdir(parents=True, exist_ok=True)
    export_policy(checkpoint, folder)
    np.savez(folder / FRAMES_FILE, **{name: np.stack([frame[name] for frame in frames]) for name in frames[0]})
    answer(frames=len(frames), success=bool(outcome and outcome.success))


@torch.no_grad()
def compare(folder: Path) -> None:
    """How many of MineStudio's actions are those that were played, and how far its scores are from them."""
    from minestudio.models.rocket_one.body import RocketPolicy

    create = timm.create_model  # its class always wants the hub's weights
    timm.create_model = lambda *words, **named: create(*words, **{**named, "pretrained": False})
    policy = RocketPolicy.from_pretrained(str(folder)).eval()
    memory = policy.initial_state(1)
    same, distances = 0, []
    played = np.load(folder / FRAMES_FILE)
    columns = {name: torch.from_numpy(played[name]) for name in played.files}
    num_frames = len(columns["image"])
    distinct: set[tuple[int, ...]] = set()
    for index in range(num_frames):
        frame = {name: column[index] for name, column in columns.items()}
        seen = {"image": frame["image"], "segment": {name: frame[name] for name in ("obj_id", "obj_mask")}}
        action, memory = policy.get_action(seen, memory, deterministic=True)
        names = ("buttons", "camera")
        same += all(torch.equal(action[name].flatten(), frame[f"action_{name}"].flatten()) for name in names)
        distinct.add(tuple(int(action[name]) for name in names))
        logits = policy.cache_latents["pi_logits"]
        distances.append(max(float((logits[name] - frame[name]).abs().max()) for name in names))
    answer(frames=num_frames, same=same, distinct_actions=len(distinct), largest_difference=max(distances))


if __name__ == "__main__":
    if len(sys.argv) == 2:
        compare(Path(sys.argv[1]))
    else:
        play(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else "bell")
