"""Reads metrics.csv, which callbacks/csv_logger.py writes."""

import csv
from pathlib import Path

METRICS_FILE = "metrics.csv"


def read_metrics(path: Path) -> list[dict[str, float]]:
    """The rows of a metrics.csv, each with the figures that it has."""
    with path.open(newline="") as file:
        return [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(file)]
