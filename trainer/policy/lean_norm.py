"""BatchNorm, with SiLU or without, that keeps one feature map for the backward pass where torch keeps two.

Torch keeps what enters the norm, and a copy of what enters the activation. The second follows from the first
by one multiplication and addition a pixel, less work than the copy was. In EfficientNet these maps are most of
what a training step holds.

On a CPU the norm is our own: torch's is inexact where the channels lie last, the layout in which the convolutions
are fast, and makes three maps on the way back, whose pages cost more time than the arithmetic.
"""

from collections.abc import Iterator
from typing import Any

import torch
from timm.layers import BatchNormAct2d
from torch import Tensor, nn
from torch.nn import functional

_norm = torch.ops.aten._batch_norm_impl_index
_norm_backward = torch.ops.aten._batch_norm_impl_index_backward
_silu_backward = torch.ops.aten.silu_backward


class _NormSilu(torch.autograd.Function):
    """Training-mode `silu(batch_norm(x))`; updates the running statistics."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        running_mean: Tensor,
        running_var: Tensor,
        momentum: float,
        eps: float,
    ) -> Tensor:
        cudnn = torch.backends.cudnn.enabled
        normed, mean, inverse_std, reserve, ctx.kernel = _norm(
            x, weight, bias, running_mean, running_var, True, momentum, eps, cudnn
        )
        ctx.save_for_backward(x, weight, bias, running_mean, running_var, mean, inverse_std, reserve)
        ctx.eps = eps
        return functional.silu(normed, inplace=True)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias, running_mean, running_var, mean, inverse_std, reserve = ctx.saved_tensors
        gain = weight * inverse_std
        per_channel = (1, -1, 1, 1)
        normed = torch.addcmul((bias - mean * gain).view(per_channel), x, gain.view(per_channel)).to(x.dtype)
        grads = _norm_backward(
            ctx.kernel,
            x,
            _silu_backward(grad, normed),
            weight,
            running_mean,
            running_var,
            mean,
            inverse_std,
            True,
            ctx.eps,
            [True, True, True],
            reserve,
        )
        return (*grads, None, None, None, None)


_CHUNK_BYTES = 1 << 21
"""Frames are taken so many at a time that a chunk stays in the processor's cache from one step to the next."""


class _NormOnCpu(torch.autograd.Function):
    """Training-mode `batch_norm(x)`, then SiLU if asked for; updates the running statistics.

    N frames, C channels. Sums are torch's pairwise ones over a chunk of frames, then doubles over the chunks.
    Source of the gradient: Ioffe and Szegedy 2015, section 3; with z = (x - mean) * inverse_std and n values a
    channel, dx = weight * inverse_std * (dy - sum(dy) / n - z * sum(dy * z) / n).
    """

    @staticmethod
    def forward(
        ctx: Any,
        x_NCHW: Tensor,
        weight: Tensor,
        bias: Tensor,
        running_mean: Tensor,
        running_var: Tensor,
        momentum: float,
        eps: float,
        silu: bool,
    ) -> Tensor:
        count = x_NCHW.numel() // x_NCHW.shape[1]
        scratch = _scratch(x_NCHW)
        mean = _sum([_per_channel_sum(x) for (x,) in _chunks(x_NCHW)]) / count
        squares = []
        for (x,) in _chunks(x_NCHW):
            centred = torch.sub(x, mean.view(1, -1, 1, 1).to(x.dtype), out=scratch[: len(x)])
            squares.append(_per_channel_sum(centred.square_()))
        variance = _sum(squares) / count
        inverse_std = (variance + eps).rsqrt()
        running_mean.lerp_(mean.to(running_mean.dtype), momentum)
        running_var.lerp_((variance * (count / max(count - 1, 1))).to(running_var.dtype), momentum)
        gain, shift = _gain_and_shift(weight, bias, mean, inverse_std)
        out_NCHW = torch.empty_like(x_NCHW)
        for x, out in _chunks(x_NCHW, out_NCHW):
            torch.addcmul(shift, x, gain, out=out)
            if silu:
                functional.silu(out, inplace=True)
        ctx.save_for_backward(x_NCHW, weight, bias, mean, inverse_std)
        ctx.silu, ctx.count = silu, count
        return out_NCHW

    @staticmethod
    def backward(ctx: Any, grad_NCHW: Tensor) -> tuple[Tensor | None, ...]:
        x_NCHW, weight, bias, mean, inverse_std = ctx.saved_tensors
        gain, shift = _gain_and_shift(weight, bias, mean, inverse_std)
        centre = mean.view(1, -1, 1, 1).to(x_NCHW.dtype)
        scratch, dx_NCHW = _scratch(x_NCHW), torch.empty_like(x_NCHW)
        dy_NCHW = dx_NCHW if ctx.silu else grad_NCHW  # between norm and activation
        sums, products = [], []
        for x, grad, dy in _chunks(x_NCHW, grad_NCHW, dy_NCHW):
            work = scratch[: len(x)]
            if ctx.silu:
                torch.addcmul(shift, x, gain, out=work)
                torch.ops.aten.silu_backward.grad_input(grad, work, grad_input=dy)
            sums.append(_per_channel_sum(dy))
            products.append(_per_channel_sum(torch.sub(x, centre, out=work).mul_(dy)))
        grad_bias, grad_weight = _sum(sums), _sum(products) * inverse_std
        # The docstring's dx, as multiples of dy, x and 1.
        slope = -gain.double().flatten() * inverse_std * grad_weight / ctx.count
        offset = -gain.double().flatten() * grad_bias / ctx.count - slope * mean
        slope, offset = (values.view(1, -1, 1, 1).to(x_NCHW.dtype) for values in (slope, offset))
        for x, dy, dx in _chunks(x_NCHW, dy_NCHW, dx_NCHW):
            torch.addcmul(offset, dy, gain, out=dx).addcmul_(x, slope)
        return dx_NCHW, grad_weight.to(weight.dtype), grad_bias.to(bias.dtype), *[None] * 5


