"""The page that a run leaves in its folder: curves, what memory does, frames with the policy's actions."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from shards.display.drawing import draw_frame
from shards.display.page import Panel, Section, Tile, html_image, html_table, render_page, write_page
from shards.display.wording import count, percent, short_count
from shards.errors import RocketError
from trainer.config import parse_config
from trainer.look import run_charts
from trainer.look.metrics_csv import read_metrics
from trainer.look.predictions import PredictedWindow, predict_windows
from trainer.settings import RunConfig

PAGE_FILE = "report.html"
_METRICS_FILE, _CONFIG_FILE = "metrics.csv", "config.yaml"
_CAPTION = "human in yellow, policy in blue: pressed keys, and the camera's movement as an arrow"


class RunPageError(RocketError):
    """A folder holds no run that a page could show."""


def write_run_page(run_dir: Path, out: Path | None = None, *, frames: bool = True) -> Path:
    """The run's page lies at `out` (default: report.html in its folder); returns where.

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
    table = _validations(rows)
    alarms: list[str] = []
    windows: list[PredictedWindow] = []
    if frames:
        try:
            windows = _predict(run_dir, config)
        except (RocketError, OSError) as error:
            alarms.append(f"Frames with predicted actions are missing: {error}")
    sections = [
        _loss(rows),
        _memory(rows, table, config),
        _validation(table),
        _frames(windows),
        _speed(rows),
        _settings(config),
    ]
    return render_page(
        run_dir.resolve().name,
        f"{run_dir}: {config.policy.backbone}, hiddim {config.policy.hiddim}, windows of {config.data.win_len} "
        f"frames, memory of {config.policy.mem_len}",
        _tiles(rows, table),
        [section for section in sections if section.panels],
        alarms=alarms,
        footer=f"rocket-train report {run_dir}",
    )


def _read(run_dir: Path) -> tuple[list[dict[str, float]], RunConfig]:
    metrics, settings = run_dir / _METRICS_FILE, run_dir / _CONFIG_FILE
    for path in (metrics, settings):
        if not path.is_file():
            raise RunPageError(f"{run_dir}: no {path.name}, expected a run's folder. Give the run_dir of a run.")
    content: Any = OmegaConf.to_container(OmegaConf.load(settings))
    rows = read_metrics(metrics)
    if not rows:
        raise RunPageError(
            f"{metrics}: no step was logged yet. Wait for the first {content.get('log_freq')} steps."
        )
    return rows, parse_config(content, settings.name)


def _predict(run_dir: Path, config: RunConfig) -> list[PredictedWindow]:
    weights = sorted((run_dir / "weights").glob("step-*[0-9].ckpt"))
    if not weights:
        raise RunPageError(
            f"{run_dir}: no weights yet, expected some in {run_dir / 'weights'}. Wait for a checkpoint."
        )
    return predict_windows(config, weights[-1])


def _validations(rows: Sequence[Mapping[str, float]]) -> list[dict[str, float]]:
    """The figures of each validation, by name without `val/`, with their step."""
    found = [row for row in rows if "val/loss" in row]
    return [
        {"step": row["step"], **{name[4:]: value for name, value in row.items() if name.startswith("val/")}}
        for row in found
    ]


def _tiles(rows: Sequence[Mapping[str, float]], table: Sequence[Mapping[str, float]]) -> list[Tile]:
    tiles = [Tile(count(rows[-1]["step"]), "steps")]
    _, train = run_charts.series(rows, "train/loss")
    if table:
        last = table[-1]
        tiles.append(Tile(f"{last['loss']:.3f}", "validation loss"))
        if "loss_constant_guess" in last:
            tiles.append(Tile(f"{last['loss_constant_guess']:.3f}", "best constant guess"))
        if "loss_without_memory" in last:
            gain = last["loss_without_memory"] - last["loss_with_memory"]
            tiles.append(Tile(f"{gain:.3f}", "less loss by memory"))
    elif train.size:
        tiles.append(Tile(f"{train[-1]:.3f}", "training loss"))
    _, speed = run_charts.series(rows, "speed/frames_per_second")
    if speed.size:
        tiles.append(Tile(short_count(float(speed[-1])), "frames/s"))
    _, wait = run_charts.series(rows, "speed/data_wait_share")
    if wait.size:
        tiles.append(Tile(percent(float(wait[-1])), "waiting for data"))
    return tiles


def _loss(rows: Sequence[Mapping[str, float]]) -> Section:
    return Section(
        "Loss", [Panel("All of it", run_charts.loss_chart(rows)), Panel("By part", run_charts.parts_chart(rows))]
    )


