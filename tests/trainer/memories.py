"""Memories whose numbers say whose they are, and a rank that gathers them; imported by spawned processes."""

import torch
import torch.distributed as dist

from trainer.policy.memory import LaneMemory, initial_memory


def empty(batch_size):
    return initial_memory(batch_size, num_layers=2, mem_len=3, width=4)


def marked(lanes):
    """A memory whose every number is its lane."""
    memory = empty(len(lanes))
    for row, lane in enumerate(lanes):
        for tensor in memory:
            tensor[row] = lane if tensor.is_floating_point() else True
    return memory


def lanes_of(memory):
    return memory[1][:, 0, 0].tolist()


def gather_in_rank(rank, port, queue):
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    lanes = [2 * rank, 2 * rank + 1]
    memory = LaneMemory(empty, lanes)
    if rank == 1:  # rank 0 has not seen a window yet
        memory.store(torch.tensor(lanes), marked(lanes))
    gathered = memory.gather()
    queue.put(
        (
            rank,
            gathered["lanes"].tolist(),
            lanes_of(gathered["memory"]),
            gathered["memory"][0].any(-1).flatten().tolist(),
        )
    )
    dist.barrier()
    dist.destroy_process_group()
