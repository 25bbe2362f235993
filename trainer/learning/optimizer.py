"""AdamW and its learning rate as a function of the step."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from trainer.settings import OptimizerConfig


def warmup_share(step: int, warmup_steps: int) -> float:
    """Share of the full learning rate at a 0-based step."""
    return min((step + 1) / max(warmup_steps, 1), 1.0)


def build_optimizer(parameters: Iterable[nn.Parameter], settings: OptimizerConfig, fused: bool) -> dict[str, Any]:
    """AdamW over the parameters and a linear warm-up, as Lightning takes them."""
    optimizer = torch.optim.AdamW(
        parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=fused
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: warmup_share(step, settings.warmup_steps))
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def apply_settings(checkpoint: dict[str, Any], settings: OptimizerConfig, global_step: int) -> None:
    """The checkpoint's optimizer and schedule have this run's settings in place of those they were saved with."""
    rate = settings.learning_rate * warmup_share(global_step, settings.warmup_steps)
    for group in checkpoint["optimizer_states"][0]["param_groups"]:
        group |= {"lr": rate, "initial_lr": settings.learning_rate, "weight_decay": settings.weight_decay}
    schedule = checkpoint["lr_schedulers"][0]
    schedule["base_lrs"] = [settings.learning_rate for _ in schedule["base_lrs"]]
    schedule["_last_lr"] = [rate for _ in schedule["base_lrs"]]