def _memory(
    rows: Sequence[Mapping[str, float]], table: Sequence[Mapping[str, float]], config: RunConfig
) -> Section:
    panels = []
    if any("loss_without_memory" in figures for figures in table):
        panels.append(
            Panel(
                "With and without",
                run_charts.memory_chart(rows),
                "The same validation windows, as the policy sees them and with its memory taken away; only "
                "windows that have a past in their episode.",
            )
        )
    if table and any(name.startswith("loss_by_position/") for name in table[-1]):
        panels.append(
            Panel(
                "By place in the window",
                run_charts.position_chart(table[-1]),
                "The last validation. A window's first frames have nothing but memory behind them.",
            )
        )
    if config.trainer.memory == "carry":
        note = f"Carried from window to window, up to {count(config.policy.mem_len)} frames back."
    else:
        note = "Taken away at every window (trainer.memory: reset)."
    return Section("Memory", panels, note)


def _validation(table: Sequence[Mapping[str, float]]) -> Section:
    if not table:
        return Section("Validation", [])
    best = min(table, key=lambda figures: figures["loss"])
    chosen = {"first": table[0], "best": best, "last": table[-1]}
    plain = [name for name in table[-1] if "/" not in name and name != "step"]
    rows = [[name.replace("_", " "), *(_figure(name, figures) for figures in chosen.values())] for name in plain]
    head = ["", *(f"{name}, step {count(figures['step'])}" for name, figures in chosen.items())]
    panels = [Panel("Figures", html_table(head, rows, "lrrr"), wide=True)]
    if any(name.startswith("loss_by_type/") for name in table[-1]):
        panels.append(
            Panel("Loss by interaction", run_charts.types_chart(table[-1]), "Nats a frame, last validation.")
        )
    names = [name.partition("/")[2] for name in table[-1] if name.startswith("button_f1/")]
    buttons = [
        [name, _share(table[-1].get(f"button_accuracy/{name}")), _share(table[-1].get(f"button_f1/{name}"))]
        for name in names
    ]
    if buttons:
        panels.append(
            Panel("Buttons", html_table(["button", "accuracy", "F1"], buttons, "lrr"), "The last validation.")
        )
    return Section("Validation", panels)


def _frames(windows: Sequence[PredictedWindow]) -> Section:
    figures = []
    for window in windows:
        images = []
        for frame in window.frames:
            picture = draw_frame(frame)
            buffer = io.BytesIO()
            picture.save(buffer, "JPEG", quality=78)
            what = f"frame {frame.frame} of episode {frame.episode_id}"
            images.append(html_image(buffer.getvalue(), "jpeg", what, picture.size))
        memory = "with memory of the windows before" if window.remembers else "at its episode's start"
        caption = f"episode {window.episode_id}, frames {window.start}:{window.stop}, {memory}"
        strip = "".join(images)
        figures.append(
            f"<figure><figcaption>{escape(caption)}</figcaption>"
            f'<div class="strip" tabindex="0">{strip}</div></figure>'
        )
    panels = [Panel("", "\n".join(figures), wide=True)] if figures else []
    return Section("Frames", panels, f"From validation, {_CAPTION}. The policy's likeliest action is shown.")


def _speed(rows: Sequence[Mapping[str, float]]) -> Section:
    panels = []
    if run_charts.series(rows, "speed/frames_per_second")[0].size:
        panels = [
            Panel("Frames", run_charts.speed_chart(rows), "Of all ranks together."),
            Panel("Waiting for data", run_charts.wait_chart(rows)),
        ]
    for name, title, column in (
        ("rate", "learning rate", "train/learning_rate"),
        ("norm", "gradient norm", "train/gradient_norm"),
    ):
        if run_charts.series(rows, column)[0].size:
            panels.append(Panel(title.capitalize(), run_charts.optimizer_chart(rows, name, column, title)))
    return Section("Speed and optimizer", panels)


def _settings(config: RunConfig) -> Section:
    panels = []
    rows: list[list[str]] = []
    for key, value in config.model_dump().items():
        if isinstance(value, dict):
            listed = [[name, _setting(inner)] for name, inner in value.items()]
            panels.append(Panel(key, html_table(["", ""], listed, "ln")))
        else:
            rows.append([key, _setting(value)])
    return Section("Settings", [Panel("run", html_table(["", ""], rows, "ln")), *panels])


def _setting(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_setting(inner)}" for key, inner in value.items())
    if isinstance(value, (list, tuple)):
        return "; ".join(_setting(inner) for inner in value) or "none"
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _figure(name: str, figures: Mapping[str, float]) -> str:
    value = figures.get(name)
    if value is None:
        return "–"
    return count(value) if name == "num_frames" else f"{value:.4f}"


def _share(value: float | None) -> str:
    return "–" if value is None else percent(value)
