"""Weights from MineStudio and back, and what is said when they don't fit."""

import json
import re

import pytest
import safetensors.torch
import torch

from shards.errors import RocketError
from tests.trainer.policies import TINY, logits, random_window, tiny_policy
from trainer.policy import RocketPolicy
from trainer.weights import Weights, export_weights, from_minestudio, load_weights, read_weights, to_minestudio

SETTINGS = {
    "backbone": "test_efficientnet",
    "hiddim": 32,
    "num_heads": 4,
    "num_layers": 2,
    "timesteps": 8,
    "mem_len": 8,
}


class Loot:
    """Something a checkpoint has no business to hold."""


def same(one, other):
    return list(one) == list(other) and all(torch.equal(one[name], other[name]) for name in one)


def fresh_policy():
    return tiny_policy(seed=9)


@pytest.fixture
def policy():
    return tiny_policy()


@pytest.fixture
def lightning_checkpoint(policy, tmp_path):
    """As MineLightning writes it: every name prefixed, the settings under hyper_parameters."""
    path = tmp_path / "weight-epoch=1-step=100.ckpt"
    content = {
        "epoch": 1,
        "global_step": 100,
        "pytorch-lightning_version": "2.4.0",
        "state_dict": {f"mine_policy.{name}": tensor for name, tensor in policy.state_dict().items()},
        "hyper_parameters": {"model": {**SETTINGS, "action_space": None}, "learning_rate": 4e-05},
    }
    torch.save(content, path)
    return path


def test_from_and_to_minestudio_are_inverse(policy):
    state = policy.state_dict()
    assert same(from_minestudio(to_minestudio(state)), state)
    assert same(to_minestudio(from_minestudio(state)), state)


def test_prefixes_of_training_modules_are_taken_off(policy):
    state = policy.state_dict()
    assert same(from_minestudio({f"mine_policy.{name}": tensor for name, tensor in state.items()}), state)
    ours = {f"policy.{name}": tensor for name, tensor in state.items()}
    assert same(to_minestudio({**ours, "objectives.0.teacher.weight": torch.zeros(1)}), state)
    compiled = {name.replace("backbone.", "backbone._orig_mod."): tensor for name, tensor in ours.items()}
    assert same(to_minestudio(compiled), state)


def test_lightning_checkpoint_starts_a_policy(policy, lightning_checkpoint):
    weights = read_weights(lightning_checkpoint)
    assert weights.settings == SETTINGS
    started = fresh_policy()
    load_weights(started, weights)
    frames = random_window(1, 8)
    assert torch.equal(logits(started(frames)), logits(policy(frames)))


@pytest.mark.parametrize("out", ["run/policy.safetensors", "exported"])
def test_exported_weights_come_back(policy, tmp_path, out):
    path = export_weights(
        {f"policy.{name}": tensor for name, tensor in policy.state_dict().items()}, tmp_path / out, policy.config
    )
    tensors = safetensors.torch.load_file(path)
    assert tensors.keys() == policy.state_dict().keys()
    weights = read_weights(tmp_path / out)
    assert weights.settings == ({} if out.endswith("safetensors") else SETTINGS)
    started = fresh_policy()
    load_weights(started, weights)
    assert same(started.state_dict(), policy.state_dict())
    assert not list(path.parent.glob("*.part"))


def test_exported_folder_builds_the_class_as_from_pretrained_does(policy, tmp_path):
    export_weights(policy.state_dict(), tmp_path / "exported", policy.config)
    config = json.loads((tmp_path / "exported" / "config.json").read_text())
    rebuilt = RocketPolicy(**config, pretrained=False)
    rebuilt.load_state_dict(safetensors.torch.load_file(tmp_path / "exported" / "model.safetensors"), strict=True)


def test_plain_state_dict_is_read(policy, tmp_path):
    torch.save(policy.state_dict(), tmp_path / "state.pt")
    assert same(read_weights(tmp_path / "state.pt").state_dict, policy.state_dict())


def test_every_name_that_does_not_fit_is_listed(policy):
    state = dict(policy.state_dict())
    del state["final_ln.weight"], state["updim.weight"]
    state["teacher.weight"] = torch.zeros(1)
    state["interaction.weight"] = torch.zeros(8, 32)
    with pytest.raises(RocketError) as caught:
        load_weights(fresh_policy(), Weights(state, SETTINGS, "run.ckpt"))
    assert str(caught.value).splitlines() == [
        (
            "run.ckpt: weights do not fit the policy, 4 names differ; they were made with "
            "policy.backbone=test_efficientnet, policy.hiddim=32, policy.num_heads=4, policy.num_layers=2, "
            "policy.timesteps=8, policy.mem_len=8."
        ),
        "  shape of interaction.weight: got (8, 32), expected (10, 32)",
        "  missing: updim.weight",
        "  missing: final_ln.weight",
        "  unexpected: teacher.weight",
    ]


def test_weights_that_do_not_fit_change_nothing(policy):
    started = fresh_policy()
    before = {name: tensor.clone() for name, tensor in started.state_dict().items()}
    state = {name: tensor for name, tensor in policy.state_dict().items() if name != "final_ln.bias"}
    with pytest.raises(RocketError, match="missing: final_ln.bias"):
        load_weights(started, Weights(state, {}, "x"))
    assert same(started.state_dict(), before)


def test_other_memory_length_shows_in_the_shapes(policy):
    other = RocketPolicy(**TINY, timesteps=8, mem_len=16)
    with pytest.raises(RocketError, match=re.escape("b_nd: got (10, 8), expected (10, 16)")):
        load_weights(other, Weights(policy.state_dict(), {}, "x"))


def test_checkpoint_with_foreign_objects_is_not_unpickled(tmp_path):
    torch.save({"state_dict": {}, "loot": Loot()}, tmp_path / "evil.ckpt")
    with pytest.raises(
        RocketError, match=r"evil\.ckpt: holds more than weights \(.*Loot\), loading it could run code"
    ):
        read_weights(tmp_path / "evil.ckpt")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("text.ckpt", b"just words", "not a checkpoint that torch can read"),
        ("broken.ckpt", b"PK\x03\x04 half a zip", "not a checkpoint that torch can read"),
        ("broken.safetensors", b"\xff" * 20, "not a complete safetensors file"),
        ("empty.ckpt", b"", "not a checkpoint that torch can read"),
    ],
)
def test_damaged_files_are_named(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(RocketError, match=f"{re.escape(name)}: {message}"):
        read_weights(tmp_path / name)


def test_files_without_weights_are_refused(tmp_path):
    torch.save({"epoch": 3}, tmp_path / "other.ckpt")
    with pytest.raises(RocketError, match=r"other\.ckpt: no weights inside, got the keys \['epoch'\]"):
        read_weights(tmp_path / "other.ckpt")
    torch.save(torch.zeros(3), tmp_path / "tensor.pt")
    with pytest.raises(RocketError, match="got a Tensor, expected a state dict"):
        read_weights(tmp_path / "tensor.pt")
    (tmp_path / "folder").mkdir()
    with pytest.raises(
        RocketError, match=r"folder: no weights, expected model\.safetensors or pytorch_model\.bin"
    ):
        read_weights(tmp_path / "folder")


def test_missing_file_is_named(tmp_path):
    with pytest.raises(RocketError, match=r"absent\.ckpt: no such file or folder"):
        read_weights(tmp_path / "absent.ckpt")


def test_repository_that_cannot_be_reached_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(RocketError, match=r"CraftJarvis/MineStudio_ROCKET-1\.12w_EMA: .* give the folder's path"):
        read_weights("CraftJarvis/MineStudio_ROCKET-1.12w_EMA")
