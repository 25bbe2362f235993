"""The timm backbone: by name, four channels in, its last feature map out as tokens."""

import difflib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import timm
import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from shards.errors import RocketError, first_line

NUM_CHANNELS = 4
"""Red, green, blue and the object mask."""


def normalize_name(backbone: str) -> str:
    """The name that timm uses: MineStudio's configurations write `timm/` in front of it."""
    return backbone.removeprefix("timm/").removeprefix("hf-hub:timm/")


def check_name(backbone: str) -> None:
    """Return if timm knows the architecture and its pretrained tag.

    Raises:
        RocketError: otherwise, with the names that come closest.
    """
    name = normalize_name(backbone)
    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        close = difflib.get_close_matches(architecture, timm.list_models(), n=4, cutoff=0.5)
        hint = f"Close names: {', '.join(close)}." if close else "timm.list_models() lists them."
        raise RocketError(f"policy.backbone: timm {timm.__version__} has no model {backbone!r}. {hint}")
    tags = [known.partition(".")[2] for known in timm.list_pretrained(f"{architecture}.*")]
    if tag and tag not in tags:
        raise RocketError(
            f"policy.backbone: {architecture} has no pretrained weights named {tag!r}, "
            f"expected one of: {', '.join(tags) or 'none'}."
        )


def build_backbone(
    backbone: str, pretrained: bool = True, backbone_weights: str | Path | None = None
) -> nn.Module:
    """A timm model that returns its feature maps, taking the four channels of `NUM_CHANNELS`.

    Args:
        backbone: a timm name, with or without a pretrained tag or a leading `timm/`.
        backbone_weights: a local file with timm's weights of this model; it wins over the hub and over
            `pretrained=False`. timm turns its three input channels into four.

    Raises:
        RocketError: unknown name, a model without feature maps, or weights that can't be had.
    """
    check_name(backbone)
    name = normalize_name(backbone)
    overlay: dict[str, str] | None = None
    if backbone_weights is not None:
        if not os.path.isfile(backbone_weights):
            raise RocketError(f"policy.backbone_weights: no file {backbone_weights}. Give a local file or null.")
        overlay = {"file": str(backbone_weights)}
    load = pretrained or overlay is not None
    if load and overlay is None and not timm.models.get_pretrained_cfg(name).has_weights:
        raise RocketError(f"policy.pretrained: timm has no weights for {backbone!r}. Set policy.pretrained=false.")
    try:
        module = _create(name, load, overlay)
        absent = _left_random(module, name, overlay) if overlay is not None else []
    except Exception as error:
        if load:
            build_backbone(backbone, pretrained=False)  # fails where it is not the weights that failed
        raise _blame(backbone, backbone_weights, load, error) from error
    if absent:
        raise RocketError(
            f"policy.backbone_weights: {backbone_weights} lacks weights of {backbone}: {', '.join(absent)}."
        )
    return module


def _left_random(module: nn.Module, name: str, overlay: dict[str, str]) -> list[str]:
    """Weights that the file did not set: timm leaves them random without an error, so no two models agree."""
    again = _create(name, True, overlay).state_dict()
    return [
        key
        for key, tensor in module.state_dict().items()
        if tensor.ndim > 1 and not torch.equal(tensor, again[key])
    ]


def _create(name: str, pretrained: bool, overlay: dict[str, str] | None = None) -> nn.Module:
    module: nn.Module = timm.create_model(
        name, pretrained=pretrained, pretrained_cfg_overlay=overlay, features_only=True, in_chans=NUM_CHANNELS
    )
    return module


def _blame(backbone: str, weights: str | Path | None, load: bool, error: Exception) -> RocketError:
    reason = first_line(error)
    if not load:
        return RocketError(f"policy.backbone: timm cannot build feature maps of {backbone}: {reason}.")
    if weights is not None:
        return RocketError(f"policy.backbone_weights: {weights} does not hold {backbone}'s weights: {reason}.")
    return RocketError(
        f"policy.backbone: pretrained weights of {backbone} could not be fetched: {reason}. "
        "Set policy.backbone_weights=PATH to a local file, or policy.pretrained=false."
    )


def memory_format(device: torch.device) -> torch.memory_format:
    """The layout of images and convolution weights that suits the device.

    Tensor cores want the channels last. On a CPU, torch's batch norm loses two digits of the gradients there.
    """
    return torch.channels_last if device.type == "cuda" else torch.contiguous_format


def num_features(backbone: nn.Module) -> int:
    """Channels of the last feature map."""
    return int(backbone.feature_info[-1]["num_chs"])  # type: ignore[index]


def normalization(backbone: nn.Module) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of the RGB channels (0..1) that the backbone was trained with."""
    config = timm.data.resolve_model_data_config(backbone)
    return list(config["mean"]), list(config["std"])


def last_map_tokens(feature_maps: list[Tensor], channels: int) -> Tensor:
    """The last feature map as tokens (N, h * w, C); some timm models put the channels last already."""
    last = feature_maps[-1]
    if last.ndim == 4 and last.shape[1] == channels:
        return rearrange(last, "N C h w -> N (h w) C")
    return rearrange(last, "N ... C -> N (...) C")


class BatchStatistics:
    """Lets BatchNorm update its running statistics inside `updating()` alone; what it computes stays the same.

    Activation checkpointing computes layers again in the backward pass, in training mode, and would count the
    same batch twice.
    """

    def __init__(self, module: nn.Module) -> None:
        self._updating = True
        self._momentum: dict[nn.Module, float | None] = {}
        for layer in module.modules():
            if isinstance(layer, _BatchNorm):
                layer.register_forward_pre_hook(self._before)
                layer.register_forward_hook(self._after, always_call=True)
        self._updating = False

    @contextmanager
    def updating(self) -> Iterator[None]:
        """Updates count inside the block: around the forward pass proper."""
        self._updating = True
        try:
            yield
        finally:
            self._updating = False

    def _before(self, layer: nn.Module, _args: tuple[Tensor, ...]) -> None:
        if not self._updating and layer.training:
            assert isinstance(layer, _BatchNorm)
            self._momentum[layer] = layer.momentum
            layer.momentum = 0.0

    def _after(self, layer: nn.Module, _args: tuple[Tensor, ...], _output: Tensor) -> None:
        if layer in self._momentum:
            assert isinstance(layer, _BatchNorm)
            layer.momentum = self._momentum.pop(layer)
            if layer.num_batches_tracked is not None:
                layer.num_batches_tracked.sub_(1)
