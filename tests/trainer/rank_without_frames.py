"""Two ranks train small policies; in the second step one of them has no frame. Imported by spawned processes."""

import itertools
import warnings
from typing import Any

import torch
import torch.distributed as dist
from timm.layers import BatchNormAct2d
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce
from torch.nn.parallel import DistributedDataParallel

from tests.trainer.policies import logits, random_window, tiny_policy

BATCH_NORMS = ("per_rank", "frozen", "synchronised")
COMBINATIONS = list(itertools.product(BATCH_NORMS, (False, True)))
"""Batch norm and activation checkpointing; tests/trainer/policy/test_rocket.py has compiled layers too."""


class GlooSyncNorm(BatchNormAct2d):
    """Batch norm over all ranks, like SyncBatchNorm, which needs a GPU: nothing is exchanged in evaluation."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        count = torch.full((x.shape[1],), x.numel() / x.shape[1])
        sums = all_reduce(torch.stack([x.sum((0, 2, 3)), x.square().sum((0, 2, 3)), count]))
        mean = sums[0] / sums[2]
        variance = sums[1] / sums[2] - mean.square()
        self.running_mean.lerp_(mean.detach(), self.momentum)
        self.running_var.lerp_(variance.detach(), self.momentum)
        self.num_batches_tracked.add_(1)
        gain = self.weight * (variance + self.eps).rsqrt()
        return self.act(x * gain.view(1, -1, 1, 1) + (self.bias - mean * gain).view(1, -1, 1, 1))


def synchronised(backbone: nn.Module) -> nn.Module:
    for layer in backbone.modules():
        if isinstance(layer, BatchNormAct2d):
            layer.__class__ = GlooSyncNorm
            layer._forward_pre_hooks.clear()  # as timm's function, which makes new layers
            layer._forward_hooks.clear()
    return backbone


def train_in_rank(rank: int, port: int, queue: Any) -> None:
    """Two steps with every combination; for each, whether gradients agree and what moved in the last step."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    import trainer.policy.rocket

    trainer.policy.rocket.convert_sync_batchnorm = synchronised
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    for batch_norm, checkpointing in COMBINATIONS:
        policy = tiny_policy(num_layers=1).train()
        for parameter in policy.value_head.parameters():
            parameter.requires_grad_(False)
        if batch_norm == "synchronised":
            policy.synchronise_batch_norm()
        policy.backbone.train(batch_norm != "frozen")
        if checkpointing:
            policy.enable_activation_checkpointing()
        ranks = DistributedDataParallel(policy, gradient_as_bucket_view=True, broadcast_buffers=False)
        for step in range(2):
            valid = torch.arange(8).expand(2, 8) < (5 if step == 0 or rank == 0 else 0)
            before = [buffer.clone() for buffer in policy.backbone.buffers()]
            policy.zero_grad()
            latents = ranks({**random_window(2, 8, seed=2 * step + rank), "valid": valid})
            log_prob = logits(latents)[..., :-1]
            torch.where(valid[..., None], log_prob, torch.zeros(())).sum().backward()
        moved = any(not torch.equal(a, b) for a, b in zip(before, policy.backbone.buffers(), strict=True))
        norm = torch.stack([p.grad.norm() for p in policy.parameters() if p.grad is not None])
        queue.put((rank, (batch_norm, checkpointing), norm.tolist(), moved))
    dist.barrier()
    dist.destroy_process_group()
