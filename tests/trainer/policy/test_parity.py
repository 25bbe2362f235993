"""The policy computes what MineStudio's class computed: weights, inputs and outputs were recorded from it.

benchmarks/programs/minestudio_golden.py made the recording that lies beside this file; another one, with the real
backbone, is read where the folder of reference outputs is.
"""

from typing import Any

import pytest
import torch
from torch import Tensor

from tests.trainer.policies import golden_recording, lane, relative_error
from trainer.learning.objectives import camera_mask, cloning_losses, counted, entropies
from trainer.policy import RocketPolicy

TOLERANCE = 1e-4


@pytest.fixture(scope="module", params=["golden", "shared"])
def recorded(request: pytest.FixtureRequest) -> dict[str, Any]:
    if request.param == "golden":
        return golden_recording()
    return torch.load(request.getfixturevalue("shared") / "parity" / "parity_small.pt", weights_only=True)


@pytest.fixture
def policy(recorded: dict[str, Any]) -> RocketPolicy:
    policy = RocketPolicy(**recorded["cfg"], pretrained=False)
    policy.load_state_dict(recorded["state_dict"], strict=True)
    return policy.eval()


def window_of(recorded: dict[str, Any], window: int, key: str = "segment") -> dict[str, Any]:
    inputs = recorded["inputs"]
    return {
        "image": inputs["image"][window],
        key: {"obj_mask": inputs["obj_mask"][window], "obj_id": inputs["obj_id"][window]},
    }


def stored(latents: dict[str, Any], head: str, recorded: dict[str, Any]) -> Tensor:
    """The log-probabilities that a recording holds: of the buttons maybe one in so many."""
    stride = recorded.get("button_stride", 1) if head == "buttons" else 1
    return latents["pi_logits"][head][..., ::stride]


def imitation(latents: dict[str, Any], recorded: dict[str, Any], window: int) -> dict[str, Tensor]:
    """Losses and entropy of training, summed over a lane's frames as MineStudio's BehaviorClone does."""
    inputs = recorded["inputs"]
    action = {head: inputs[f"action_{head}"][window].squeeze(-1) for head in ("buttons", "camera")}
    valid_BT = inputs["mask"][window].bool()
    losses = cloning_losses(latents["pi_logits"], action, valid_BT)
    buttons_BT, camera_BT = entropies(latents["pi_logits"])
    entropy_BT = counted(buttons_BT, valid_BT) + counted(camera_BT, camera_mask(action, valid_BT))
    sums = {"camera_loss": losses.camera, "button_loss": losses.buttons, "entropy": entropy_BT}
    means = {name: by_frame_BT.sum(-1).mean() for name, by_frame_BT in sums.items()}
    return {"loss": means["camera_loss"] + means["button_loss"], **means}


@pytest.mark.parametrize(("run", "reset_window"), [("run_carry", None), ("run_reset_w1", 1), ("run_reset_w2", 2)])
@torch.no_grad()
def test_outputs_and_memory_equal_minestudios_over_three_windows(policy, recorded, run, reset_window):
    memory = policy.initial_state(2)
    for window in range(3):
        given = window_of(recorded, window)
        given["first"] = torch.zeros(given["image"].shape[:2], dtype=torch.bool)
        if window == reset_window:
            given["first"][1, 0] = True
        latents, memory = policy(given, memory)
        expected = recorded[run][window]
        for head in ("buttons", "camera"):
            got = stored(latents, head, recorded)
            assert relative_error(got, expected["pi_logits"][head]) < TOLERANCE
        assert relative_error(latents["vpred"], expected["vpred"]) < TOLERANCE
        for got, remembered in zip(memory, expected["memory"], strict=True):
            assert got.shape == remembered.shape
            assert got.dtype == remembered.dtype
            assert relative_error(got, remembered) < TOLERANCE


@torch.no_grad()
def test_empty_memory_resets_a_lane_as_first_does(policy, recorded):
    _, memory = policy(window_of(recorded, 0), None)
    memory = [
        torch.stack([kept[0], empty[1]]) for kept, empty in zip(memory, policy.initial_state(2), strict=True)
    ]
    latents, _ = policy(window_of(recorded, 1, key="segmentation"), memory)
    expected = recorded["run_reset_w1"][1]["pi_logits"]["buttons"]
    assert relative_error(stored(latents, "buttons", recorded), expected) < TOLERANCE


def test_recording_would_show_a_memory_that_is_not_carried_or_not_reset(recorded):
    carried, reset = (recorded[run][1]["pi_logits"]["buttons"] for run in ("run_carry", "run_reset_w1"))
    assert relative_error(reset[0], carried[0]) == 0
    assert relative_error(reset[1], carried[1]) > 100 * TOLERANCE


@torch.no_grad()
def test_loss_and_entropy_equal_minestudios(policy, recorded):
    memory = None
    for window in range(3):
        latents, memory = policy(window_of(recorded, window), memory)
        got = imitation(latents, recorded, window)
        for name, value in got.items():
            assert relative_error(value, recorded["bc_loss"][window][name]) < TOLERANCE, name


@pytest.mark.parametrize("mode", ["eval_bn", "train_bn"])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_gradients_equal_minestudios_over_two_windows(policy, recorded, mode, checkpointing):
    expected = recorded[f"grads_{mode}"]
    policy.train(mode == "train_bn")
    for module in policy.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        if isinstance(module, torch.nn.MultiheadAttention):
            module.dropout = 0.0
    if checkpointing:
        policy.enable_activation_checkpointing()
    memory = None
    for window in range(2):
        latents, memory = policy(window_of(recorded, window), memory)
        loss = imitation(latents, recorded, window)["loss"]
        assert relative_error(loss, expected["losses"][window]) < TOLERANCE
        loss.backward()
    got = {name: parameter.grad for name, parameter in policy.named_parameters()}
    assert [name for name, grad in got.items() if grad is None] == expected["none"]
    for name, norm in expected["norms"].items():
        if norm is not None:
            assert float(got[name].norm()) == pytest.approx(norm, rel=TOLERANCE, abs=1e-5), name
    for name, grad in expected["tensors"].items():
        assert relative_error(got[name], grad) < TOLERANCE, name
    if mode == "train_bn":
        buffers = dict(policy.named_buffers())
        for name, value in expected["bn_after"].items():
            assert relative_error(buffers[name], value) < TOLERANCE, name


@torch.no_grad()
def test_bfloat16_stays_within_two_percent(policy, recorded):
    memory = None
    for window in range(2):
        with torch.autocast("cpu", torch.bfloat16):
            latents, memory = policy(lane(window_of(recorded, window), 0), memory)
        for head in ("buttons", "camera"):
            got, expected = stored(latents, head, recorded), recorded["run_carry"][window]["pi_logits"][head]
            assert got.dtype == torch.float32
            assert relative_error(got, expected[:1]) < 2e-2
        assert [tensor.dtype for tensor in memory[:3]] == [torch.bool, torch.float32, torch.float32]


def test_full_size_names_and_shapes_are_minestudios():
    with torch.device("meta"):
        policy = RocketPolicy(pretrained=False)
    parameters = dict(policy.named_parameters())
    got = []
    for name, tensor in policy.state_dict().items():
        kind = "buffer"
        if name in parameters:
            kind = "param" if parameters[name].requires_grad else "param(no grad)"
        got.append([name, str(tuple(tensor.shape)), str(tensor.dtype).removeprefix("torch."), kind])
    assert got == golden_recording()["full_size"]
    assert sum(parameter.numel() for parameter in parameters.values()) == 106_651_930
