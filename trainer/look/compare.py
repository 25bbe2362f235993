"""Runs side by side: the last validation of each, from the metrics.csv in its folder."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from shards.errors import RocketError

METRICS_FILE = "metrics.csv"
_ROWS = (
    ("loss", "loss a frame"),
    ("loss_constant_guess", "of the best constant guess"),
    ("loss_watched", "loss on watched frames"),
    ("loss_watched_without_memory", "  with memory taken away"),
    ("action_accuracy", "actions guessed right"),
    ("button_f1", "F1, mean over buttons"),
    ("camera_error_degrees", "camera error, degrees"),
)


def last_validation(run_dir: Path) -> tuple[int, dict[str, float]]:
    """The step of a run's last validation and its figures, by name without `val/`.

    Raises:
        RocketError: there is no metrics.csv, or no validation in it.
    """
    path = run_dir / METRICS_FILE
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = [row for row in csv.DictReader(file) if row.get("val/loss")]
    except OSError as error:
        raise RocketError(
            f"{path}: cannot be read, got {error.strerror}. Give the run_dir of a rocket-train run."
        ) from error
    if not rows:
        raise RocketError(f"{path}: no validation yet. Let the run reach trainer.val_every steps, or its end.")
    figures = {name.removeprefix("val/"): value for name, value in rows[-1].items() if name.startswith("val/")}
    return int(rows[-1]["step"]), {name: float(value) for name, value in figures.items() if value}


def compare_lines(run_dirs: Sequence[Path]) -> list[str]:
    """A table with a column for each run, and what follows from it in words.

    Raises:
        RocketError: a run has no validation.
    """
    runs = [last_validation(run_dir) for run_dir in run_dirs]
    width = max(12, *(len(str(run_dir)) + 2 for run_dir in run_dirs))
    lines = ["validation".ljust(28) + "".join(str(run_dir).rjust(width) for run_dir in run_dirs)]
    lines.append("after step".ljust(28) + "".join(f"{step:,}".rjust(width) for step, _ in runs))
    for name, text in _ROWS:
        cells = [f"{figures[name]:.3f}" if name in figures else "-" for _, figures in runs]
        if any(cell != "-" for cell in cells):
            lines.append(text.ljust(28) + "".join(cell.rjust(width) for cell in cells))
    for run_dir, (_, figures) in zip(run_dirs, runs, strict=True):
        guess = figures.get("loss_constant_guess")
        if guess:
            share = 1 - figures["loss"] / guess
            side = "under" if share >= 0 else "over"
            lines.append(f"{run_dir}: loss {abs(share):.0%} {side} that of the best constant guess")
    watched = [
        (figures["loss_watched"], run_dir)
        for run_dir, (_, figures) in zip(run_dirs, runs, strict=True)
        if "loss_watched" in figures
    ]
    if len(watched) > 1 and min(watched)[0] > 0:
        (best, best_run), (worst, worst_run) = min(watched), max(watched)
        lines.append(f"watched frames: {worst_run} has {worst / best:.1f} times the loss of {best_run}")
    return lines
