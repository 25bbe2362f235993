"""Training steps of ROCKET-1 at full size, ours or MineStudio's in one loop, with random weights and frames."""

from __future__ import annotations

import argparse
import os
import resource
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.measure import answer

FULL_SIZE = {
    "backbone": "efficientnet_b0.ra_in1k",
    "hiddim": 1024,
    "num_heads": 8,
    "num_layers": 4,
    "mem_len": 128,
}
SMALL = {"backbone": "test_efficientnet", "hiddim": 32, "num_heads": 4, "num_layers": 2, "mem_len": 8}
FULL_SIZE_PX, SMALL_PX = 224, 32
_MASK_THRESHOLD = 0.7


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("whose", choices=("rocket1", "MineStudio"))
    parser.add_argument("--lanes", type=int, default=1)
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--small", action="store_true", help="tiny: does it run?")
    parser.add_argument("--save", type=Path, help="leave weights, input and answer, for --compare")
    parser.add_argument("--compare", type=Path, help="take MineStudio's weights and compare the answers")
    options = parser.parse_args()
    torch.manual_seed(0)
    policy = make_policy(options.whose, {**(SMALL if options.small else FULL_SIZE), "timesteps": options.frames})
    given = make_input(options.lanes, options.frames, SMALL_PX if options.small else FULL_SIZE_PX)
    if options.save or options.compare:
        answer(**check_equal(policy, given, options.save, options.compare))
        return
    answer(**time_steps(policy.to(options.device), given, options))


def make_policy(whose: str, sizes: dict[str, Any]) -> Any:
    if whose == "rocket1":
        from trainer.policy import RocketPolicy

        return RocketPolicy(**sizes, pretrained=False)
    import timm
    from minestudio.models.rocket_one.body import RocketPolicy as TheirPolicy

    create = timm.create_model  # its class always wants the hub's weights; random ones take the same time
    timm.create_model = lambda *words, **settings: create(*words, **{**settings, "pretrained": False})
    return TheirPolicy(**sizes)


def make_input(lanes: int, frames: int, size_px: int) -> dict[str, Any]:
    """Planar YUV and packed masks for ours; the same as RGB and bytes for MineStudio's."""
    generator = torch.Generator().manual_seed(1)
    shape = (lanes, frames, size_px, size_px)
    image = torch.randint(0, 256, (*shape, 3), dtype=torch.uint8, generator=generator)
    planes = (lanes, frames, size_px * 3 // 2, size_px)
    yuv = torch.randint(16, 236, planes, dtype=torch.uint8, generator=generator)
    mask = torch.rand(shape, generator=generator) > _MASK_THRESHOLD
    weights = 2 ** torch.arange(7, -1, -1, dtype=torch.uint8)
    bits = (mask.reshape(lanes, frames, -1, 8) * weights).sum(-1, dtype=torch.uint8)
    return {
        "image": image,
        "yuv": yuv,
        "mask": mask.to(torch.uint8),
        "bits": bits,
        "obj_id": torch.randint(-1, 7, (lanes, frames), generator=generator),
        "buttons": torch.randint(0, 8641, (lanes, frames), generator=generator),
        "camera": torch.randint(0, 121, (lanes, frames), generator=generator),
    }


def policy_input(whose: str, given: dict[str, Any], device: str) -> dict[str, Any]:
    """What each policy is given by its own loader."""
    moved = {name: tensor.to(device, non_blocking=True) for name, tensor in given.items()}
    if whose == "rocket1":
        shape = moved["obj_id"].shape
        return {
            "yuv": moved["yuv"],
            "segment": {"obj_mask_bits": moved["bits"], "obj_id": moved["obj_id"]},
            "first": torch.zeros(shape, dtype=torch.bool, device=device),
            "valid": torch.ones(shape, dtype=torch.bool, device=device),
            "has_padding": False,
        }
    return {"image": moved["image"], "segment": {"obj_mask": moved["mask"], "obj_id": moved["obj_id"]}}


def time_steps(policy: Any, given: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    """Seconds and core-seconds of each step after two of warming up, and the peak of memory."""
    on_gpu = options.device != "cpu"
    optimizer = torch.optim.AdamW([p for p in policy.parameters() if p.requires_grad], lr=4e-5, weight_decay=1e-3)
    memory = [tensor.to(options.device) for tensor in policy.initial_state(options.lanes)]
    policy.train()
    seconds, core_seconds = [], []
    for step in range(options.steps + 2):
        _wait(on_gpu)
        start, cores = time.perf_counter(), sum(os.times()[:2])
        with torch.autocast("cuda", torch.bfloat16, enabled=on_gpu):
            latents, memory = policy(policy_input(options.whose, given, options.device), memory)
        loss = imitation_loss(latents["pi_logits"], given, options.device)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        memory = [tensor.detach() for tensor in memory]
        _wait(on_gpu)
        if step >= 2:
            seconds.append(time.perf_counter() - start)
            core_seconds.append(sum(os.times()[:2]) - cores)
    peak = (
        torch.cuda.max_memory_allocated() if on_gpu else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    )
    return {"seconds": seconds, "core_seconds": core_seconds, "peak_mb": peak / 2**20, "loss": float(loss)}


def imitation_loss(pi_logits: dict[str, Tensor], given: dict[str, Any], device: str) -> Tensor:
    """Both heads give log-probabilities (B, T, 1, actions)."""
    total: Any = 0.0
    for head in ("buttons", "camera"):
        chosen = given[head].to(device)[..., None]
        total = total - pi_logits[head].float().squeeze(-2).gather(-1, chosen).sum()
    loss: Tensor = total / given["buttons"].numel()
    return loss


def check_equal(policy: Any, given: dict[str, Any], save: Path | None, compare: Path | None) -> dict[str, Any]:
    """Two windows of the same RGB frames in evaluation mode; the second sees the first one's memory."""
    if compare:
        from trainer.weights import from_minestudio

        saved = torch.load(compare, weights_only=True)
        policy.load_state_dict(from_minestudio(saved["weights"]))
    policy.eval()
    lanes = given["obj_id"].shape[0]
    memory, answers = policy.initial_state(lanes), []
    segment = {"obj_mask": given["mask"], "obj_id": given["obj_id"]}
    with torch.no_grad():
        for _ in range(2):
            latents, memory = policy({"image": given["image"], "segment": segment}, memory)
            answers += [latents["pi_logits"][head].float() for head in ("buttons", "camera")]
    if save:
        torch.save({"weights": policy.state_dict(), "answers": answers}, save)
        return {}
    errors = [
        float((mine - theirs).abs().max() / theirs.abs().max())
        for mine, theirs in zip(answers, saved["answers"], strict=True)
    ]
    return {"largest_relative_error": max(errors)}


def _wait(on_gpu: bool) -> None:
    if on_gpu:
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
