"""A run's ranks: started where nobody else does, and joined in a process group."""

import os
import socket
import subprocess
import sys
from datetime import timedelta

import torch
import torch.distributed as dist
from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment

from shards.errors import RocketError, first_line
from trainer.devices import started_by_slurm, trains_on_gpu
from trainer.settings import RunConfig

COLLECTIVE_TIMEOUT = timedelta(minutes=30)
"""How long a rank waits for the others, first batches and validation included."""


def start_ranks(num_ranks: int) -> dict[int, subprocess.Popen[bytes]]:
    """The other ranks of this machine by local rank, started with this process's own command line."""
    os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
    if "MASTER_PORT" not in os.environ:
        with socket.socket() as free:
            free.bind(("", 0))
            os.environ["MASTER_PORT"] = str(free.getsockname()[1])
    os.environ["LOCAL_RANK"] = "0"
    command = [sys.executable, *sys.orig_argv[1:]]
    return {
        rank: subprocess.Popen(command, env={**os.environ, "LOCAL_RANK": str(rank)})
        for rank in range(1, num_ranks)
    }


def join_ranks(config: RunConfig, num_ranks: int) -> None:
    """All ranks have come together in a process group, which Lightning uses as well.

    Raises:
        RocketError: some did not come.
    """
    environment: ClusterEnvironment = LightningEnvironment()
    if dist.is_torchelastic_launched():
        environment = TorchElasticEnvironment()
    elif started_by_slurm():
        environment = SLURMEnvironment()
    local_rank = environment.local_rank()
    environment.set_global_rank(environment.node_rank() * (num_ranks // config.trainer.num_nodes) + local_rank)
    os.environ |= {"MASTER_ADDR": environment.main_address, "MASTER_PORT": str(environment.main_port)}
    device = torch.device("cuda", local_rank) if trains_on_gpu(config) else None
    if device is not None:
        torch.cuda.set_device(device)
    try:
        dist.init_process_group(
            "gloo" if device is None else "nccl",
            rank=environment.global_rank(),
            world_size=num_ranks,
            timeout=COLLECTIVE_TIMEOUT,
            device_id=device,
        )
    except dist.DistError as error:
        place = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
        raise RocketError(
            f"{place}: the {num_ranks} ranks did not come together: {first_line(error)}. Start all of "
            "them, and check that the machines reach each other."
        ) from error
