"""What a run takes of a GPU's memory: computed from the policy's shape, without a GPU."""

from __future__ import annotations

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
        lanes: of the memory of the rank's lanes, before and after the step, and their windows.
        activations: that the backward pass needs, of one lane.
        micro_lanes: lanes that are computed at once.
    """

    weights: int
    lanes: int
    activations: int
    micro_lanes: int

    @property
    def total(self) -> int:
        return self.weights + self.lanes + self.activations * self.micro_lanes + OTHER_BYTES

    def lanes_that_fit(self, num_bytes: float, num_lanes: int) -> int:
        """The most lanes at once, a divisor of the rank's, for which the memory suffices; 0 if none."""
        room = num_bytes - self.weights - self.lanes - OTHER_BYTES
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
        lanes=data.batch_size * ((2 * lane_bytes if carried else 0) + 2 * window_bytes),
        activations=activation_bytes(config, module),
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


def memory_lines(config: RunConfig, memory: GpuMemory, found: float | None) -> list[str]:
    """What a GPU needs, and what fits on cards.

    Args:
        found: bytes of the memory of this machine's GPUs, None without one.
    """
    num_lanes = config.data.batch_size
    cards = {f"{giga} GB": giga * 1e9 for giga in (24, 80)} | ({} if found is None else {"here": found})
    fits = {name: memory.lanes_that_fit(num_bytes, num_lanes) for name, num_bytes in cards.items()}
    shown = ", ".join(f"{name}: {lanes or 'none'}" for name, lanes in fits.items())
    parts = {
        "weights, gradients, AdamW, average": memory.weights,
        f"memory and windows of {num_lanes} lanes": memory.lanes,
        f"activations of {memory.micro_lanes} lanes at once": memory.micro_lanes * memory.activations,
        "others (a guess)": OTHER_BYTES,
    }
    lines = [
        f"GPU memory   {memory.total / 1e9:.1f} GB, computed and not measured",
        *(f"             {num_bytes / 1e9:5.1f}  {name}" for name, num_bytes in parts.items()),
        f"             lanes at once that fit (trainer.micro_lanes): {shown}",
    ]
    if found is not None and memory.total > found and fits["here"]:
        lines.append(f"             too much for the GPUs here: add trainer.micro_lanes={fits['here']}")
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
