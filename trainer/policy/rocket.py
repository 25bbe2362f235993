"""ROCKET-1: which buttons and camera movement follow from the frames, the mask and the kind of interaction.

Computes what MineStudio's RocketPolicy computes, with its parameter names, so that weights fit both ways.
Source: CraftJarvis/MineStudio, minestudio/models/rocket_one/body.py; ROCKET-1 (arXiv 2410.17856).
"""

# B lanes, T frames in the window, N = frames of all lanes, D width
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from einops import rearrange
from timm.layers import convert_sync_batchnorm
from torch import Tensor, nn
from torch.nn import functional

from shards.errors import RocketError
from trainer.policy import backbone as timm_backbone
from trainer.policy.heads import PolicyHead, ValueHead
from trainer.policy.inputs import Frames, read_frames
from trainer.policy.memory import TENSORS_PER_LAYER, Memory, initial_memory
from trainer.policy.pooling import Pooling
from trainer.policy.preprocess import Preprocess
from trainer.policy.transformer import FanInLinear, Recurrent

NUM_INTERACTION_EMBEDDINGS = 10
NUM_STAND_INS = 2
"""Frames of padding that a rank without any other computes: one alone has no variance where a map is one pixel."""


class RocketPolicy(nn.Module):
    """Maps windows of frames and a memory to action log-probabilities and the memory after them."""

    def __init__(
        self,
        backbone: str = "efficientnet_b0.ra_in1k",
        hiddim: int = 1024,
        num_heads: int = 8,
        num_layers: int = 4,
        timesteps: int = 128,
        mem_len: int = 128,
        pretrained: bool = True,
        backbone_weights: str | Path | None = None,
        nucleus_prob: float | None = 0.85,
    ) -> None:
        """A policy with fresh weights but for the backbone's.

        Args:
            backbone: timm model with feature maps.
            hiddim: width of everything after the backbone, divisible by `num_heads`.
            num_layers: recurrent blocks.
            timesteps: frames in a training window.
            mem_len: frames that a frame can see, itself included, and that are remembered.
            pretrained: take the backbone's weights from timm's hub (or from `backbone_weights`).
            backbone_weights: local file with the backbone's weights.
            nucleus_prob: probability mass that actions are drawn from; None for all of it.

        Raises:
            RocketError: an unknown backbone, weights that can't be had, or sizes that don't fit.
        """
        super().__init__()
        if hiddim % num_heads:
            raise RocketError(
                f"policy.hiddim: not divisible by policy.num_heads, got {hiddim} and {num_heads}. "
                f"Use {-(-hiddim // num_heads) * num_heads}."
            )
        for name, value in (("timesteps", timesteps), ("mem_len", mem_len), ("num_layers", num_layers)):
            if value < 1:
                raise RocketError(f"policy.{name}: too small, got {value}, expected 1 or more.")
        self.config: dict[str, str | int] = {
            "backbone": backbone,
            "hiddim": hiddim,
            "num_heads": num_heads,
            "num_layers": num_layers,
            "timesteps": timesteps,
            "mem_len": mem_len,
        }
        self.hiddim, self.num_layers, self.timesteps, self.mem_len = hiddim, num_layers, timesteps, mem_len

        self.value_head = ValueHead(hiddim)
        self.pi_head = PolicyHead(hiddim, nucleus_prob)
        self.backbone = timm_backbone.build_backbone(backbone, pretrained, backbone_weights)
        self.num_features = timm_backbone.num_features(self.backbone)
        self.preprocess = Preprocess(*timm_backbone.normalization(self.backbone))
        self.updim = nn.Conv2d(self.num_features, hiddim, kernel_size=1, bias=False)
        self.pooling = Pooling(hiddim, num_heads)
        self.interaction = nn.Embedding(NUM_INTERACTION_EMBEDDINGS, hiddim)
        self.recurrent = Recurrent(hiddim, num_heads, num_layers, mem_len)
        self.lastlayer = FanInLinear(hiddim, hiddim, norm=True)
        self.final_ln = nn.LayerNorm(hiddim)
        self.updates_statistics = True  # false: batches pass without a trace in the running statistics
        self._statistics = timm_backbone.BatchStatistics(self.backbone)

    @property
    def device(self) -> torch.device:
        return self.final_ln.weight.device

    def initial_state(self, batch_size: int | None = None) -> Memory:
        """Empty memory of `batch_size` lanes; without a lane axis if None."""
        memory = initial_memory(
            batch_size or 1, self.num_layers, self.mem_len, self.hiddim, self.device, self.final_ln.weight.dtype
        )
        return memory if batch_size is not None else [tensor.squeeze(0) for tensor in memory]

    def forward(
        self,
        input: Mapping[str, Any],  # noqa: A002 -- MineStudio's name
        memory: Memory | None = None,
    ) -> tuple[dict[str, Any], Memory]:
        """Action log-probabilities and values of a window, and the memory after it.

        Args:
            input: `image` (B, T, H, W, 3) RGB 0..255 or `yuv` (B, T, H * 3 / 2, W) planar I420;
                `segment` or `segmentation` with `obj_mask` (B, T, H, W) or `obj_mask_bits` (B, T, bytes), and
                `obj_id` (B, T), -1 for none; optionally `first` (B, T) bool, true where an episode starts,
                `valid` (B, T) bool, false for padding, and `has_padding`, a plain bool that says whether
                any frame is padding (if absent, the device is asked, which waits for it).
            memory: what `initial_state` or the last window returned; None for empty.

        Returns:
            `{"pi_logits": {"buttons" (B, T, 1, 8641), "camera" (B, T, 1, 121)}, "vpred" (B, T, 1)}` and the
            memory, which carries no gradient. Values at padding mean nothing.

        Raises:
            RocketError: shapes that don't fit each other, the memory, or in training `timesteps`.
        """
        frames = read_frames(input, self.device)
        num_lanes, length = frames.types.shape
        if self.training and torch.is_grad_enabled() and length != self.timesteps:
            raise RocketError(
                f"window: wrong length, got {length} frames, expected policy.timesteps = {self.timesteps}. "
                "Set data.win_len and policy.timesteps to the same number."
            )
        if memory is None:
            memory = self.initial_state(num_lanes)
        self._check_memory(memory, num_lanes)

        x_BTD = self._encode(frames)
        z_BTD, memory = self.recurrent(
            x_BTD, self.interaction.weight, frames.types, frames.first, frames.valid, memory
        )
        z_BTD = self.final_ln(functional.relu(self.lastlayer(functional.relu(z_BTD))))
        return {"pi_logits": self.pi_head(z_BTD), "vpred": self.value_head(z_BTD)}, memory

    @torch.inference_mode()
    def get_action(
        self,
        input: Mapping[str, Any],  # noqa: A002
        memory: Memory | None,
        deterministic: bool = False,
        input_shape: str = "BT*",
        first: Tensor | None = None,
        **_: Any,
    ) -> tuple[dict[str, Tensor], Memory]:
        """An action and the memory after it, as simulators ask for it.

        Args:
            input: as for `forward`; with `input_shape="*"` one frame without lane and time axes (arrays,
                tensors, numbers), and the memory without the lane axis.
            memory: None at an episode's start.
            deterministic: take the likeliest action instead of drawing one.
            first: in place of `input["first"]`.

        Returns:
            `{"buttons", "camera"}`: (B, T, 1), or (1,) with `input_shape="*"`; and the memory.
        """
        if input_shape not in ("*", "BT*"):
            raise RocketError(f"get_action: unknown input_shape, got {input_shape!r}, expected '*' or 'BT*'.")
        single = input_shape == "*"
        batch = {key: input[key] for key in INPUT_KEYS if key in input and input[key] is not None}
        if "img" in input and "image" not in batch:  # ROCKET-1's own name
            batch["image"] = input["img"]
        if first is not None:
            batch["first"] = first
        batch = {key: self._to_tensors(value, single) for key, value in batch.items()}
        if single and memory is not None:
            memory = [tensor.unsqueeze(0) for tensor in memory]
        latents, after = self.forward(batch, memory)
        action = self.pi_head.sample(latents["pi_logits"], deterministic)
        self.vpred = latents["vpred"]
        if not single:
            return action, after
        return {name: chosen[0, 0] for name, chosen in action.items()}, [tensor[0] for tensor in after]

    def enable_activation_checkpointing(self) -> None:
        """Keep only what enters each layer for the backward pass and compute the rest again.

        The backbone's stages do so where timm can; its BatchNorms still count a batch once.
        """
        self.pooling.checkpointing = self.recurrent.checkpointing = True
        set_checkpointing = getattr(self.backbone, "set_grad_checkpointing", None)
        if callable(set_checkpointing):
            set_checkpointing(True)

    def synchronise_batch_norm(self) -> None:
        """The backbone's batch statistics cover the frames of all ranks in training."""
        self.backbone = convert_sync_batchnorm(self.backbone)  # torch's own function loses timm's activations
        self._statistics = timm_backbone.BatchStatistics(self.backbone)

    def compile_layers(self, **options: Any) -> None:
        """Compile what is the same in every step: the backbone, the pooling's layers, the recurrent blocks.

        Unlike `compile()`, which would compile again for windows with padding, whose frames are picked out first.
        Names of parameters stay.
        """
        for layer in (self.backbone, *self.pooling.layers, *self.recurrent.blocks):
            layer.compile(**options)

    def _encode(self, frames: Frames) -> Tensor:
        """Features (B, T, D) of each frame by itself; zeros at padding."""
        num_lanes, length = frames.types.shape
        if not frames.has_padding:
            features_ND = self._features(frames, None, counted=True)
            return rearrange(features_ND, "(B T) D -> B T D", B=num_lanes)
        rows_N = frames.valid.flatten().nonzero().squeeze(1)
        if len(rows_N):
            features_ND = self._features(frames, rows_N, counted=True)
        else:
            # A rank without frames computes two of padding, so that it takes part in all that ranks exchange, in
            # layers and for gradients. They count nowhere: neither in the loss nor in running statistics.
            rows_N = torch.arange(NUM_STAND_INS, device=rows_N.device) % (num_lanes * length)
            features_ND = self._features(frames, rows_N, counted=False) * 0.0
        x_ND = features_ND.new_zeros(num_lanes * length, self.hiddim).index_copy(0, rows_N, features_ND)
        return rearrange(x_ND, "(B T) D -> B T D", B=num_lanes)

    def _features(self, frames: Frames, rows_N: Tensor | None, *, counted: bool) -> Tensor:
        """Features (N, D) of the chosen frames; whether they count in the backbone's running statistics."""
        channels_N4HW = frames.channels(rows_N, self.preprocess, self.final_ln.weight.dtype)
        with self._statistics.updating() if counted and self.updates_statistics else nullcontext():
            feature_maps = self.backbone(channels_N4HW)
        tokens_NLC = timm_backbone.last_map_tokens(feature_maps, self.num_features)
        features_ND: Tensor = self.pooling(functional.linear(tokens_NLC, self.updim.weight[:, :, 0, 0]))
        return features_ND

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        """Moved to another device, the backbone's weights take the layout that suits it; names and values stay."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.backbone.to(memory_format=timm_backbone.memory_format(self.device))
        return self

    def _check_memory(self, memory: Memory, num_lanes: int) -> None:
        expected = [(num_lanes, 1, self.mem_len), *[(num_lanes, self.mem_len, self.hiddim)] * 2] * self.num_layers
        got = [tuple(tensor.shape) for tensor in memory]
        if got != expected:
            raise RocketError(
                f"memory: wrong shapes, got {got[:TENSORS_PER_LAYER]} in {len(got)} tensors, "
                f"expected {expected[:TENSORS_PER_LAYER]} in {len(expected)}. Use initial_state(batch_size)."
            )

    def _to_tensors(self, value: Any, single: bool) -> Any:
        if isinstance(value, Mapping):
            return {key: self._to_tensors(part, single) for key, part in value.items() if part is not None}
        if isinstance(value, bool):
            return value
        if isinstance(value, (int, float, np.ndarray, np.generic, Tensor)):
            tensor = torch.as_tensor(value).to(self.device)
            return tensor[None, None] if single else tensor
        return value


INPUT_KEYS = ("image", "yuv", "segment", "segmentation", "first", "valid", "has_padding")
