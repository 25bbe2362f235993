"""Runs side by side: their last validations, whether those are of the same data, and the settings that differ."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from shards.display.page import render_page
from shards.display.wording import shorten
from shards.errors import RocketError
from shards.settings import CONFIG_FILE, flat, override, shown
from trainer.look.run_charts import Curve, curves_chart
from trainer.look.run_folder import RunFolder, read_run

_ROWS = (
    ("loss", "loss a frame"),
    ("loss_constant_guess", "of the best constant guess"),
    ("loss_watched", "loss on watched frames"),
    ("loss_watched_without_memory", "  with memory taken away"),
    ("action_accuracy", "actions guessed right"),
    ("button_f1", "F1, mean over buttons"),
    ("camera_error_degrees", "camera error, degrees"),
    ("num_frames", "frames"),
)
_CHARTS = (
    ("train", "train/loss", "Training loss", "nats a frame"),
    ("val", "val/loss", "Validation loss", "nats a frame"),
    ("watched", "val/loss_watched", "Loss on watched frames", "nats a frame"),
    ("f1", "val/button_f1", "F1, mean over buttons", "F1"),
)
_DECIDE_DATA = (
    "data.datasets",
    "data.split_ratio",
    "data.shuffle_episodes",
    "seed",
    "trainer.limit_val_steps",
    "validation.watch_events",
)
"""Settings by which validations are of other frames, or show other goals."""

_NO_DIFFERENCE = ("run_dir", "logging.")


def _read(run_dirs: Sequence[Path]) -> list[RunFolder]:
    runs = [read_run(run_dir) for run_dir in run_dirs]
    for run in runs:
        if not run.validations:
            raise RocketError(
                f"{run.run_dir}: no validation yet. Let the run reach trainer.val_every steps, or its end."
            )
    return runs


def differing_settings(runs: Sequence[RunFolder]) -> dict[str, list[Any]]:
    """The settings in which the runs differ, with each run's value; None where a run has none."""
    settings = [flat(override(run.settings, (), f"{run.run_dir}/{CONFIG_FILE}")) for run in runs]
    keys = dict.fromkeys(key for one in settings for key in one if not key.startswith(_NO_DIFFERENCE))
    values = {key: [one.get(key) for one in settings] for key in keys}
    return {key: each for key, each in values.items() if any(value != each[0] for value in each)}


def data_warnings(runs: Sequence[RunFolder]) -> list[str]:
    """Why the runs' validations cannot be compared: they are of other data, splits or goals; mostly none."""
    unknown = [str(run.run_dir) for run in runs if not run.settings]
    warnings = (
        [f"{', '.join(unknown)}: no {CONFIG_FILE}, so nobody knows what was validated on."] if unknown else []
    )
    known = [run for run in runs if run.settings]
    differing = differing_settings(known) if len(known) > 1 else {}
    for key in _DECIDE_DATA:
        if key in differing:
            values = ", ".join(shown(value) for value in differing[key])
            warnings.append(f"The runs validated on different frames or goals: {key} is {values}.")
    changed = [
        path
        for path in dict.fromkeys(path for run in runs for path in run.fingerprints)
        if len({run.fingerprints[path] for run in runs if path in run.fingerprints}) > 1
    ]
    if changed:
        warnings.append(
            f"The runs validated on different data: {', '.join(changed)} was built again between them."
        )
    frames = [run.validations[-1].get("num_frames") for run in runs]
    if not warnings and any(number != frames[0] for number in frames):
        listed = ", ".join("unknown" if number is None else f"{number:,.0f}" for number in frames)
        warnings.append(f"The runs validated on different frames: {listed} of them. Was a dataset built again?")
    return warnings


def compare_lines(run_dirs: Sequence[Path]) -> list[str]:
    """A table with a column for each run, and what follows from it in words."""
    runs = _read(run_dirs)
    width = max(12, *(len(str(run_dir)) + 2 for run_dir in run_dirs))
    lines = ["validation".ljust(28) + "".join(str(run_dir).rjust(width) for run_dir in run_dirs)]
    lines += [name.ljust(28) + "".join(cell.rjust(width) for cell in cells) for name, *cells in table_rows(runs)]
    lines += conclusions(runs)
    differing = differing_settings(runs) if all(run.settings for run in runs) else {}
    if differing:
        lines.append("settings that differ")
        lines += [f"  {key}: {', '.join(shown(value) for value in values)}" for key, values in differing.items()]
    return [*lines, *(f"watch out: {warning}" for warning in data_warnings(runs))]


def table_rows(runs: Sequence[RunFolder]) -> list[list[str]]:
    """The last validations: a name and a cell for each run, without rows that no run has."""
    last = [run.validations[-1] for run in runs]
    rows = [["after step", *(f"{figures['step']:,.0f}" for figures in last)]]
    for name, text in _ROWS:
        form = ",.0f" if name == "num_frames" else ".3f"
        cells = [format(figures[name], form) if name in figures else "-" for figures in last]
        if any(cell != "-" for cell in cells):
            rows.append([text, *cells])
    return rows


def conclusions(runs: Sequence[RunFolder]) -> list[str]:
    """Sentences that follow from the last validations."""
    lines = []
    for run in runs:
        figures = run.validations[-1]
        if guess := figures.get("loss_constant_guess"):
            share = 1 - figures["loss"] / guess
            side = "under" if share >= 0 else "over"
            lines.append(f"{run.run_dir}: loss {abs(share):.0%} {side} that of the best constant guess")
    losses = [(run.validations[-1].get("loss_watched"), run.run_dir) for run in runs]
    watched = [(loss, run_dir) for loss, run_dir in losses if loss is not None]
    if len(watched) > 1 and min(watched)[0] > 0:
        (best, best_run), (worst, worst_run) = min(watched), max(watched)
        lines.append(f"watched frames: {worst_run} has {worst / best:.1f} times the loss of {best_run}")
    return lines


def compare_page(run_dirs: Sequence[Path]) -> str:
    """The comparison as a page: curves of all runs over each other, figures, settings that differ."""
    runs = _read(run_dirs)
    names = [run_dir.resolve().name for run_dir in run_dirs]
    distinct = len(set(names)) == len(names)
    labels = [shorten(name if distinct else str(path), 20) for name, path in zip(names, run_dirs, strict=True)]
    charts = []
    for name, column, title, unit in _CHARTS:
        lines = [(Curve(column, label), run.rows) for label, run in zip(labels, runs, strict=True)]
        chart = curves_chart(lines, name, unit, f"{title.lower()} of each run by step")
        if chart:
            charts.append((title, chart))
    return render_page(
        "trainer.look",
        "compare.html",
        title="Runs compared",
        subtitle=", ".join(str(run.run_dir) for run in runs),
        alarms=data_warnings(runs),
        footer=shlex.join(["rocket-train", "compare", *map(str, run_dirs)]),
        runs=runs,
        charts=charts,
        rows=table_rows(runs),
        conclusions=conclusions(runs),
        differing=[[key, *map(shown, values)] for key, values in differing_settings(runs).items()],
    )
