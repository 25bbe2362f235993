"""The page that a run leaves in its folder: curves, what memory does, frames with the policy's actions."""

import itertools
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from shards.display.footage import Stretch
from shards.display.page import render_page, strip_images, write_page
from shards.display.player import Film, make_film
from shards.errors import RocketError
from shards.settings import CONFIG_FILE, read_yaml
from trainer.changes import read_history
from trainer.config import parse_config
from trainer.look import run_charts
from trainer.look.metrics_csv import METRICS_FILE, read_metrics
from trainer.look.predictions import predict_windows
from trainer.look.verdict import verdict
from trainer.settings import RunConfig

PAGE_FILE = "report.html"
_MAX_FILM_BYTES = 6_000_000
_STRIP_FRAMES = 6


class RunPageError(RocketError):
    """A folder holds no run that a page could show."""


def write_run_page(run_dir: Path, out: Path | None = None, *, frames: bool = True) -> Path:
    """The run's page is at `out` (default: report.html in its folder); returns where.

    Args:
        frames: also show frames with predicted actions, which needs the run's datasets and newest weights.

    Raises:
        RunPageError: the folder holds no run.
        RocketError: the page cannot be written.
    """
    out = out or run_dir / PAGE_FILE
    write_page(run_page(run_dir, frames=frames), out)
    return out


def run_page(run_dir: Path, *, frames: bool = True) -> str:
    """The run's page as HTML.

    Raises:
        RunPageError: the folder holds no run.
    """
    rows, config = _read(run_dir)
    command = f"rocket-train report {shlex.quote(str(run_dir))}"
    validations, latest = _validations(rows), _latest(rows)
    alarms: list[str] = []
    strips: list[tuple[str, Any]] = []
    film: Film | None = None
    if frames:
        try:
            lanes = _predict(run_dir, config)
            strips = [(last.caption, strip_images(last.frames(_STRIP_FRAMES))) for *_, last in lanes]
            size = (config.data.frame_width, config.data.frame_height)
            film = make_film(itertools.chain(*lanes), size, _MAX_FILM_BYTES)
        except (RocketError, OSError) as error:
            alarms.append(f"Frames with predicted actions are missing: {error}")
    return render_page(
        "trainer.look",
        "run.html",
        title=run_dir.resolve().name,
        alarms=alarms,
        footer=command,
        command=command,
        run_dir=run_dir,
        config=config,
        settings=config.model_dump(),
        history=read_history(run_dir),
        rows=rows,
        latest=latest,
        findings=verdict(rows, validations, config.trainer.memory),
        validations=validations,
        best=min(validations, key=lambda figures: figures["loss"], default=None),
        buttons=[name.rpartition("/")[2] for name in validations[-1] if name.startswith("button_f1/")]
        if validations
        else [],
        strips=strips,
        film=film,
        charts=run_charts.run_charts(rows, validations[-1] if validations else {}),
    )


def _read(run_dir: Path) -> tuple[list[dict[str, float]], RunConfig]:
    metrics, settings = run_dir / METRICS_FILE, run_dir / CONFIG_FILE
    for path in (metrics, settings):
        if not path.is_file():
            raise RunPageError(f"{run_dir}: no {path.name}, expected a run's folder. Give the run_dir of a run.")
    content = read_yaml(settings)
    rows = read_metrics(metrics)
    if not rows:
        raise RunPageError(
            f"{metrics}: no step was logged yet. Wait for the first {content.get('log_freq')} steps."
        )
    return rows, parse_config(content, settings.name)


def _predict(run_dir: Path, config: RunConfig) -> list[list[Stretch]]:
    weights = sorted((run_dir / "weights").glob("step-*[0-9].ckpt"))
    if not weights:
        raise RunPageError(
            f"{run_dir}: no weights yet, expected some in {run_dir / 'weights'}. Wait for a checkpoint."
        )
    return predict_windows(config, weights[-1])


def _validations(rows: Sequence[Mapping[str, float]]) -> list[dict[str, float]]:
    """The figures of each validation, by name without `val/`, with their step."""
    return [
        {"step": row["step"], **{name[4:]: value for name, value in row.items() if name.startswith("val/")}}
        for row in rows
        if "val/loss" in row
    ]


def _latest(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The last value of each column."""
    latest: dict[str, float] = {}
    for row in rows:
        latest |= row
    return latest
