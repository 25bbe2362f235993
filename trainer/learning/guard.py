"""When a run must stop: a loss that is no number, or far above what it was."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from shards.errors import RocketError

WARMUP_STEPS = 100
"""Steps before a spike can be told from the fall of the first losses."""
HORIZON_STEPS = 100
"""Steps that the running mean looks back on, roughly."""


class LossStop(RocketError):
    """Training cannot go on: the message names the step, the lane and the episode."""


class RunInterrupted(RocketError):
    """The run was asked to stop (a signal) and has saved everything; `signal_number` says by which one."""

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.signal_number = signal_number


@dataclass
class LossGuard:
    """Judges each step's loss of the global batch before it changes any weight.

    Its state belongs into the checkpoint, so that a resumed run judges alike.
    """

    spike_factor: float | None
    mean: float = 0.0
    num_steps: int = 0

    def verdict(self, loss: float, gradient_norm: float) -> str | None:
        """What is wrong with this step, or None; a good loss enters the running mean."""
        if not math.isfinite(loss):
            return f"the loss is {loss}"
        if not math.isfinite(gradient_norm):
            return f"the gradients' norm is {gradient_norm}"
        if (
            self.spike_factor is not None
            and self.num_steps >= WARMUP_STEPS
            and loss > self.spike_factor * self.mean
        ):
            return f"the loss is {loss:.4g}, {loss / self.mean:.1f} times its running mean {self.mean:.4g}"
        self.num_steps += 1
        share = 1.0 / min(self.num_steps, HORIZON_STEPS)
        self.mean += share * (loss - self.mean)
        return None

    def state_dict(self) -> dict[str, Any]:
        return {"mean": self.mean, "num_steps": self.num_steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.mean, self.num_steps = float(state["mean"]), int(state["num_steps"])


def loss_stop(step: int, problem: str, where: str, frames: range, lane_loss: float) -> LossStop:
    """The exception for a refused step.

    Args:
        step: the refused step, counted from 1.
        problem: the guard's verdict.
        where: the lane with the largest loss, and its episode.
        frames: the frames of its window.
        lane_loss: the sum of its losses.
    """
    return LossStop(
        f"step {step}: {problem}; the largest share has {where}, frames {frames.start} to {frames.stop - 1} "
        f"(its sum of losses is {lane_loss:.4g}). The weights are as before this step. Look at those frames with "
        "rocket-prep preview, or lower optimizer.learning_rate, and go on with --resume auto."
    )
