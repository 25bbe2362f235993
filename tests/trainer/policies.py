"""Small policies and windows that the policy's tests share."""

import functools
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trainer.policy import RocketPolicy

SIZE = 32
TINY = {"backbone": "test_efficientnet", "hiddim": 32, "num_heads": 4, "num_layers": 2, "pretrained": False}


@functools.cache
def golden_recording() -> dict[str, Any]:
    """What MineStudio's class answered; see benchmarks/programs/minestudio_golden.py."""
    content = torch.load(Path(__file__).parent / "policy" / "minestudio_golden.pt", weights_only=True)
    weights = content["state_dict"].items()
    content["state_dict"] = {name: x.float() if x.is_floating_point() else x for name, x in weights}
    return content


def tiny_policy(
    timesteps: int = 8, mem_len: int = 8, double: bool = False, seed: int = 0, **settings: Any
) -> RocketPolicy:
    """A policy of 0.5 M parameters, in evaluation mode, whose every part matters to its output."""
    torch.manual_seed(seed)
    policy = RocketPolicy(**{**TINY, "timesteps": timesteps, "mem_len": mem_len, **settings}).eval()
    with torch.no_grad():
        for block in policy.recurrent.blocks:
            attention = block.r["orc_block"]
            # Fresh weights barely attend (muP): louder ones let a wrong mask show.
            for layer in (attention.q_layer, attention.k_layer, attention.r_layer):
                layer.weight *= 10
    return policy.double() if double else policy


def random_window(num_lanes: int, length: int, seed: int = 0, size: int = SIZE) -> dict[str, Any]:
    """Frames, masks and interaction types of nothing in particular."""
    random = torch.Generator().manual_seed(seed)
    return {
        "image": torch.randint(0, 256, (num_lanes, length, size, size, 3), dtype=torch.uint8, generator=random),
        "segment": {
            "obj_mask": torch.randint(0, 2, (num_lanes, length, size, size), dtype=torch.uint8, generator=random),
            "obj_id": torch.randint(-1, 7, (num_lanes, length), generator=random),
        },
    }


def cut(window: dict[str, Any], start: int, stop: int) -> dict[str, Any]:
    """Frames `start` to `stop` of every lane."""
    return {
        key: cut(value, start, stop) if isinstance(value, dict) else value[:, start:stop]
        for key, value in window.items()
    }


def lane(window: dict[str, Any], index: int) -> dict[str, Any]:
    """One lane of a window."""
    return {
        key: lane(value, index) if isinstance(value, dict) else value[index : index + 1]
        for key, value in window.items()
    }


def logits(output: tuple[dict[str, Any], list[Tensor]]) -> Tensor:
    """Both heads' logits and the value (B, T, ...) side by side."""
    latents = output[0]
    parts = [
        latents["pi_logits"]["buttons"].squeeze(-2),
        latents["pi_logits"]["camera"].squeeze(-2),
        latents["vpred"],
    ]
    return torch.cat(parts, dim=-1)


def relative_error(got: Tensor, expected: Tensor) -> float:
    """Largest difference as a share of the largest expected value."""
    got, expected = got.detach().double(), expected.detach().double()
    return float((got - expected).abs().max() / expected.abs().max().clamp_min(1e-30))
