"""The lean BatchNorm with SiLU is timm's, but for what it keeps."""

import copy

import pytest
import torch
from timm.layers import BatchNormAct2d
from torch import nn

from tests.trainer.policies import tiny_policy
from trainer.policy.lean_norm import LeanNormSilu, make_lean


@pytest.fixture
def pair() -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    layer = BatchNormAct2d(6, act_layer=nn.SiLU)
    with torch.no_grad():
        layer.weight.uniform_(0.5, 2.0)
        layer.bias.normal_()
    lean = copy.deepcopy(layer)
    make_lean(lean)
    return layer, lean


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


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_lean_norm_gives_timms_outputs_gradients_and_statistics(pair, layout):
    results = []
    for layer in pair:
        x = (torch.randn(4, 6, 5, 7, generator=torch.Generator().manual_seed(1)) * 3 + 1).to(memory_format=layout)
        x.requires_grad_()
        out = layer(x * 1.0)
        out.square().sum().backward()
        results.append([out, x.grad, layer.weight.grad, layer.bias.grad, *layer.buffers()])
    for expected, got in zip(*results, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-4)


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
    lean = [module for module in copy.deepcopy(policy).backbone.modules() if isinstance(module, LeanNormSilu)]
    assert len(lean) == 1 + 1 + 15 * 2  # stem, first block, two in every other block
