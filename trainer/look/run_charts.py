"""The charts of a run's page, each as SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from shards.display.chart import FAINT, INK, NARROW_INCHES, SERIES, new_chart, to_svg
from shards.interaction_types import INTERACTION_TYPES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Rows = Sequence[Mapping[str, float]]

_ROW_INCHES = 0.28
_SMOOTH_POINTS = 40
"""A curve with more points than this is drawn faintly, with its running mean over it."""


def series(rows: Rows, name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Steps and values of a column, where it has some."""
    pairs = [(row["step"], row[name]) for row in rows if name in row and np.isfinite(row[name])]
    steps, values = zip(*pairs, strict=True) if pairs else ((), ())
    return np.array(steps, float), np.array(values, float)


def loss_chart(rows: Rows) -> str:
    """Training and validation loss, and what a constant guess would cost."""
    with new_chart(NARROW_INCHES, 3.0) as (figure, axes):
        _curve(axes, rows, "train/loss", SERIES[0], "training")
        _curve(axes, rows, "val/loss", SERIES[1], "validation", marker="o")
        _, guess = series(rows, "val/loss_constant_guess")
        if guess.size:
            axes.axhline(guess[-1], color=FAINT, linestyle=(0, (4, 3)), linewidth=1.2, label="best constant guess")
        return _finished(figure, axes, "loss", "nats a frame", "training and validation loss by step")


def parts_chart(rows: Rows) -> str:
    """The parts of the loss."""
    with new_chart(NARROW_INCHES, 3.0) as (figure, axes):
        for place, part in enumerate(("buttons", "camera")):
            _curve(axes, rows, f"train/loss_{part}", SERIES[place], part)
            _curve(axes, rows, f"val/loss_{part}", SERIES[place], f"{part}, validation", marker="o")
        return _finished(figure, axes, "parts", "nats a frame", "loss of buttons and camera by step")


def memory_chart(rows: Rows) -> str:
    """Validation loss with and without what earlier windows left in memory."""
    with new_chart(NARROW_INCHES, 3.0) as (figure, axes):
        _curve(axes, rows, "val/loss_with_memory", SERIES[2], "with memory", marker="o")
        _curve(axes, rows, "val/loss_without_memory", SERIES[4], "without memory", marker="o", dashed=True)
        _curve(axes, rows, "val/loss_watched", SERIES[0], "watched, with", marker="o")
        _curve(
            axes,
            rows,
            "val/loss_watched_without_memory",
            SERIES[1],
            "watched, without",
            marker="o",
            dashed=True,
        )
        return _finished(figure, axes, "memory", "nats a frame", "validation loss with and without memory by step")


def speed_chart(rows: Rows) -> str:
    """Frames a second."""
    with new_chart(NARROW_INCHES, 2.8) as (figure, axes):
        _curve(axes, rows, "speed/frames_per_second", SERIES[0], "frames/s")
        axes.set_ylim(0)
        return _finished(figure, axes, "speed", "frames/s", "training speed by step", legend=False)


def wait_chart(rows: Rows) -> str:
    """Share of the time spent waiting for data."""
    with new_chart(NARROW_INCHES, 2.8) as (figure, axes):
        shares = [
            {**row, "wait": 100 * row["speed/data_wait_share"]} for row in rows if "speed/data_wait_share" in row
        ]
        _curve(axes, shares, "wait", SERIES[4], "waiting")
        axes.set_ylim(0)
        return _finished(figure, axes, "wait", "% of the time", "share of time waiting for data", legend=False)


def optimizer_chart(rows: Rows, name: str, column: str, unit: str) -> str:
    """Learning rate or gradient norm."""
    with new_chart(NARROW_INCHES, 2.4) as (figure, axes):
        _curve(axes, rows, column, SERIES[3], unit)
        axes.set_ylim(0)
        return _finished(figure, axes, name, unit, f"{unit} by step", legend=False)


def position_chart(figures: Mapping[str, float]) -> str:
    """Loss by place in the window: where it falls, the policy lives on what it remembers."""
    places = _group(figures, "loss_by_position")
    with new_chart(NARROW_INCHES, 2.8) as (figure, axes):
        axes.bar(range(len(places)), list(places.values()), 0.7, color=SERIES[2])
        axes.set_xticks(range(len(places)), [name.replace("-", "–") for name in places], rotation=30, ha="right")
        axes.set_xlabel("frames of the window")
        axes.set_ylabel("nats a frame")
        axes.grid(visible=False, axis="x")
        return to_svg(figure, "position", "validation loss by position in the window")


def types_chart(figures: Mapping[str, float]) -> str:
    """Loss by interaction type."""
    colour_of = {kind.name: kind.page_colour for kind in INTERACTION_TYPES}
    losses = dict(sorted(_group(figures, "loss_by_type").items(), key=lambda item: -item[1]))
    with new_chart(NARROW_INCHES, 0.4 + _ROW_INCHES * max(len(losses), 2)) as (figure, axes):
        places = np.arange(len(losses))
        colours = [colour_of.get(name, FAINT) for name in losses]
        axes.barh(places, list(losses.values()), 0.72, color=colours)
        for place, value in zip(places.tolist(), losses.values(), strict=True):
            axes.text(value, place, f" {value:.2f}", va="center", color=FAINT)
        axes.set_yticks(places, list(losses))
        axes.tick_params(axis="y", labelcolor=INK)
        axes.set_xticks([])
        axes.set_xlim(0, max(losses.values(), default=1.0) * 1.15)
        axes.set_ylim(len(losses) - 0.4, -0.6)
        axes.grid(visible=False)
        axes.spines["bottom"].set_visible(False)
        return to_svg(figure, "loss-types", "validation loss by interaction type")


def _group(figures: Mapping[str, float], group: str) -> dict[str, float]:
    prefix = f"{group}/"
    return {name.removeprefix(prefix): value for name, value in figures.items() if name.startswith(prefix)}


def _curve(
    axes: Axes,
    rows: Rows,
    column: str,
    colour: str,
    label: str,
    marker: str | None = None,
    *,
    dashed: bool = False,
) -> None:
    steps, values = series(rows, column)
    if not steps.size:
        return
    if marker is None and len(values) > _SMOOTH_POINTS:
        axes.plot(steps, values, color=colour, alpha=0.3, linewidth=1.0)
        width = max(3, len(values) // _SMOOTH_POINTS * 2 + 1)
        mean = np.convolve(values, np.ones(width) / width, mode="valid")
        axes.plot(steps[width // 2 : width // 2 + len(mean)], mean, color=colour, label=label)
    else:
        style: Any = (0, (4, 2)) if dashed else "-"
        axes.plot(steps, values, color=colour, label=label, marker=marker, markersize=4, linestyle=style)


def _finished(figure: object, axes: Axes, name: str, unit: str, description: str, *, legend: bool = True) -> str:
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    assert isinstance(figure, Figure)
    axes.set_xlabel("step")
    axes.set_ylabel(unit)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.xaxis.set_major_formatter("{x:,.0f}")
    if legend and axes.get_legend_handles_labels()[1]:
        # Above the axes, where it covers no curve.
        axes.legend(labelcolor=INK, loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0.3)
    return to_svg(figure, name, description)
