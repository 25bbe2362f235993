"""What one training step reports and leaves behind, and its random seed."""

from dataclasses import dataclass, field

from torch import Tensor

from trainer.data.layout import Batch
from trainer.learning.objectives import Scale
from trainer.policy.memory import LaneMemory, Memory


@dataclass(frozen=True)
class StepReport:
    """What the last training step came to, over all ranks."""

    losses: dict[str, float]
    """`loss` and its parts."""
    gradient_norm: float
    learning_rate: float
    num_frames: float
    """Frames that counted, of all ranks."""
    stop_signal: int
    """Number of the signal that some rank received, 0 for none."""


@dataclass
class UnfinishedStep:
    """What a training step has computed and keeps until the optimizer has stepped."""

    batch: Batch
    scale: Scale
    memories: list[tuple[LaneMemory, Tensor, Memory]] = field(default_factory=list)
    """Each memory with lanes and what they are to remember."""
    figures: dict[str, Tensor] = field(default_factory=dict)
    """Scalars, summed over the micro-batches."""
    lane_losses: list[Tensor] = field(default_factory=list)
    """Of each micro-batch, one loss a lane."""
    lane_gradients: list[Tensor] = field(default_factory=list)
    """Of each micro-batch, the largest gradient a lane of what its frames became before the recurrent part."""
    lanes_to_reset: list[int] | None = None
    """Set where the step is skipped: the global lanes whose memory is emptied."""


def step_seed(seed: int, step: int, micro_batch: int) -> int:
    """A seed that differs for each (seed, step, micro-batch of the global batch): splitmix64 over the three."""
    state = 0
    for value in (seed, step, micro_batch):
        state = (state + value + 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
        state ^= state >> 31
    return state & 0x7FFFFFFFFFFFFFFF
