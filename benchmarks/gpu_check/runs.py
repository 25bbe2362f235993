"""Short runs that should come to the same: pinned or not, one rank or two, whole or resumed, compiled or not."""

from __future__ import annotations

import csv
import io
import multiprocessing
import os
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from benchmarks.gpu_check.bench import Bench, CannotRun, Found
from benchmarks.gpu_check.parity import without_dropout
from trainer.build import build_data, build_policy
from trainer.collectives import mean_over_ranks
from trainer.config import resolve_lanes
from trainer.data.datamodule import RocketDataModule
from trainer.learning.objectives import cloning_losses
from trainer.look.run_folder import METRICS_FILE
from trainer.policy import RocketPolicy
from trainer.run import train
from trainer.settings import RunConfig

LOSSES = 1e-3
"""The largest difference of a loss that is taken for rounding, as a share of it."""
STEPS = 6
"""Of a short run; the checkpoint is made in its middle."""


def pinned_loading(bench: Bench) -> Found:
    """Batches that the device reads from pinned slots, used again and again, are those of plain memory."""
    config = resolve_lanes(bench.config("pinned", *bench.short, "data.num_workers=2"), 1)
    device, count = torch.device(bench.device), 0
    plain, pinned = (build_data(config, rank=0, num_ranks=1) for _ in range(2))
    # What the data module asks its trainer for.
    pinned.trainer = SimpleNamespace(strategy=SimpleNamespace(root_device=device), training=False)  # type: ignore[assignment]
    for data in (plain, pinned):
        data.setup()
    try:
        for expected, batch in zip(plain.train_dataloader(), pinned.train_dataloader(), strict=True):
            moved = pinned.transfer_batch_to_device(batch, device, 0)
            del batch
            assert _fields(moved).keys() == _fields(expected).keys()
            for name, wanted in _fields(expected).items():
                if not torch.equal(_fields(moved)[name].cpu(), wanted):
                    return Found(f"batch {count}: {name} differs", good=False)
            count += 1
    finally:
        plain.teardown()
        pinned.teardown()
    return Found(
        f"{count} batches equal to the bit{'' if bench.device == 'cuda' else ', without pinning: no GPU'}"
    )


def _fields(batch: Any) -> dict[str, Tensor]:
    flat: dict[str, Tensor] = {}
    for name, value in batch.items():
        flat |= (
            {f"{name}/{inner}": one for inner, one in value.items()} if isinstance(value, dict) else {name: value}
        )
    return flat


def one_rank(bench: Bench) -> Found:
    """DDP on one rank, over NCCL where there is a GPU: losses of a few steps as without."""
    config = resolve_lanes(bench.config("one", *bench.short), 1)
    batches = _some_batches(config, bench.device, num_batches=STEPS)
    expected = _train_by_hand(config, bench.device, batches, wrap=lambda policy: policy)
    backend = "nccl" if bench.device == "cuda" else "gloo"
    dist.init_process_group(backend, rank=0, world_size=1, store=dist.HashStore())  # type: ignore[attr-defined]
    try:
        ddp = _train_by_hand(
            config,
            bench.device,
            batches,
            wrap=lambda policy: DistributedDataParallel(policy, gradient_as_bucket_view=True),
        )
        mean_over_ranks(torch.ones(3), torch.device(bench.device))
    finally:
        dist.destroy_process_group()
    return _as_expected(ddp, expected, f"{backend}, ")


def _some_batches(config: RunConfig, device: str, num_batches: int) -> list[Any]:
    data: RocketDataModule = build_data(config, rank=0, num_ranks=1)
    data.setup()
    try:
        batches = [
            data.transfer_batch_to_device(batch, torch.device(device), 0) for batch in data.train_dataloader()
        ]
    finally:
        data.teardown()
    return batches[:num_batches]


