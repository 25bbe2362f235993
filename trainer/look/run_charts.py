"""The charts of a run's page, each as SVG."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from shards.display.chart import FAINT, INK, NARROW_INCHES, SERIES, Reading, bar_chart, new_chart, to_svg
from shards.interaction_types import INTERACTION_TYPES
from trainer.look.run_folder import Rows

if TYPE_CHECKING:
    from matplotlib.axes import Axes


_MAX_READINGS = 300
_SMOOTH_POINTS = 40
"""A curve with more points than this is drawn faintly, with its running mean over it."""


@dataclass(frozen=True)
class Curve:
    """A column of metrics.csv and how it is drawn; `colour` is a place in SERIES, None: in order."""

    column: str
    label: str
    colour: int | None = None
    dashed: bool = False


def series(rows: Rows, name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Steps and values of a column, where it has some."""
    pairs = [(row["step"], row[name]) for row in rows if name in row and np.isfinite(row[name])]
    steps, values = zip(*pairs, strict=True) if pairs else ((), ())
    return np.array(steps, float), np.array(values, float)


def run_charts(rows: Rows, validation: Mapping[str, float]) -> dict[str, Markup]:
    """The charts by name: curves over steps, and bars of one validation's figures; empty where there are none."""
    guess = validation.get("loss_constant_guess")
    unit = "nats a frame"
    loss = [Curve("train/loss", "training"), Curve("val/loss", "validation")]
    parts = [
        Curve(f"{split}/loss_{part}", part + note, colour)
        for colour, part in enumerate(("buttons", "camera"))
        for split, note in (("train", ""), ("val", ", validation"))
    ]
    memory = [
        Curve("val/loss_with_memory", "with memory", 2),
        Curve("val/loss_without_memory", "without memory", 4, dashed=True),
        Curve("val/loss_watched", "watched, with", 0),
        Curve("val/loss_watched_without_memory", "watched, without", 1, dashed=True),
    ]

    positions = _group(validation, "loss_by_position")
    types = dict(sorted(_group(validation, "loss_by_type").items(), key=lambda item: -item[1]))
    colour_of = {kind.name: kind.page_colour for kind in INTERACTION_TYPES}
    colours = [colour_of.get(name, FAINT) for name in types]

    def chart(
        name: str, curves: Sequence[Curve], unit: str, description: str, level: float | None = None
    ) -> Markup:
        return curves_chart([(curve, rows) for curve in curves], name, unit, description, level)

    return {
        "loss": chart("loss", loss, unit, "training and validation loss by step", guess),
        "parts": chart("parts", parts, unit, "loss of buttons and camera by step"),
        "memory": chart("memory", memory, unit, "validation loss with and without memory by step"),
        "play": chart("play", [Curve("val/play_success", "", 2)], "share won", "played episodes won by step"),
        "position": _losses_chart("position", positions, "validation loss by position in the window", [SERIES[2]]),
        "types": _losses_chart("loss-types", types, "validation loss by interaction type", colours),
        **{
            name: chart(name, [Curve(column, "", colour)], unit, f"{description} by step")
            for name, column, colour, unit, description in (
                ("speed", "speed/frames_per_second", 0, "frames/s", "training speed"),
                ("wait", "speed/data_wait_share", 4, "share of the time", "share of time waiting for data"),
                ("rate", "train/learning_rate", 3, "learning rate", "learning rate"),
                ("norm", "train/gradient_norm", 3, "gradient norm", "gradient norm"),
            )
        },
    }


def curves_chart(
    lines: Sequence[tuple[Curve, Rows]], name: str, unit: str, description: str, level: float | None = None
) -> Markup:
    """Columns over the steps, of one run or of several, with a dashed line at `level`, the best guess's loss.

    It is empty without values, and a table where there is one of each.
    """
    from matplotlib.ticker import MaxNLocator

    drawn = [(curve, *series(rows, curve.column)) for curve, rows in lines]
    if not any(steps.size for _, steps, _ in drawn):
        return Markup()
    if max(steps.size for _, steps, _ in drawn) == 1:
        return _points([one for one in drawn if one[1].size])
    readings = []
    with new_chart(NARROW_INCHES, 3.0) as (figure, axes):
        for place, (curve, steps, values) in enumerate(drawn):
            if steps.size:
                readings += [
                    Reading(step, value, f"step {step:,.0f}  {curve.label} {value:.4g}")
                    for step, value in zip(_thin(steps), _thin(values), strict=True)
                ]
                _draw(axes, curve, SERIES[place if curve.colour is None else curve.colour], steps, values)
        if level is not None:
            axes.axhline(level, color=FAINT, linestyle=(0, (4, 3)), linewidth=1.2, label="best constant guess")
        if len(lines) == 1:
            axes.set_ylim(0)
        elif axes.get_legend_handles_labels()[1]:
            # Above the axes, where it covers no curve.
            axes.legend(labelcolor=INK, loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0.3)
        axes.set_xlabel("step")
        axes.set_ylabel(unit)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.xaxis.set_major_formatter("{x:,.0f}")
        return to_svg(figure, name, description, readings)


def _points(drawn: Sequence[tuple[Curve, NDArray[np.float64], NDArray[np.float64]]]) -> Markup:
    """What there is to say of curves of one point each: a table."""
    row = Markup('<tr><td>{}</td><td class="number">{:.4g}</td><td class="number">step {:,.0f}</td></tr>')
    rows = [row.format(curve.label or curve.column, values[0], steps[0]) for curve, steps, values in drawn]
    return Markup("<table><tbody>{}</tbody></table>").format(Markup().join(rows))


def _thin(values: NDArray[np.float64]) -> list[float]:
    """The values, or evenly spaced ones with the last where there are many."""
    kept: list[float] = values[:: -max(1, len(values) // _MAX_READINGS)][::-1].tolist()
    return kept


def _draw(
    axes: "Axes", curve: Curve, colour: str, steps: NDArray[np.float64], values: NDArray[np.float64]
) -> None:
    """One curve: validations with a mark each; of many points the running mean over them, drawn faintly."""
    validation = curve.column.startswith("val/")
    if not validation and len(values) > _SMOOTH_POINTS:
        axes.plot(steps, values, color=colour, alpha=0.3, linewidth=1.0)
        width = max(3, len(values) // _SMOOTH_POINTS * 2 + 1)
        values = np.convolve(values, np.ones(width) / width, mode="valid")
        steps = steps[width // 2 : width // 2 + len(values)]
    axes.plot(
        steps,
        values,
        color=colour,
        label=curve.label,
        marker="o" if validation else None,
        markersize=4,
        linestyle=(0, (4, 2)) if curve.dashed else "-",
    )


def _losses_chart(name: str, losses: Mapping[str, float], description: str, colours: Sequence[str]) -> Markup:
    """A bar for each part of a validation, with its loss in nats a frame."""
    if not losses:
        return Markup()
    texts = [f"{value:.2f}" for value in losses.values()]
    return bar_chart(name, list(losses), list(losses.values()), texts, description, colours)


def _group(figures: Mapping[str, float], group: str) -> dict[str, float]:
    prefix = f"{group}/"
    return {name.removeprefix(prefix): value for name, value in figures.items() if name.startswith(prefix)}
