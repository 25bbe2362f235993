"""Record what MineStudio's ROCKET-1 class computes, small enough to lie beside the tests.

Run it in the peers' environment (make bench makes it), from the repository's root:

    PYTHONPATH=.venv-bench/minestudio .venv-bench/bin/python -m benchmarks.programs.minestudio_golden

It writes tests/trainer/policy/minestudio_golden.pt: a small policy's weights, inputs, and MineStudio's answers to
them over three windows with carried memory, with one lane reset, its losses and its gradients; and the names,
shapes and types of the full-size policy's weights. Weights are rounded to float16 before anything is computed, so
that the file holds them exactly in half the bytes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn

OUT = Path("tests/trainer/policy/minestudio_golden.pt")
POLICY = {
    "backbone": "test_efficientnet",  # efficientnet_b0's layers, fewer and narrower
    "hiddim": 32,
    "num_heads": 4,
    "num_layers": 2,
    "timesteps": 6,
    "mem_len": 6,
}
FULL_SIZE = {
    "backbone": "efficientnet_b0.ra_in1k",
    "hiddim": 1024,
    "num_heads": 8,
    "num_layers": 4,
    "timesteps": 128,
    "mem_len": 128,
}
NUM_WINDOWS, NUM_LANES, SIZE_PX = 3, 2, 32
NUM_BUTTONS, NUM_CAMERA, CAMERA_NULL = 8641, 121, 60
BUTTON_STRIDE = 30
"""One in so many button log-probabilities is recorded; each depends on all scores by the softmax."""
GRADIENTS = (
    "updim.weight",
    "interaction.weight",
    "pooling.layers.0.self_attn.in_proj_weight",
    "recurrent.blocks.0.r.orc_block.b_nd",
    "recurrent.blocks.0.r.orc_block.q_layer.weight",
    "recurrent.blocks.0.r.orc_block.k_layer.weight",
    "recurrent.blocks.1.mlp1.layer.weight",
    "lastlayer.layer.weight",
    "final_ln.weight",
    "pi_head.camera.linear_layer.weight",
)


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    policy = make_policy(POLICY)
    make_loud(policy)
    with torch.no_grad():
        for tensor in policy.state_dict().values():
            if tensor.is_floating_point():
                tensor.copy_(tensor.half().float())
    inputs = make_inputs()
    content = {
        "cfg": POLICY,
        "torch": str(torch.__version__),
        "timm": timm.__version__,
        "button_stride": BUTTON_STRIDE,
        "state_dict": {name: _small(tensor) for name, tensor in policy.state_dict().items()},
        "inputs": inputs,
        "run_carry": run(policy, inputs, None),
        "run_reset_w1": run(policy, inputs, 1),
        "run_reset_w2": run(policy, inputs, 2),
        "bc_loss": losses(policy, inputs),
        "grads_eval_bn": gradients(policy, inputs, train=False),
        "full_size": full_size(),
    }
    content["grads_train_bn"] = gradients(policy, inputs, train=True)  # it changes BatchNorm's statistics
    torch.save(content, OUT)
    print(f"{OUT}: {OUT.stat().st_size / 1e6:.2f} MB")


def make_policy(settings: dict[str, Any]) -> Any:
    from minestudio.models.rocket_one.body import RocketPolicy

    create = timm.create_model  # its class always wants the hub's weights
    timm.create_model = lambda *words, **named: create(*words, **{**named, "pretrained": False})
    try:
        return RocketPolicy(**settings).eval()
    finally:
        timm.create_model = create


def make_loud(policy: Any) -> None:
    """Every part matters to the output: fresh weights barely attend, and BatchNorm's statistics are 0 and 1."""
    with torch.no_grad():
        for block in policy.recurrent.blocks:
            attention = block.r.orc_block
            for layer in (attention.q_layer, attention.k_layer, attention.r_layer):
                layer.weight *= 10
        for layer in policy.modules():
            if isinstance(layer, nn.modules.batchnorm._BatchNorm):
                layer.running_mean.normal_(std=0.2)
                layer.running_var.uniform_(0.5, 1.5)
                layer.weight.uniform_(0.5, 1.5)
                layer.bias.normal_(std=0.2)


def make_inputs() -> dict[str, Tensor]:
    """Frames, masks, interaction types and actions (windows, lanes, frames, ...); some frames do not count."""
    draw = torch.Generator().manual_seed(1)
    shape = (NUM_WINDOWS, NUM_LANES, POLICY["timesteps"])
    camera = torch.randint(0, NUM_CAMERA, (*shape, 1), generator=draw)
    camera[:, :, ::3] = CAMERA_NULL
    return {
        "image": torch.randint(0, 256, (*shape, SIZE_PX, SIZE_PX, 3), dtype=torch.uint8, generator=draw),
        "obj_mask": torch.randint(0, 2, (*shape, SIZE_PX, SIZE_PX), dtype=torch.uint8, generator=draw),
        "obj_id": torch.randint(-1, 7, shape, generator=draw),
        "action_camera": camera,
        "action_buttons": torch.randint(0, NUM_BUTTONS, (*shape, 1), generator=draw),
        "mask": (torch.rand(shape, generator=draw) > 0.2).to(torch.uint8),
    }


