"""What a full checkpoint holds beyond Lightning's, gathered from all ranks, given back to any number of them."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import torch

from trainer.checkpoints.checkpoint import FORMAT, Position, loop_state
from trainer.learning.step import warmup_share
from trainer.settings import OptimizerConfig

if TYPE_CHECKING:
    from trainer.learning.module import RocketModule


def gather_state(module: RocketModule) -> dict[str, Any]:
    """The checkpoint's entries between two steps; every rank must call it."""
    position = module.position
    return {
        "hyper_parameters": module.hyper_parameters(),
        "loops": {"fit_loop": loop_state(module.trainer.fit_loop.state_dict(), position)},
        "rocket": {
            "format": FORMAT,
            "position": asdict(position),
            "memories": {name: module.players.memory("train", name).gather() for name in module.players.names},
            "guard": module.guard.state_dict(),
            "counts": module.gather_counts(),
        },
    }


def restore_state(module: RocketModule, checkpoint: dict[str, Any]) -> None:
    """The module has this rank's part; the checkpoint's entries for Lightning say where and how to go on."""
    rocket = checkpoint["rocket"]
    for name in module.players.names:
        if name in rocket["memories"]:  # a teacher that is new starts from empty memories
            module.players.memory("train", name).load_state_dict(rocket["memories"][name])
    module.guard.load_state_dict(rocket["guard"])
    counts = rocket["counts"]
    if module.global_rank != 0:  # the sum over ranks must stay what it was
        counts = {name: torch.zeros_like(tensor) for name, tensor in counts.items()}
    module.counts.load_state_dict(counts)
    position = Position(**rocket["position"])
    checkpoint["loops"] = {"fit_loop": loop_state(module.trainer.fit_loop.state_dict(), position)}
    if module.config.optimizer.model_dump() != checkpoint["hyper_parameters"]["config"]["optimizer"]:
        _apply_settings(checkpoint, module.config.optimizer, position.global_step)


def _apply_settings(checkpoint: dict[str, Any], settings: OptimizerConfig, global_step: int) -> None:
    """Let this run's settings rule over those that optimizer and schedule were saved with."""
    rate = settings.learning_rate * warmup_share(global_step, settings.warmup_steps)
    for group in checkpoint["optimizer_states"][0]["param_groups"]:
        group |= {"lr": rate, "initial_lr": settings.learning_rate, "weight_decay": settings.weight_decay}
    schedule = checkpoint["lr_schedulers"][0]
    schedule["base_lrs"] = [settings.learning_rate for _ in schedule["base_lrs"]]
    schedule["_last_lr"] = [rate for _ in schedule["base_lrs"]]