def _chunks(*maps_NCHW: Tensor) -> Iterator[tuple[Tensor, ...]]:
    return zip(*(torch.split(map_NCHW, _chunk_frames(map_NCHW)) for map_NCHW in maps_NCHW), strict=True)


def _chunk_frames(map_NCHW: Tensor) -> int:
    return max(1, _CHUNK_BYTES // max(1, map_NCHW[0].nbytes))


def _scratch(map_NCHW: Tensor) -> Tensor:
    return torch.empty_like(map_NCHW[: _chunk_frames(map_NCHW)])


def _per_channel_sum(map_NCHW: Tensor) -> Tensor:
    return map_NCHW.sum((0, 2, 3))


def _sum(parts: list[Tensor]) -> Tensor:
    return torch.stack(parts).double().sum(0)


def _gain_and_shift(weight: Tensor, bias: Tensor, mean: Tensor, inverse_std: Tensor) -> tuple[Tensor, Tensor]:
    """What a map is multiplied with and what is added, (1, C, 1, 1)."""
    gain = weight * inverse_std
    shift = bias - mean * gain
    return gain.view(1, -1, 1, 1).to(weight.dtype), shift.view(1, -1, 1, 1).to(weight.dtype)


class LeanNormAct(BatchNormAct2d):  # type: ignore[misc]
    """Timm's BatchNorm with SiLU or nothing after it: same parameters and results, less held in training."""

    def forward(self, x: Tensor) -> Tensor:
        silu = isinstance(self.act, nn.SiLU)
        if _trains(self) and (silu or _on_cpu(self, x)):
            return _train(self, x, silu)
        out: Tensor = super().forward(x)
        return out


class LeanNorm(nn.BatchNorm2d):
    """Torch's BatchNorm: same parameters and results, faster and more exact in training on a CPU."""

    def forward(self, x: Tensor) -> Tensor:
        if _trains(self) and _on_cpu(self, x):
            return _train(self, x, silu=False)
        return super().forward(x)


def make_lean(module: nn.Module) -> None:
    """Every BatchNorm with SiLU or nothing after it inside `module` is a lean one from now on."""
    for layer in module.modules():
        if not isinstance(layer, nn.BatchNorm2d) or not layer.affine or not layer.track_running_stats:
            continue
        if layer.momentum is None:
            continue
        if type(layer) is nn.BatchNorm2d:
            layer.__class__ = LeanNorm
        elif (
            type(layer) is BatchNormAct2d
            and isinstance(layer.act, nn.SiLU | nn.Identity)
            and isinstance(layer.drop, nn.Identity)
        ):
            layer.__class__ = LeanNormAct


def _trains(layer: nn.BatchNorm2d) -> bool:
    # A compiler decides itself what to keep and what to compute again.
    return layer.training and torch.is_grad_enabled() and not torch.compiler.is_compiling()


def _on_cpu(layer: nn.BatchNorm2d, x: Tensor) -> bool:
    return x.device.type == "cpu" and x.dtype == layer.weight.dtype


def _train(layer: nn.BatchNorm2d, x: Tensor, silu: bool) -> Tensor:
    assert layer.num_batches_tracked is not None
    layer.num_batches_tracked.add_(1)
    norm = (x, layer.weight, layer.bias, layer.running_mean, layer.running_var, layer.momentum, layer.eps)
    out: Tensor = _NormOnCpu.apply(*norm, silu) if _on_cpu(layer, x) else _NormSilu.apply(*norm)
    return out
