"""BatchNorm followed by SiLU that keeps one feature map for the backward pass where torch keeps two.

Torch keeps what enters the norm, and a copy of what enters the activation. The second follows from the first
by one multiplication and addition a pixel, less work than the copy was. In EfficientNet these maps are most of
what a training step holds.
"""

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


class LeanNormSilu(BatchNormAct2d):  # type: ignore[misc]
    """Timm's BatchNorm with SiLU: same parameters and results, less held in training."""

    def forward(self, x: Tensor) -> Tensor:
        # A compiler decides itself what to keep and what to compute again.
        if not (self.training and torch.is_grad_enabled()) or torch.compiler.is_compiling():
            out: Tensor = super().forward(x)
            return out
        self.num_batches_tracked.add_(1)
        return _NormSilu.apply(  # type: ignore[no-any-return]
            x, self.weight, self.bias, self.running_mean, self.running_var, self.momentum, self.eps
        )


def make_lean(module: nn.Module) -> None:
    """Every BatchNorm with SiLU inside `module` is a lean one from now on."""
    for layer in module.modules():
        if (
            type(layer) is BatchNormAct2d
            and isinstance(layer.act, nn.SiLU)
            and isinstance(layer.drop, nn.Identity)
            and layer.affine
            and layer.track_running_stats
            and layer.momentum is not None
        ):
            layer.__class__ = LeanNormSilu
