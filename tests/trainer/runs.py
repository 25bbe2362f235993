"""Small real runs for tests: a policy of a few thousand weights on episodes of a few frames."""

import functools
import multiprocessing
import os
import socket
import sys
from collections.abc import Callable, Sequence
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.callbacks import Callback, Checkpoint

from tests.synthetic import HEIGHT, WIDTH, make_dataset
from trainer.config import load_config
from trainer.learning.module import RocketModule
from trainer.policy import RocketPolicy
from trainer.settings import RunConfig

EPISODES = [[40, 16, 25, 9], [1, 70, 33, 18], [15, 17, 30, 52]]
"""Frames of the episodes of each shard."""


def make_run_dataset(folder: Path) -> Path:
    """A dataset of 12 episodes with 1 to 70 frames."""
    make_dataset(folder, EPISODES)
    return folder


def overrides(dataset: Path, run_dir: Path, *more: str) -> list[str]:
    """Overrides of the demo's settings that make it as small as can be."""
    return [
        f"data.datasets={dataset}",
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
        "logging.page=false",
        "validation.watch_events=[event_1]",
        *more,
    ]


def small_config(dataset: Path, run_dir: Path, *more: str) -> RunConfig:
    return load_config("demo", overrides(dataset, run_dir, *more))


def in_child(
    *arguments: str,
    log: Path,
    resume: str | None = None,
    env: dict[str, str] | None = None,
    dropout: bool = True,
    folder: Path | None = None,
) -> BaseProcess:
    """A process that trains with these overrides, started; forked from one that has imported everything.

    Args:
        arguments: overrides of the demo's settings.
        log: gets what it says.
        resume: as for `--resume`.
        env: variables of its environment.
        dropout: false makes the policy deterministic, so that lanes may be spread differently.
        folder: where it runs.
    """
    process = _server().Process(target=_train, args=(arguments, str(log), resume, env or {}, dropout, folder))
    process.start()
    return process


def asked_in_child(function: Callable[..., str], *arguments: str, env: dict[str, str], folder: Path) -> str:
    """What a function answers in a process with these variables; an empty one is not set."""
    answer = folder / "answer"
    process = _server().Process(target=_answer, args=(function, arguments, env, str(answer)))
    process.start()
    process.join(150)
    assert process.exitcode == 0
    return answer.read_text()


def _answer(function: Callable[..., str], arguments: tuple[str, ...], env: dict[str, str], out: str) -> None:
    for name, value in env.items():
        os.environ.pop(name, None)
        if value:
            os.environ[name] = value
    Path(out).write_text(function(*arguments))


def finish(process: BaseProcess, log: Path, status: int = 0) -> str:
    """The process has ended with this status; what it said."""
    process.join(150)
    said = log.read_text() if log.exists() else ""
    assert process.exitcode == status, said
    return said


def start_ranks(
    *arguments: str,
    num_ranks: int,
    log: Path,
    resume: str | None = None,
    folders: Sequence[Path] = (),
    of_rank: Sequence[Sequence[str]] = (),
) -> list[BaseProcess]:
    """As many real processes as ranks, started as torchrun starts them: `logN` gets what rank N says.

    Each rank may run in a folder of its own, and have arguments of its own.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(num_ranks), "NODE_RANK": "0"}
    return [
        in_child(
            *arguments,
            f"trainer.devices={num_ranks}",
            *(of_rank[rank] if of_rank else ()),
            log=log.with_name(f"{log.name}{rank}"),
            resume=resume,
            env={**place, "LOCAL_RANK": str(rank)},
            folder=folders[rank] if folders else None,
        )
        for rank in range(num_ranks)
    ]


@functools.cache
def _server() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["trainer.run", "trainer.cli"])
    return context


def _train(
    arguments: tuple[str, ...],
    log: str,
    resume: str | None,
    env: dict[str, str],
    dropout: bool,
    folder: Path | None,
) -> None:
    from trainer import build, cli, run

    os.environ.update(env)
    if folder is not None:
        os.chdir(folder)
    torch.set_num_threads(1)
    sys.stdout = sys.stderr = open(log, "a", buffering=1)  # noqa: SIM115 (as long as the process)

    def without_dropout(config: RunConfig, fetch_weights: bool) -> RocketPolicy:
        policy = build.build_policy(config, fetch_weights)
        for layer in policy.modules():
            if isinstance(layer, torch.nn.Dropout):
                layer.p = 0.0
            elif isinstance(layer, torch.nn.MultiheadAttention):
                layer.dropout = 0.0
        return policy

    if not dropout:
        run.build_policy = without_dropout
    cli.main(["demo", *arguments, *(["--resume", resume] if resume else [])])


def fit(
    config: RunConfig, *callbacks: Callback, policy: RocketPolicy | None = None, **module: Any
) -> RocketModule:
    """The module after a run in this process, without files."""
    from trainer.build import build_data, build_policy, build_trainer, load_teacher
    from trainer.config import resolve_lanes
    from trainer.learning.objectives import build_objectives

    config = resolve_lanes(config, 1)
    torch.set_num_threads(1)
    trained = RocketModule(
        policy or build_policy(config), config, build_objectives(config.objectives, load_teacher), **module
    )
    data = build_data(config)
    trainer = build_trainer(config, 1, [_NoCheckpoint(), *callbacks], [])
    try:
        trainer.fit(trained, datamodule=data)
    finally:
        data.teardown()
    return trained


class _NoCheckpoint(Checkpoint):
    """Keeps Lightning from adding its own."""
