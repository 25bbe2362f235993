"""What ranks exchange with each other: sums, means, rows, objects. Without a process group a rank is alone.

Tensors are put on the given device first, since NCCL takes none of a CPU. There is no barrier beside the exchange
itself, as Lightning's `reduce` has one.
"""

from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

T = TypeVar("T")


def num_ranks() -> int:
    """Ranks of the process group; 1 without one."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def sum_over_ranks(tensor: Tensor, device: torch.device) -> Tensor:
    """A new tensor on the device: the sum of all ranks' tensors."""
    total = tensor.to(device, copy=True)
    if num_ranks() > 1:
        dist.all_reduce(total)
    return total


def mean_over_ranks(tensor: Tensor, device: torch.device) -> Tensor:
    """A new tensor on the device: the mean of all ranks' tensors."""
    return sum_over_ranks(tensor, device) / num_ranks()


def gather_rows(tensor: Tensor, device: torch.device) -> Tensor:
    """The ranks' tensors one after another along the first axis, which may differ, on the device."""
    own = tensor.to(device)
    if num_ranks() == 1:
        return own
    lengths = gather_objects(len(own))
    sent = own.to(torch.uint8) if own.dtype == torch.bool else own  # not every backend takes booleans
    sent = torch.cat([sent, sent.new_zeros(max(lengths) - len(own), *own.shape[1:])])
    received = [torch.empty_like(sent) for _ in lengths]
    dist.all_gather(received, sent)
    return torch.cat([part[:length] for part, length in zip(received, lengths, strict=True)]).to(tensor.dtype)


def gather_objects(value: T) -> list[T]:
    """The ranks' objects in order; they travel as pickles, so they must come from our own ranks."""
    if num_ranks() == 1:
        return [value]
    everywhere: list[Any] = [None] * num_ranks()
    dist.all_gather_object(everywhere, value)
    return everywhere
