"""Answers, memory and gradients beside those that were recorded from MineStudio's class."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.gpu_check.bench import Bench, CannotRun, Found
from benchmarks.measure import ROOT
from trainer.learning.objectives import cloning_losses
from trainer.policy import RocketPolicy

GOLDEN = ROOT / "tests" / "trainer" / "policy" / "minestudio_golden.pt"
FLOAT32, BFLOAT16, GRADIENTS = 1e-4, 2e-2, 1e-3
"""The largest difference that is taken for rounding, as a share of the largest expected value."""


def parity_float32(bench: Bench) -> Found:
    """Answers, memory and gradients are MineStudio's, with TF32 off."""
    golden, policy = _golden(bench.device)
    answers = _difference_of_answers(golden, policy, bench.device)
    gradients = _difference_of_gradients(golden, policy, bench.device)
    return Found(
        f"answers and memory {answers:.0e}, gradients {gradients:.0e}",
        answers < FLOAT32 and gradients < GRADIENTS,
    )


def parity_bfloat16(bench: Bench) -> Found:
    golden, policy = _golden(bench.device)
    with torch.autocast(bench.device, torch.bfloat16):
        answers = _difference_of_answers(golden, policy, bench.device, with_memory=False)
    return Found(f"answers {answers:.0e}", answers < BFLOAT16)


def _golden(device: str) -> tuple[dict[str, Any], RocketPolicy]:
    if not GOLDEN.is_file():
        raise CannotRun(f"no {GOLDEN.relative_to(ROOT)}: run it from the repository")
    golden = torch.load(GOLDEN, weights_only=True)
    policy = RocketPolicy(**golden["cfg"], pretrained=False)
    policy.load_state_dict(golden["state_dict"])
    return golden, policy.to(device).eval()


def _window(golden: dict[str, Any], window: int, device: str) -> dict[str, Any]:
    image, mask, kind = (golden["inputs"][name][window].to(device) for name in ("image", "obj_mask", "obj_id"))
    return {"image": image, "segment": {"obj_mask": mask, "obj_id": kind}}


@torch.no_grad()
def _difference_of_answers(
    golden: dict[str, Any], policy: RocketPolicy, device: str, *, with_memory: bool = True
) -> float:
    """Over three windows with carried memory."""
    memory, worst = None, 0.0
    for window, expected in enumerate(golden["run_carry"]):
        latents, memory = policy(_window(golden, window, device), memory)
        stride = {"buttons": golden["button_stride"], "camera": 1}
        pairs = [(latents["pi_logits"][head][..., ::n], expected["pi_logits"][head]) for head, n in stride.items()]
        if with_memory:
            pairs += [(latents["vpred"], expected["vpred"]), *zip(memory, expected["memory"], strict=True)]
        worst = max([worst, *(_difference(got, wanted) for got, wanted in pairs)])
    return worst


def _difference_of_gradients(golden: dict[str, Any], policy: RocketPolicy, device: str) -> float:
    """Over two windows, in training mode without dropout."""
    without_dropout(policy.train())
    memory, inputs = None, golden["inputs"]
    for window in range(2):
        latents, memory = policy(_window(golden, window, device), memory)
        action = {name: inputs[f"action_{name}"][window].squeeze(-1).to(device) for name in ("buttons", "camera")}
        losses = cloning_losses(latents["pi_logits"], action, inputs["mask"][window].bool().to(device))  # type: ignore[arg-type]
        torch.autograd.backward(losses.total.sum(1).mean())
    gradients = {name: one.grad for name, one in policy.named_parameters() if one.grad is not None}
    return max(
        _difference(gradients[name], wanted) for name, wanted in golden["grads_train_bn"]["tensors"].items()
    )


def _difference(got: Tensor, wanted: Tensor) -> float:
    got, wanted = got.detach().cpu().double(), wanted.double()
    return float((got - wanted).abs().max() / wanted.abs().max().clamp_min(1e-30))


def without_dropout(policy: nn.Module) -> None:
    """The policy is deterministic in training mode."""
    for layer in policy.modules():
        if isinstance(layer, nn.Dropout):
            layer.p = 0.0
        elif isinstance(layer, nn.MultiheadAttention):
            layer.dropout = 0.0
