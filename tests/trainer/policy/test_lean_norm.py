"""The lean BatchNorm is timm's and torch's, but for what it keeps and how exact it is."""

import copy

import pytest
import torch
from timm.layers import BatchNormAct2d
from torch import nn

from tests.trainer.policies import tiny_policy
from trainer.policy import lean_norm
from trainer.policy.lean_norm import LeanNormAct, make_lean

KINDS = {
    "SiLU": lambda channels: BatchNormAct2d(channels, act_layer=nn.SiLU),
    "no activation": lambda channels: BatchNormAct2d(channels, apply_act=False),
    "torch's": nn.BatchNorm2d,
}
LAYOUTS = [torch.contiguous_format, torch.channels_last]


def make_pair(kind: str, channels: int = 6) -> tuple[nn.Module, nn.Module]:
    """A norm with random weights, and its lean twin."""
    torch.manual_seed(0)
    layer = KINDS[kind](channels)
    with torch.no_grad():
        layer.weight.uniform_(0.5, 2.0)
        layer.bias.normal_()
    lean = nn.Sequential(copy.deepcopy(layer))
    make_lean(lean)
    assert type(lean[0]) is not type(layer)
    return layer, lean[0]


@pytest.fixture
def pair() -> tuple[nn.Module, nn.Module]:
    return make_pair("SiLU")


def all_results(layer: nn.Module, x: torch.Tensor) -> list[torch.Tensor]:
    """Output, gradients and buffers of a step."""
    x = x.clone().requires_grad_()
    out = layer(x * 1.0)
    (out * torch.linspace(-1, 1, out.shape[3], dtype=out.dtype)).square().sum().backward()
    return [out.detach(), x.grad, layer.weight.grad, layer.bias.grad, *layer.buffers()]


def kept_bytes(layer: nn.Module, x: torch.Tensor) -> int:
    """Bytes that the backward pass will need, each storage once, without the input."""
    storages = {}

    def keep(tensor):
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        out = layer(x)
    storages.pop(x.untyped_storage().data_ptr(), None)
    storages.pop(out.untyped_storage().data_ptr(), None)
    return sum(storages.values())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("chunk_bytes", [1, 2_000, 1 << 30])
def test_lean_norm_gives_the_norms_outputs_gradients_and_statistics(kind, layout, chunk_bytes, monkeypatch):
    monkeypatch.setattr(lean_norm, "_CHUNK_BYTES", chunk_bytes)
    layer, lean = (module.double() for module in make_pair(kind))
    x = torch.randn(5, 6, 5, 7, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 3 + 1
    for _ in range(2):
        got, expected = (all_results(module, x.to(memory_format=layout)) for module in (lean, layer))
        for mine, torchs in zip(got, expected, strict=True):
            torch.testing.assert_close(mine, torchs, rtol=1e-12, atol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_lean_norm_is_as_exact_with_channels_last_as_torchs_without(kind):
    x = torch.randn(64, 16, 40, 40, generator=torch.Generator().manual_seed(1)) * 3 + 1
    layer, lean = make_pair(kind, channels=16)
    exact = all_results(copy.deepcopy(layer).double(), x.double())
    plain = all_results(layer, x)
    got = all_results(lean, x.to(memory_format=torch.channels_last))
    for expected, torchs, mine in zip(exact, plain, got, strict=True):
        largest = float(expected.abs().max())
        allowed = max(3 * float((torchs.double() - expected).abs().max()), 1e-6 * largest)
        assert float((mine.double() - expected).abs().max()) <= allowed


def test_lean_norm_keeps_no_copy_of_the_feature_map(pair):
    x = torch.randn(4, 6, 16, 16)
    layer, lean = pair
    assert kept_bytes(layer, x) >= x.nbytes
    assert kept_bytes(lean, x) < x.nbytes / 4


def test_lean_norm_is_timms_in_evaluation(pair):
    layer, lean = (module.eval() for module in pair)
    x = torch.randn(2, 6, 4, 4)
    assert torch.equal(layer(x), lean(x))


def test_policys_backbone_is_lean_and_copies_as_such():
    policy = tiny_policy(backbone="efficientnet_b0")
    norms = [m for m in copy.deepcopy(policy).backbone.modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(norms) == 1 + 2 + 15 * 3  # stem, first block, every other block
    assert {type(norm) for norm in norms} == {LeanNormAct}
