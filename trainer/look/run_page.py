"""The page that a run leaves in its folder: curves, what memory does, frames with the policy's actions."""

import itertools
import shlex
from pathlib import Path
from typing import Any

from shards.display.page import render_page, strip_images, write_page
from shards.display.player import Film, make_film
from shards.errors import RocketError
from shards.settings import CONFIG_FILE
from trainer.changes import read_history
from trainer.checkpoints.checkpoint import newest_weights
from trainer.config import parse_config
from trainer.look import run_charts
from trainer.look.predictions import predict_windows
from trainer.look.run_folder import read_run
from trainer.look.verdict import verdict

PAGE_FILE = "report.html"
_MAX_FILM_BYTES = 6_000_000
_STRIP_FRAMES = 6


def write_run_page(run_dir: Path, out: Path | None = None, *, frames: bool = True) -> Path:
    """The run's page is at `out` (default: report.html in its folder); returns where.

    Frames with predicted actions need the run's datasets and newest weights.

    Raises:
        RocketError: the folder holds no run, or the page cannot be written.
    """
    out = out or run_dir / PAGE_FILE
    write_page(run_page(run_dir, frames=frames), out)
    return out


def run_page(run_dir: Path, *, frames: bool = True) -> str:
    """The run's page as HTML."""
    run = read_run(run_dir)
    rows, validations = run.rows, run.validations
    if not run.settings:
        raise RocketError(f"{run_dir}: no {CONFIG_FILE}, expected a run's folder. Give the run_dir of a run.")
    if not rows:
        raise RocketError(
            f"{run_dir}: no step was logged yet. Wait for the first {run.settings.get('log_freq')} steps."
        )
    config = parse_config(run.settings, CONFIG_FILE)
    command = f"rocket-train report {shlex.quote(str(run_dir))}"
    alarms: list[str] = []
    strips: list[tuple[str, Any]] = []
    film: Film | None = None
    if frames:
        try:
            weights = newest_weights(run_dir)
            if weights is None:
                raise RocketError(
                    f"{run_dir}: no weights yet, expected some in {run_dir / 'weights'}. Wait for a checkpoint."
                )
            lanes = predict_windows(config, weights)
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
        latest={name: value for row in rows for name, value in row.items()},  # the last one of each column
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
