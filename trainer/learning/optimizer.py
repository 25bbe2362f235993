"""AdamW and its learning rate as a function of the step."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from trainer.settings import OptimizerConfig


def rate_share(step: int, settings: OptimizerConfig, num_steps: int) -> float:
    """Share of the full learning rate at a 0-based step of a run; 0 from its end on, unless constant."""
    warmed_up = min((step + 1) / max(settings.warmup_steps, 1), 1.0)
    if settings.schedule == "constant":
        return warmed_up
    decaying = max(num_steps - settings.warmup_steps, 1)
    done = min(max(step - settings.warmup_steps, 0) / decaying, 1.0)
    return warmed_up * (1.0 - done if settings.schedule == "linear" else (1.0 + math.cos(math.pi * done)) / 2)


def build_optimizer(
    parameters: Iterable[nn.Parameter], settings: OptimizerConfig, num_steps: Callable[[], int]
) -> dict[str, Any]:
    """AdamW and its learning rate, as Lightning takes them; the run's steps are known once its position is."""
    optimizer = torch.optim.AdamW(
        parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate_share(step, settings, num_steps()))
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def apply_settings(
    checkpoint: dict[str, Any], settings: OptimizerConfig, global_step: int, num_steps: int
) -> None:
    """The checkpoint's optimizer and schedule have this run's settings in place of those they were saved with."""
    rate = settings.learning_rate * rate_share(global_step, settings, num_steps)
    for group in checkpoint["optimizer_states"][0]["param_groups"]:
        group |= {"lr": rate, "initial_lr": settings.learning_rate, "weight_decay": settings.weight_decay}
    schedule = checkpoint["lr_schedulers"][0]
    schedule["base_lrs"] = [settings.learning_rate for _ in schedule["base_lrs"]]
    schedule["_last_lr"] = [rate for _ in schedule["base_lrs"]]


def match_layouts(optimizer: torch.optim.Optimizer) -> None:
    """The optimizer's averages have the layout of their parameters.

    A checkpoint from another kind of device may have others, which fused optimizers refuse.
    """
    for parameter, state in optimizer.state.items():
        for name, value in state.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                state[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
