"""What a run takes of a GPU's memory: computed from the policy's shape, without a GPU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from trainer.policy import RocketPolicy
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


def gpu_memory(config: RunConfig) -> GpuMemory:
    """The memory of a run whose lanes are resolved; takes seconds."""
    data, policy = config.data, config.policy
    with torch.device("meta"):
        module = RocketPolicy(**config.policy_arguments(), pretrained=False)
    whole = sum(tensor.numel() * tensor.element_size() for tensor in module.state_dict().values())
    trained = sum(parameter.numel() for parameter in module.parameters()) * _FLOAT_BYTES
    average = whole if config.ema.enabled and not config.ema.cpu_offload else 0
    carried = config.trainer.memory == "carry" and data.episode_continuous_batch
    lane_bytes = policy.num_layers * policy.mem_len * (2 * policy.hiddim * _FLOAT_BYTES + 1)
    window_bytes = sum(tensor.numel() * tensor.element_size() for tensor in _tensors(_window(config)))
    return GpuMemory(
        weights=whole + 3 * trained + average,
        lane=(2 * lane_bytes if carried else 0) + 2 * window_bytes,
        activations=activation_bytes(config, module),
        num_lanes=data.batch_size,
        micro_lanes=config.trainer.micro_lanes or data.batch_size,
    )


def activation_bytes(config: RunConfig, policy: RocketPolicy) -> int:
    """What autograd keeps of one lane's forward pass for the backward pass, without computing anything.

    Layers that are checkpointed keep their inputs only; what one of them computes again comes on top.
    """
    from torch._subclasses.fake_tensor import FakeTensorMode

    policy.train()
    if config.trainer.activation_checkpointing:
        policy.enable_activation_checkpointing()
    kept: dict[int, tuple[torch.UntypedStorage, int]] = {}
    mixed = torch.autocast("cpu", torch.bfloat16, enabled=config.trainer.precision == "bf16-mixed")
    with FakeTensorMode(allow_non_fake_inputs=True):
        tensors: dict[str, Tensor] = {
            name: torch.nn.Parameter(torch.empty(one.shape, dtype=one.dtype))
            for name, one in policy.named_parameters()
        }
        tensors |= {name: torch.empty(one.shape, dtype=one.dtype) for name, one in policy.named_buffers()}
        own = {one.untyped_storage()._cdata for one in tensors.values()}

        def keep(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            if storage._cdata not in own:
                kept[storage._cdata] = (storage, storage.nbytes())  # the storage stays, so that its place does
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), mixed:
            torch.func.functional_call(policy, tensors, (_window(config), None))
    return sum(num_bytes for _, num_bytes in kept.values())


def memory_lines(memory: GpuMemory, num_lanes: int, gpus: Sequence[int]) -> list[str]:
    """What a GPU needs, what fits on cards, and what to set for the GPUs of this machine.

    Args:
        num_lanes: of all ranks.
        gpus: bytes of the memory of each GPU here.
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


def _window(config: RunConfig) -> dict[str, Any]:
    """One lane's window, as the policy gets it."""
    frames, height, width = config.data.win_len, config.data.frame_height, config.data.frame_width
    return {
        "yuv": torch.empty(1, frames, height * 3 // 2, width, dtype=torch.uint8),
        "segment": {
            "obj_mask_bits": torch.empty(1, frames, -(-height * width // 8), dtype=torch.uint8),
            "obj_id": torch.zeros(1, frames, dtype=torch.long),
        },
        "first": torch.zeros(1, frames, dtype=torch.bool),
        "valid": torch.ones(1, frames, dtype=torch.bool),
        "has_padding": False,
    }


def _tensors(window: dict[str, Any]) -> list[Tensor]:
    parts = [*window.values(), *window["segment"].values()]
    return [part for part in parts if isinstance(part, Tensor)]
