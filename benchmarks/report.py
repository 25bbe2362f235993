"""Tables and the chart of a result page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Table:
    """Rows under a title; the first column names them."""

    title: str
    columns: Sequence[str]
    rows: list[list[str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, *cells: str) -> None:
        assert len(cells) == len(self.columns), f"{self.title}: {len(cells)} cells, {len(self.columns)} columns"
        self.rows.append(list(cells))

    def markdown(self) -> str:
        lines = [f"### {self.title}", "", f"| {' | '.join(self.columns)} |", "|---" * len(self.columns) + "|"]
        lines += [f"| {' | '.join(row)} |" for row in self.rows]
        return "\n".join([*lines, *(f"\n{note}" for note in self.notes)]) + "\n"


@dataclass(frozen=True)
class Bars:
    """One panel of the chart: a bar for each program, with its range."""

    title: str
    names: Sequence[str]
    medians: Sequence[float]
    lows: Sequence[float]
    highs: Sequence[float]


def draw_chart(panels: Sequence[Bars], path: Path) -> None:
    """Horizontal bars, a panel beside the other; ours and the limits stand out by colour."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, len(panels), figsize=(5.2 * len(panels), 0.45 * 8), squeeze=False)
    for axis, panel in zip(axes[0], panels, strict=True):
        colours = [_colour(name) for name in panel.names]
        below = [median - low for median, low in zip(panel.medians, panel.lows, strict=True)]
        above = [high - median for median, high in zip(panel.medians, panel.highs, strict=True)]
        places = range(len(panel.names))[::-1]
        axis.barh(places, panel.medians, color=colours, xerr=[below, above], ecolor="#555555", capsize=2)
        axis.set_yticks(list(places), panel.names)
        for place, median in zip(places, panel.medians, strict=True):
            axis.text(median, place, f" {median:,.0f}", va="bottom", fontsize=8)
        axis.set_title(panel.title, fontsize=10)
        axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _colour(name: str) -> str:
    if name.startswith("rocket1"):
        return "#2a7de1"
    return "#bbbbbb" if "alone" in name else "#e0893a"
