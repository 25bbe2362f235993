"""A run's folder, read: the figures that the run has logged, its settings, its datasets."""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shards.errors import RocketError
from shards.settings import CONFIG_FILE, read_yaml
from trainer.changes import DATASETS_FILE

METRICS_FILE = "metrics.csv"

Rows = Sequence[Mapping[str, float]]
"""Figures by name, with their step."""


@dataclass(frozen=True)
class RunFolder:
    """What a run's folder says of it.

    Attributes:
        rows: of metrics.csv, which callbacks/csv_logger.py writes, each with the figures that it has.
        validations: the figures of each validation, by name without `val/`, with their step.
        settings: the nested content of config.yaml; empty where there is none.
        fingerprints: of its datasets, by path; empty where an older release has not written them.
    """

    run_dir: Path
    rows: Rows
    validations: Rows
    settings: dict[str, Any]
    fingerprints: Mapping[str, str]


def read_run(run_dir: Path) -> RunFolder:
    """The run in a folder.

    Raises:
        RocketError: there is none, or its config.yaml cannot be read.
    """
    metrics, config, datasets = run_dir / METRICS_FILE, run_dir / CONFIG_FILE, run_dir / DATASETS_FILE
    if not metrics.is_file():
        raise RocketError(f"{run_dir}: no {METRICS_FILE}, expected a run's folder. Give the run_dir of a run.")
    rows = read_metrics(metrics)
    validations = [
        {"step": row["step"], **{name[4:]: value for name, value in row.items() if name.startswith("val/")}}
        for row in rows
        if "val/loss" in row
    ]
    return RunFolder(
        run_dir,
        rows,
        validations,
        read_yaml(config) if config.is_file() else {},
        json.loads(datasets.read_text()) if datasets.is_file() else {},
    )


def read_metrics(path: Path) -> list[dict[str, float]]:
    """The rows of a metrics.csv, each with the figures that it has."""
    with path.open(newline="") as file:
        return [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(file)]
