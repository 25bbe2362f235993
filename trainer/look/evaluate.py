"""What a checkpoint is worth on a dataset: the same figures as in training, for any of both."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from shards.errors import RocketError
from trainer.build import build_data, build_trainer, load_policy
from trainer.checkpoints.checkpoint import checkpoint_in, read_checkpoint
from trainer.config import parse_config, resolve_lanes
from trainer.devices import check_devices
from trainer.learning.module import RocketModule
from trainer.settings import DatasetConfig, RunConfig

SPLITS = ("val", "train", "all")
_ALONE = (
    "data.augment=false",
    "data.num_lanes=null",
    "data.num_lane_groups=null",
    "trainer.devices=1",
    "trainer.num_nodes=1",
    "trainer.val_every=1",
)
"""The settings of one process that sees every window as it is."""


def checkpoint_config(path: Path, content: dict[str, Any], overrides: Sequence[str] = ()) -> RunConfig:
    """The settings that a checkpoint was made with, and overrides on top.

    Raises:
        RocketError: it says nothing of them.
        SettingsError: an override does not fit.
    """
    settings = content.get("hyper_parameters", {}).get("config")
    if not isinstance(settings, dict):
        raise RocketError(
            f"{path}: holds no settings, so it was not made by rocket-train. "
            f"Run: rocket-train import-weights {shlex.quote(str(path))} --out imported.ckpt"
        )
    return parse_config(settings, path.name, overrides)


def evaluate(
    path: Path, datasets: Sequence[str], split: str = "val", averaged: bool = False, overrides: Sequence[str] = ()
) -> dict[str, float]:
    """The validation table of a checkpoint on datasets, in one process.

    Args:
        path: a full or weights-only checkpoint of rocket-train, or a run's folder.
        datasets: folders or addresses; none: those that it was trained on.
        split: `val` or `train` as the run divided them, or `all` episodes.
        overrides: `key=value` on top of the checkpoint's settings; without a `trainer.limit_val_steps`, all steps.
    """
    path = checkpoint_in(path)
    content = read_checkpoint(path)
    words = ["trainer.limit_val_steps=null", *overrides, *_ALONE]  # the run's limit was for validations in between
    if split == "all":
        words.append("data.split_ratio=1.0")
    config = resolve_lanes(checkpoint_config(path, content, words), 1)
    datasets = list(datasets) or [one.path for one in config.data.datasets]
    data_settings = config.data.model_copy(update={"datasets": [DatasetConfig(path=one) for one in datasets]})
    config = config.model_copy(update={"data": data_settings})
    check_devices(config)
    policy = load_policy(config, path, content, averaged)
    data = build_data(config, rank=0, num_ranks=1)
    data.setup()
    module = RocketModule(policy, config, [])
    module.counts = content.get("rocket", {}).get("counts") or module.counts
    loader = data.val_dataloader() if split == "val" else data.train_dataloader()
    if not len(loader):
        raise RocketError(
            f"{datasets[0]}: no episode is in the split at data.split_ratio={config.data.split_ratio:g}. "
            "Use --split all."
        )
    lightning_trainer = build_trainer(config, 1, [], [])
    try:
        lightning_trainer.validate(module, dataloaders=loader, verbose=False)
    finally:
        data.teardown()
    return module.validation


def table_lines(figures: dict[str, float]) -> list[str]:
    """The figures as a table: a line each, groups indented under their name."""
    lines: list[str] = []
    group = ""
    width = max(len(name.rpartition("/")[2]) for name in figures) + 4
    for name, value in figures.items():
        section, _, last = name.rpartition("/")
        if section != group:
            group = section
            if section:
                lines.append(section)
        text = f"{value:,.0f}" if name == "num_frames" else f"{value:.4f}"
        lines.append(f"{'  ' if section else ''}{last:<{width - (2 if section else 0)}}{text:>12}")
    return lines
