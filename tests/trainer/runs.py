"""Small real runs for tests: a policy of a few thousand weights on episodes of a few frames."""

import functools
import multiprocessing
import os
import sys
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch

from tests.synthetic import HEIGHT, WIDTH, make_dataset
from trainer.config import RunConfig, load_config

EPISODES = [[40, 16, 25, 9], [1, 70, 33, 18], [15, 17, 30, 52]]
"""Frames of the episodes of each shard."""


def make_run_dataset(folder: Path) -> Path:
    """A dataset of 12 episodes with 1 to 70 frames."""
    make_dataset(folder, EPISODES)
    return folder


def overrides(dataset: Path, run_dir: Path, *more: str) -> list[str]:
    """Overrides of the demo's settings that make it as small as can be."""
    return [
        f"data.datasets=[{dataset}]",
        f"run_dir={run_dir}",
        "log_freq=1",
        "data.win_len=8",
        "policy.timesteps=8",
        f"data.frame_width={WIDTH}",
        f"data.frame_height={HEIGHT}",
        "data.batch_size=4",
        "data.num_workers=0",
        "data.num_lane_groups=2",
        "policy.hiddim=32",
        "policy.num_heads=2",
        "policy.num_layers=2",
        "policy.mem_len=12",
        "optimizer.warmup_steps=4",
        "trainer.max_steps=12",
        "trainer.save_every=4",
        "trainer.val_every=6",
        "ema.every_n_steps=2",
        "validation.watch_events=[event_1]",
        *more,
    ]


def small_config(dataset: Path, run_dir: Path, *more: str) -> RunConfig:
    return load_config("demo", overrides(dataset, run_dir, *more))


def in_child(*arguments: str, resume: str | None = None, env: dict[str, str] | None = None) -> BaseProcess:
    """A process that trains with these overrides, started; forked from one that has imported everything."""
    process = _server().Process(target=_train, args=(arguments, resume, env or {}))
    process.start()
    return process


@functools.cache
def _server() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["trainer.run"])
    return context


def _train(arguments: tuple[str, ...], resume: str | None, env: dict[str, str]) -> None:
    os.environ.update(env)
    torch.set_num_threads(1)
    from trainer import cli

    log = open(env.get("LOG", os.devnull), "a", buffering=1)  # noqa: SIM115 (as long as the process)
    sys.stdout = sys.stderr = log
    cli.main(["demo", *arguments, *(["--resume", resume] if resume else [])])
