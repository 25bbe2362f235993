"""What a run takes of a GPU's memory: computed from the policy's shape, without a GPU."""

from collections.abc import Sequence
from dataclasses import dataclass

from trainer.data.layout import BatchLayout
from trainer.plan import PolicyFacts
from trainer.settings import RunConfig

_FLOAT_BYTES = 4
OTHER_BYTES = 2_000_000_000
"""CUDA's context, the libraries' workspaces and fragmentation: a guess, the only part that is not computed."""


@dataclass(frozen=True)
class GpuMemory:
    """Bytes on one GPU.

    Attributes:
        weights: of the policy, its gradients, AdamW's two moments and the average.
        lane: of one lane's memory, before and after the step, and its window.
        activations: that the backward pass needs, of one lane.
        num_lanes: of the rank.
        micro_lanes: lanes that are computed at once.
    """

    weights: int
    lane: int
    activations: int
    num_lanes: int
    micro_lanes: int

    @property
    def total(self) -> int:
        return self.weights + self.lane * self.num_lanes + self.activations * self.micro_lanes + OTHER_BYTES

    def lanes_that_fit(self, num_bytes: float, num_lanes: int) -> int:
        """The most lanes at once for which the memory suffices, a divisor of those of a rank; 0 if none."""
        room = num_bytes - self.weights - self.lane * num_lanes - OTHER_BYTES
        fitting = [n for n in range(1, num_lanes + 1) if num_lanes % n == 0 and n * self.activations <= room]
        return max(fitting, default=0)


def gpu_memory(config: RunConfig, policy: PolicyFacts) -> GpuMemory:
    """The memory of a run whose lanes are resolved, from all facts of its policy."""
    data = config.data
    average = policy.num_bytes if config.ema.enabled and not config.ema.cpu_offload else 0
    window_bytes = BatchLayout(1, data.win_len, data.frame_height, data.frame_width).slot_bytes
    assert policy.activation_bytes is not None
    return GpuMemory(
        weights=policy.num_bytes + 3 * policy.num_parameters * _FLOAT_BYTES + average,
        lane=(2 * config.lane_memory_bytes if config.carries_memory else 0) + 2 * window_bytes,
        activations=policy.activation_bytes,
        num_lanes=data.batch_size,
        micro_lanes=config.trainer.micro_lanes or data.batch_size,
    )


def memory_lines(memory: GpuMemory, num_lanes: int, gpus: Sequence[int]) -> list[str]:
    """What a GPU needs, what fits on cards, and what to set for the GPUs of this machine, given by their bytes.

    `num_lanes` are those of all ranks.
    """
    fits = {f"{giga} GB": memory.lanes_that_fit(giga * 1e9, memory.num_lanes) for giga in (24, 80)}
    parts = {
        "weights, gradients, AdamW, average": memory.weights,
        f"memory and windows of {memory.num_lanes} lanes": memory.lane * memory.num_lanes,
        f"activations of {memory.micro_lanes} lanes at once": memory.activations * memory.micro_lanes,
        "others (a guess)": OTHER_BYTES,
    }
    lines = [
        f"GPU memory   {memory.total / 1e9:.1f} GB, computed and not measured",
        *(f"             {num_bytes / 1e9:5.1f}  {name}" for name, num_bytes in parts.items()),
        "             lanes at once that fit (trainer.micro_lanes): "
        + ", ".join(f"{card}: {lanes or 'none'}" for card, lanes in fits.items()),
    ]
    if gpus:
        devices = max(n for n in range(1, len(gpus) + 1) if num_lanes % n == 0)
        at_once = memory.lanes_that_fit(min(gpus), num_lanes // devices)
        words = f"trainer.devices={devices} trainer.micro_lanes={at_once}" if at_once else "not even one lane fits"
        lines.append(f"             on the {len(gpus)} x {min(gpus) / 1e9:.0f} GB found here: {words}")
    return lines
