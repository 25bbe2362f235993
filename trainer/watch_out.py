"""What to watch out for before a run starts: settings that are allowed and probably not meant."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from shards.display.wording import number_of, size
from shards.schedule.watch_out import odd_data
from trainer.data.plan import DataPlan
from trainer.plan import PolicyFacts, checkpoint_bytes
from trainer.settings import RunConfig


@dataclass(frozen=True)
class Machine:
    """What a run depends on of the machine that it starts on; `free_bytes` are its folder's disk's."""

    num_gpus: int
    num_cores: int
    free_bytes: int


def this_machine(run_dir: str) -> Machine:
    """The machine that this process runs on."""
    import torch

    place = Path(run_dir).absolute()
    while not place.exists():
        place = place.parent
    num_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return Machine(num_gpus, len(os.sched_getaffinity(0)), shutil.disk_usage(place).free)


def watch_out(
    config: RunConfig, num_ranks: int, machine: Machine, policy: PolicyFacts, data: DataPlan | None
) -> list[str]:
    """What is odd about a run, a line each, with the setting that changes it; mostly none.

    Its lanes are resolved. Without data, only what does not depend on them is looked at.
    """
    found = list(_machine(config, num_ranks, machine))
    if data is not None:
        found += [*_data(config, num_ranks, data), *_length(config, data), *_disk(config, machine, policy, data)]
    return found


def _machine(config: RunConfig, num_ranks: int, machine: Machine) -> Iterator[str]:
    trainer = config.trainer
    ranks_here = num_ranks // trainer.num_nodes
    if trainer.accelerator == "cpu" and machine.num_gpus:
        yield (
            f"torch finds {number_of(machine.num_gpus, 'GPU')}, and the run does not use them. "
            f"Set trainer.accelerator=gpu trainer.devices={machine.num_gpus}"
        )
    elif 0 < ranks_here < machine.num_gpus:
        yield (
            f"{machine.num_gpus - ranks_here} of {machine.num_gpus} GPUs will not be used. "
            f"Set trainer.devices={machine.num_gpus}"
        )
    elif trainer.accelerator != "cpu" and not machine.num_gpus:
        yield (
            "torch finds no GPU on this machine. For one slow rank on the CPU, set trainer.accelerator=cpu "
            "trainer.devices=1"
        )
    processes = config.data.num_workers * ranks_here
    if processes > machine.num_cores and not (trainer.accelerator != "cpu" and not machine.num_gpus):
        loaders = number_of(processes, "loader process", "loader processes")
        yield (
            f"{loaders} share {number_of(machine.num_cores, 'core')}. "
            f"Set data.num_workers={machine.num_cores // ranks_here}"
        )


def _data(config: RunConfig, num_ranks: int, data: DataPlan) -> Iterator[str]:
    masks, validates = config.data.enable_segment, config.trainer.val_every is not None
    yield from odd_data(
        data.collection, data.train, len(data.val.episodes), num_ranks, masks=masks, validates=validates
    )
    if data.train.by_episode:
        yield (
            f"there are fewer shards than the {data.train.settings.num_groups} groups of lanes, so ranks read the "
            "same shards. Set data.num_lane_groups=1, or build with a smaller shard_frames"
        )


def _length(config: RunConfig, data: DataPlan) -> Iterator[str]:
    trainer = config.trainer
    steps = config.total_steps(data.train.num_steps)
    warmup = config.optimizer.warmup_steps
    run, early = f"the run of {number_of(steps, 'step')}", max(steps // 4, 1)
    if 0 < steps <= warmup:
        yield (
            f"the run ends after {number_of(steps, 'step')}, before the warm-up does ({warmup:,}). "
            f"Set optimizer.warmup_steps={steps // 10}"
        )
    if trainer.val_every is not None and steps < trainer.val_every and len(data.val.episodes):
        yield (
            f"the first validation would be at step {trainer.val_every:,}, so {run} validates only at its end. "
            f"Set trainer.val_every={early}"
        )
    if steps < trainer.save_every:
        yield (
            f"the first checkpoint would be at step {trainer.save_every:,}, so {run} saves only at its end, and a "
            f"crash loses it. Set trainer.save_every={early}"
        )


def _disk(config: RunConfig, machine: Machine, policy: PolicyFacts, data: DataPlan) -> Iterator[str]:
    steps = config.total_steps(data.train.num_steps)
    needed = checkpoint_bytes(config, policy, steps).total
    if needed > machine.free_bytes:
        times = -(-needed // max(machine.free_bytes, 1))
        yield (
            f"all checkpoints together take {size(needed)}, and the disk of {config.run_dir} has "
            f"{size(machine.free_bytes)} free. Set run_dir=FOLDER to another disk, or "
            f"trainer.save_every={min(config.trainer.save_every * times, steps)}"
        )
