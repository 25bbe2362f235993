"""Charts that follow the page they stand on: matplotlib figures as SVG whose colours are the page's own.

A figure is drawn in the light colours below. In SVG each of them becomes a CSS variable, so that one drawing
serves light and dark pages and paper; as PNG it stays light.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shards.interaction_types import INTERACTION_TYPES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, FAINT, GRID, PAPER = "#1d2127", "#5d6673", "#dde1e7", "#fdfdfe"
SERIES = ("#2868b8", "#c2571a", "#2a8a57", "#8a4fb5", "#b8336a", "#8b7a10", "#157f93")
"""Told apart from each other, also without red and green, on white and (as the page's dark twins) on black."""

VARIABLES = {
    INK: "--ink",
    FAINT: "--faint",
    GRID: "--grid",
    PAPER: "--paper",
    **{colour: f"--series-{place}" for place, colour in enumerate(SERIES)},
    **{kind.page_colour: f"--type-{kind.id}" for kind in INTERACTION_TYPES},
}

NARROW_INCHES, WIDE_INCHES = 4.7, 10.0
"""Widths of charts that stand two in a row, or alone; letters come out as large as the page's on a phone."""

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
def new_chart(width_inches: float = NARROW_INCHES, height_inches: float = 2.8) -> Iterator[tuple[Figure, Axes]]:
    """A figure with one set of axes, in the house's style for as long as the block lasts: save it inside."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(width_inches, height_inches), layout="constrained")
        yield figure, figure.subplots()


def to_svg(figure: Figure, name: str, description: str) -> str:
    """The figure as an SVG element to stand in a page.

    Args:
        name: unique on the page; ids in the drawing begin with it.
        description: what a reader who cannot see the chart is told.
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
    for colour, variable in VARIABLES.items():
        text = re.sub(colour, f"var({variable})", text, flags=re.IGNORECASE)
    text = re.sub(r"font: (\d*\.?\d+)px [^;\"]*", r"font-size: \1px", text)
    # The page scales it: the drawing's own width and height would win over the style sheet.
    text = re.sub(r"(<svg [^>]*?)height=\"[^\"]*\"", r"\1", text, count=1)
    text = re.sub(r"(<svg [^>]*?)width=\"[^\"]*\"", r"\1", text, count=1)
    label = f'role="img" aria-label="{escape(description, quote=True)}" class="chart"'
    return text.replace("<svg ", f"<svg {label} ", 1).strip()


def save_png(figure: Figure, path: Path, dots_per_inch: int = 150) -> None:
    """The figure lies at `path`, on white.

    Raises:
        OSError: if it cannot be written.
    """
    figure.savefig(path, format="png", dpi=dots_per_inch, facecolor=PAPER, metadata={"Software": None})