def _train_by_hand(
    config: RunConfig, device: str, batches: list[Any], wrap: Callable[[nn.Module], nn.Module]
) -> list[float]:
    policy = build_policy(config).to(device).train()
    policy.value_head.requires_grad_(requires_grad=False)
    optimizer = torch.optim.AdamW([p for p in policy.parameters() if p.requires_grad], lr=1e-4)
    module, memory, losses = wrap(policy), policy.initial_state(len(batches[0]["valid"])), []
    torch.manual_seed(0)
    for batch in batches:
        latents, memory = module(batch, memory)
        loss = cloning_losses(latents["pi_logits"], batch["action"], batch["valid"]).total.mean()
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        losses.append(float(loss))
    return losses


def two_ranks(bench: Bench) -> Found:
    """Two ranks train as one that computes their lanes one half after the other."""
    if bench.device == "cuda" and torch.cuda.device_count() < 2:
        raise CannotRun("no second GPU")
    settings = (*bench.short, "data.num_lane_groups=2", "trainer.micro_lanes=2")
    config = bench.config("two", *settings, "data.num_lanes=4", "trainer.devices=2")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("fork")
    ranks = [context.Process(target=_one_of_two, args=(config, rank, port)) for rank in range(2)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join()
    ended = [process.exitcode for process in ranks]
    if any(ended):
        return Found(f"the ranks ended with {ended}", good=False)
    expected = short_run(bench.config("alone", *settings, "data.num_lanes=4"))
    return _as_expected(_losses(config), expected, "nccl, " if bench.device == "cuda" else "gloo, ")


def _one_of_two(config: RunConfig, rank: int, port: int) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2", "NODE_RANK": "0"}
    os.environ["LOCAL_RANK"] = str(rank)
    train(config, out=io.StringIO())


def checkpointing(bench: Bench) -> Found:
    expected = short_run(bench.config("eager", *bench.short))
    return _as_expected(
        short_run(bench.config("checkpointing", *bench.short, "trainer.activation_checkpointing=true")), expected
    )


def resume(bench: Bench) -> Found:
    """A run that goes on from the checkpoint in its middle ends as the whole one."""
    whole = bench.config("whole", *bench.short)
    expected = short_run(whole)
    middle = Path(whole.run_dir) / "checkpoints" / f"step-{STEPS // 2:08d}.ckpt"
    again = short_run(bench.config("resumed", *bench.short), resume=str(middle))
    return _as_expected(again, expected[STEPS // 2 :])


def compiled(bench: Bench) -> Found:
    bench.need_gpu()  # compiling takes longer than all other checks on a CPU
    expected = short_run(bench.config("plain", *bench.short), dropout=False)
    return _as_expected(
        short_run(bench.config("compiled", *bench.short, "trainer.compile=true"), dropout=False), expected
    )


def short_run(config: RunConfig, resume: str | None = None, dropout: bool = True) -> list[float]:
    """The losses of a run of `rocket-train`, by step."""

    def make_policy(config: RunConfig, fetch_weights: bool) -> RocketPolicy:
        policy = build_policy(config, fetch_weights)
        if not dropout:  # a compiler draws other numbers
            without_dropout(policy)
        return policy

    with mock.patch("trainer.run.build_policy", make_policy):
        train(config, resume, out=io.StringIO())
    return _losses(config)


def _losses(config: RunConfig) -> list[float]:
    with open(Path(config.run_dir) / METRICS_FILE, newline="") as file:
        return [float(row["train/loss"]) for row in csv.DictReader(file) if row["train/loss"]]


def _as_expected(losses: Sequence[float], expected: Sequence[float], prefix: str = "") -> Found:
    if len(losses) != len(expected) or not losses:
        return Found(f"{prefix}{len(losses)} losses, expected {len(expected)}", good=False)
    worst = max(abs(got / wanted - 1) for got, wanted in zip(losses, expected, strict=True))
    return Found(f"{prefix}{len(losses)} losses, largest difference {worst:.0e}", worst < LOSSES)
