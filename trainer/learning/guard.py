"""Steps that must not reach the weights: a loss that is no number, or far above what it was."""

import math
from dataclasses import dataclass

from shards.errors import RocketError

WARMUP_STEPS = 100
"""Steps before a spike can be told from the fall of the first losses."""
HORIZON_STEPS = 100
"""Steps that the running mean looks back on, roughly."""


class AgreedStop(RocketError):
    """All ranks raise it alike; the main process reports it for all."""


class LossStop(AgreedStop):
    """Training cannot continue: the message names the step, the lane and the episode."""


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


@dataclass(frozen=True)
class BadStep:
    """A step whose loss or gradients must not reach the weights; every rank makes the same record of it."""

    step: int
    """Counted from 1."""
    problem: str
    """The guard's verdict."""
    lane: int
    """The lane at fault: with the largest loss, or the largest gradients where only they are bad."""
    episode: str
    start_frame: int
    stop_frame: int
    size: float
    """The sum of the lane's losses, or the largest of its gradients."""

    def __str__(self) -> str:
        return (
            f"step {self.step}: {self.problem}; the largest share has lane {self.lane}, episode {self.episode}, "
            f"frames {self.start_frame} to {self.stop_frame - 1} ({self.size:.4g})"
        )

    def stop(self) -> LossStop:
        """The exception for a run that stops at bad steps."""
        return LossStop(
            f"{self}. The weights are as before this step. Look at those frames with rocket-prep preview, lower "
            "optimizer.learning_rate, or skip such windows with trainer.on_bad_loss=skip; then --resume auto."
        )
