"""A picture of the lanes: every episode a block on its lane, padding at the ends."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.look.lane_plan import EpochPlan
from shards.display.chart import FAINT, GRID, INK, SERIES, WIDE_INCHES, new_chart, save_png
from shards.display.wording import count, percent
from shards.errors import RocketError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MAX_NAMED_RANKS = 32
_VECTOR_BLOCKS = 1500
"""With more blocks than this they are drawn as pixels, so that the picture's file stays small."""


def check_out(out: Path) -> None:
    """The picture can be written there.

    Raises:
        RocketError: if it does not end in .png or its folder is missing.
    """
    if out.suffix.lower() != ".png":
        raise RocketError(f"--out: {out} ends in {out.suffix or 'nothing'}, expected .png.")
    if not out.parent.is_dir():
        raise RocketError(f"--out: the folder {out.parent} is missing. Make it: mkdir -p {out.parent}")


def draw_plan(plan: EpochPlan, out: Path) -> None:
    """The picture of the plan's lanes lies at `out`.

    Raises:
        RocketError: if it cannot be written.
    """
    with new_chart(WIDE_INCHES, chart_height(plan)) as (figure, axes):
        draw_lanes(axes, plan)
        axes.set_title(lanes_title(plan), color=INK)
        try:
            save_png(figure, out)
        except OSError as error:
            raise RocketError(f"{out}: cannot be written, got {error}. Give another --out.") from error


def lanes_title(plan: EpochPlan) -> str:
    """What the picture shows, in one line."""
    schedule, settings = plan.schedule, plan.settings
    return (
        f"{count(len(plan.episodes))} episodes on {settings.num_lanes} lanes of {settings.num_ranks} ranks: "
        f"{count(schedule.num_steps)} steps, {percent(plan.padding_fraction)} padding"
    )


def chart_height(plan: EpochPlan) -> float:
    """Inches that the picture needs."""
    return min(max(1.6 + 0.16 * plan.settings.num_lanes, 2.2), 12.0)


def draw_lanes(axes: Axes, plan: EpochPlan) -> None:
    """The axes show a lane a row, steps from left to right.

    Neighbouring episodes differ in shade, ranks in colour; memory starts anew at each block's left edge.
    """
    from matplotlib.ticker import MaxNLocator

    schedule, settings = plan.schedule, plan.settings
    lanes_per_rank = settings.num_lanes // settings.num_ranks
    raster = len(plan.episodes) > _VECTOR_BLOCKS
    for lane in range(settings.num_lanes):
        windows = -(-_frames_of(plan, lane) // settings.window_frames)
        starts = np.cumsum(windows) - windows
        colour = SERIES[lane // lanes_per_rank % 2]
        for shade in (0, 1):
            axes.broken_barh(
                [
                    (int(start), int(width))
                    for start, width in zip(starts[shade::2], windows[shade::2], strict=True)
                ],
                (lane + 0.08, 0.84),
                facecolors=colour,
                alpha=0.9 if shade == 0 else 0.5,
                linewidth=0,
                rasterized=raster,
            )
        used = int(windows.sum())
        if used < schedule.num_steps:
            axes.broken_barh(
                [(used, schedule.num_steps - used)],
                (lane + 0.08, 0.84),
                facecolors="none",
                edgecolors=FAINT,
                hatch="////",
                linewidth=0.4,
            )
    axes.set_xlim(0, schedule.num_steps)
    axes.set_ylim(settings.num_lanes, 0)
    axes.set_xlabel("step; a block is an episode, memory starts anew at its left edge, hatching is padding")
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
    axes.grid(visible=False)
    every = -(-settings.num_ranks // _MAX_NAMED_RANKS)
    ranks = range(0, settings.num_ranks, every)
    axes.set_yticks([(rank + 0.5) * lanes_per_rank for rank in ranks], [f"rank {rank}" for rank in ranks])
    for rank in range(1, settings.num_ranks):
        axes.axhline(rank * lanes_per_rank, color=GRID, linewidth=0.8)


def _frames_of(plan: EpochPlan, lane: int) -> NDArray[np.int64]:
    return plan.num_frames[plan.schedule.lane(lane)]
