"""Charts in the colours of their page: matplotlib figures as SVG whose colours are the page's own.

A figure is drawn in the palette's light colours. In SVG each of them becomes a CSS variable, so that one drawing
serves light and dark pages and paper; as PNG it stays light.
"""

import io
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup, escape

from shards.display import palette

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, FAINT, GRID, PAPER = (palette.PAGE[name].light for name in ("ink", "faint", "grid", "paper"))
SERIES = [pair.light for pair in palette.SERIES]
_VARIABLES = {pair.light: f"--{name}" for name, pair in palette.CSS_VARIABLES.items()}

NARROW_INCHES, WIDE_INCHES = 4.7, 10.0
"""Widths of charts, two in a row or alone; letters come out as large as the page's on a phone."""

_ROW_INCHES = 0.28
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 10.5,
    "text.color": INK,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": FAINT,
    "axes.facecolor": "none",
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.titlesize": 11.5,
    "axes.titlelocation": "left",
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.major.size": 0.0,
    "ytick.major.size": 0.0,
    "legend.frameon": False,
    "legend.fontsize": 10.5,
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "lines.linewidth": 1.6,
    "lines.solid_capstyle": "round",
}


@contextmanager
def new_chart(width_inches: float, height_inches: float) -> Iterator[tuple["Figure", "Axes"]]:
    """A figure with one set of axes, in the house's style for as long as the block lasts: save it inside."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(width_inches, height_inches), layout="constrained")
        yield figure, figure.subplots()


def bar_chart(
    name: str,
    labels: Sequence[str],
    values: Sequence[float],
    texts: Sequence[str],
    description: str,
    colours: Sequence[str] | None = None,
) -> Markup:
    """Horizontal bars from top to bottom, each with its text at the end."""
    with new_chart(NARROW_INCHES, 0.35 + _ROW_INCHES * max(len(labels), 2)) as (figure, axes):
        places = np.arange(len(labels))
        axes.barh(places, values, 0.72, color=colours or SERIES[0])
        most = max([float(value) for value in values], default=1.0) or 1.0
        for place, value, text in zip(places.tolist(), values, texts, strict=True):
            axes.text(float(value) + most * 0.015, place, text, va="center", ha="left", color=FAINT)
        axes.set_yticks(places, labels)
        axes.tick_params(axis="y", labelcolor=INK)
        axes.set_xlim(0, most * (1.22 if max(map(len, texts), default=0) < 10 else 1.45))
        axes.set_xticks([])
        axes.set_ylim(len(labels) - 0.4, -0.6)
        axes.grid(visible=False)
        axes.spines["bottom"].set_visible(False)
        return to_svg(figure, name, description)


@dataclass(frozen=True)
class Reading:
    """A value that the page shows where the pointer is: a place in the axes' data, and its text."""

    x: float
    y: float
    text: str


def to_svg(figure: "Figure", name: str, description: str, readings: Sequence[Reading] = ()) -> Markup:
    """The figure as an SVG element of a page.

    Args:
        name: unique on the page; ids in the drawing begin with it.
        description: for a reader who cannot see the chart.
        readings: values to show on demand, of the first axes.
    """
    import matplotlib as mpl

    buffer = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"\bid=\"([^\"]+)\"", rf'id="{name}-\1"', text)
    text = re.sub(r"(xlink:href=\"|url\()#", rf"\1#{name}-", text)
    for colour, variable in _VARIABLES.items():
        text = re.sub(colour, f"var({variable})", text, flags=re.IGNORECASE)
    text = re.sub(r"font: (\d*\.?\d+)px [^;\"]*", r"font-size: \1px", text)
    # The page scales it: the drawing's own width and height would win over the style sheet.
    for side in ("height", "width"):
        text = re.sub(rf"(<svg [^>]*?){side}=\"[^\"]*\"", r"\1", text, count=1)
    label = f'role="img" aria-label="{escape(description)}" class="chart"'
    if readings:
        label += f' tabindex="0" data-readings="{escape(json.dumps(_places(figure, readings)))}"'
    drawing = text.replace("<svg ", f"<svg {label} ", 1).strip()
    return Markup(f'<div class="chart-box">{drawing}</div>')  # noqa: S704 (matplotlib escapes its texts)


def _places(figure: "Figure", readings: Sequence[Reading]) -> list[tuple[float, float, str]]:
    """(x, y, text) in the drawing's own units, 72 to the inch from its upper left corner."""
    places = figure.axes[0].transData.transform([(reading.x, reading.y) for reading in readings])
    places *= 72 / figure.dpi
    height = 72 * figure.get_size_inches()[1]
    return [
        (round(float(x), 1), round(float(height - y), 1), reading.text)
        for (x, y), reading in zip(places, readings, strict=True)
    ]
