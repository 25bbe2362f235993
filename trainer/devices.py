"""The machine that a run starts on: how many ranks there are, and whether it has their devices."""

import os

import torch

from shards.errors import SettingsError
from trainer.settings import RunConfig


def count_ranks(config: RunConfig) -> int:
    """Training processes of the run, on all machines together.

    Raises:
        SettingsError: it contradicts what torchrun or SLURM started.
    """
    devices = config.trainer.devices
    if devices == "auto":
        devices = torch.cuda.device_count() if trains_on_gpu(config) else 1
    num_ranks = devices * config.trainer.num_nodes
    variable = "SLURM_NTASKS" if started_by_slurm() else "WORLD_SIZE"
    started = os.environ.get(variable)
    if started is not None and int(started) != num_ranks:
        problem = f"trainer.devices x trainer.num_nodes = {num_ranks} ranks, but {variable} is {started}."
        raise SettingsError([f"{problem} Set both to what torchrun or srun starts."])
    return num_ranks


def trains_on_gpu(config: RunConfig) -> bool:
    """Whether each rank computes on a GPU."""
    return config.trainer.accelerator != "cpu" and torch.cuda.is_available()


def started_by_slurm() -> bool:
    """Whether srun started this process; torchrun's variables win inside a SLURM job, as in Lightning."""
    if "SLURM_NTASKS" not in os.environ:
        return False
    from lightning.fabric.plugins.environments.slurm import SLURMEnvironment  # takes seconds

    return SLURMEnvironment.detect() and not torch.distributed.is_torchelastic_launched()


def starts_ranks() -> bool:
    """Whether this process has to start the other ranks of its machine: torchrun, srun or the user has not."""
    return "LOCAL_RANK" not in os.environ and not started_by_slurm()


def check_devices(config: RunConfig) -> None:
    """Return if the machine has the devices that the settings ask for.

    Raises:
        SettingsError: it has not.
    """
    trainer = config.trainer
    available = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if trainer.accelerator == "gpu" and not available:
        raise SettingsError(["trainer.accelerator: gpu, but torch finds none. Use trainer.accelerator=cpu."])
    on_gpu = trainer.accelerator != "cpu" and available
    if on_gpu and trainer.devices != "auto" and trainer.devices > available:
        problem = f"trainer.devices: {trainer.devices}, but torch finds {available} GPUs."
        raise SettingsError([f"{problem} Use trainer.devices={available}."])
    if trainer.accelerator == "auto" and not available and trainer.devices not in ("auto", 1):
        problem = f"trainer.devices: {trainer.devices} GPUs are wanted, but torch finds none."
        raise SettingsError([f"{problem} For one rank on the CPU use trainer.accelerator=cpu trainer.devices=1."])
    if config.policy.batch_norm == "synchronised" and not on_gpu:
        raise SettingsError(
            ["policy.batch_norm: synchronised statistics need GPUs. Use policy.batch_norm=per_rank or frozen."]
        )