def window_of(inputs: dict[str, Tensor], window: int) -> dict[str, Any]:
    return {
        "image": inputs["image"][window],
        "segment": {"obj_mask": inputs["obj_mask"][window], "obj_id": inputs["obj_id"][window]},
    }


@torch.no_grad()
def run(policy: Any, inputs: dict[str, Tensor], reset_window: int | None) -> list[dict[str, Any]]:
    """Answers and memory after each window; lane 1 starts again with an empty memory at `reset_window`."""
    memory, recorded = policy.initial_state(NUM_LANES), []
    for window in range(NUM_WINDOWS):
        if window == reset_window:
            empty = policy.initial_state(NUM_LANES)
            memory = [torch.stack([kept[0], new[1]]) for kept, new in zip(memory, empty, strict=True)]
        latents, memory = policy(window_of(inputs, window), memory)
        recorded.append(
            {
                "pi_logits": {
                    "buttons": latents["pi_logits"]["buttons"][..., ::BUTTON_STRIDE].clone(),
                    "camera": latents["pi_logits"]["camera"].clone(),
                },
                "vpred": latents["vpred"].clone(),
                "memory": [tensor.clone() for tensor in memory],
            }
        )
    return recorded


def imitation(policy: Any, latents: dict[str, Any], inputs: dict[str, Tensor], window: int) -> dict[str, Tensor]:
    """Losses and entropy as the tutorial's BehaviorClone sums them, by MineStudio's own heads."""
    action = {name: inputs[f"action_{name}"][window] for name in ("camera", "buttons")}
    counts = inputs["mask"][window]
    camera_counts = counts * (action["camera"] != CAMERA_NULL).squeeze(-1)
    logprob = policy.pi_head.logprob(action, latents["pi_logits"], return_dict=True)
    entropy = policy.pi_head.entropy(latents["pi_logits"], return_dict=True)
    camera = -(logprob["camera"] * camera_counts).sum(-1)
    buttons = -(logprob["buttons"] * counts).sum(-1)
    spread = (entropy["camera"] * camera_counts).sum(-1) + (entropy["buttons"] * counts).sum(-1)
    return {
        "loss": (camera + buttons).mean(),
        "camera_loss": camera.mean(),
        "button_loss": buttons.mean(),
        "entropy": spread.mean(),
    }


@torch.no_grad()
def losses(policy: Any, inputs: dict[str, Tensor]) -> list[dict[str, Tensor]]:
    memory, recorded = policy.initial_state(NUM_LANES), []
    for window in range(NUM_WINDOWS):
        latents, memory = policy(window_of(inputs, window), memory)
        recorded.append(imitation(policy, latents, inputs, window))
    return recorded


def gradients(policy: Any, inputs: dict[str, Tensor], train: bool) -> dict[str, Any]:
    """Gradients summed over two windows, without dropout; `train`: BatchNorm by the batch's own statistics."""
    policy.train(train)
    for module in policy.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        if isinstance(module, nn.MultiheadAttention):
            module.dropout = 0.0
    policy.zero_grad(set_to_none=True)
    memory, found = policy.initial_state(NUM_LANES), []
    for window in range(2):
        latents, memory = policy(window_of(inputs, window), memory)
        loss = imitation(policy, latents, inputs, window)["loss"]
        loss.backward()
        memory = [tensor.detach() for tensor in memory]
        found.append(loss.detach())
    grads = {name: parameter.grad for name, parameter in policy.named_parameters()}
    policy.eval()
    first = next(name for name in grads if name.startswith("backbone.") and grads[name] is not None)
    return {
        "losses": found,
        "norms": {name: None if grad is None else float(grad.norm()) for name, grad in grads.items()},
        "none": [name for name, grad in grads.items() if grad is None],
        "tensors": {name: grads[name] for name in (first, *GRADIENTS)},
        "bn_after": {name: b.clone() for name, b in policy.named_buffers() if "running_" in name} if train else {},
    }


def full_size() -> list[list[str]]:
    """Name, shape, type and kind of each weight of the policy at its full size."""
    policy = make_policy(FULL_SIZE)
    parameters = dict(policy.named_parameters())
    return [
        [
            name,
            str(tuple(tensor.shape)),
            str(tensor.dtype).removeprefix("torch."),
            "buffer"
            if name not in parameters
            else "param"
            if parameters[name].requires_grad
            else "param(no grad)",
        ]
        for name, tensor in policy.state_dict().items()
    ]


def _small(tensor: Tensor) -> Tensor:
    return tensor.half() if tensor.is_floating_point() else tensor


if __name__ == "__main__":
    main()
