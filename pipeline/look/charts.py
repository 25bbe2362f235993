"""The charts of a dataset, as SVG for its report, the lanes also as a PNG; and what the manifest does not tell."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from pipeline.look.lane_plan import EpochPlan
from pipeline.look.overview import Overview
from shards.display.chart import (
    FAINT,
    GRID,
    INK,
    NARROW_INCHES,
    PAPER,
    SERIES,
    WIDE_INCHES,
    bar_chart,
    new_chart,
    to_svg,
)
from shards.display.wording import count, number_of, percent, play_time
from shards.errors import DamagedClip
from shards.interaction_types import interaction_type
from shards.places import output
from shards.schedule.collection import Collection

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_NICE_DEGREES = (2.0, 5.0, 10.0, 20.0, 45.0, 90.0, 180.0)
_HEAT_BINS = 41
_SAMPLED_CLIPS = 256
_MAX_NAMED_RANKS = 32
_VECTOR_BLOCKS = 1500
"""With more blocks than this, lanes are drawn as pixels, so that the picture's file stays small."""


def lengths_chart(overview: Overview) -> Markup:
    """Episodes by length."""
    lengths = overview.lengths
    labels = [
        f"{play_time(start)} to {play_time(stop)}"
        for start, stop in zip(lengths.edges_frames, lengths.edges_frames[1:], strict=False)
    ]
    return bar_chart(
        "lengths",
        labels,
        list(lengths.num_episodes),
        [count(n) for n in lengths.num_episodes],
        "episodes by length",
    )


def types_chart(overview: Overview) -> Markup:
    """Frames by interaction type."""
    facts = sorted(overview.interactions, key=lambda item: -item.num_frames)
    shares = [overview.share(item.num_frames) for item in facts]
    return bar_chart(
        "types",
        [item.name for item in facts],
        shares,
        [f"{percent(share)} ({count(item.num_interactions)})" for share, item in zip(shares, facts, strict=True)],
        "share of frames with a mask, by interaction type",
        [interaction_type(item.type).page_colour for item in facts],
    )


def buttons_chart(overview: Overview) -> Markup:
    """Frames by pressed button; those that are never pressed are left to the text."""
    pairs = sorted(overview.button_frames.items(), key=lambda item: -item[1])
    shares = {name: overview.share(number) for name, number in pairs if number}
    texts = [percent(share) for share in shares.values()]
    return bar_chart("buttons", list(shares), list(shares.values()), texts, "share of frames by button")


@dataclass(frozen=True)
class SampledActions:
    """Actions of evenly spread clips: camera movements, f64 (n, 2), degrees, [pitch, yaw]."""

    camera: NDArray[np.float64]
    num_clips: int
    damaged: list[DamagedClip]


def sample_actions(collection: Collection, num_clips: int = _SAMPLED_CLIPS) -> SampledActions:
    """The actions of at most so many clips, evenly spread over the datasets.

    Raises:
        OSError: if the storage fails.
    """
    stops = np.cumsum(np.concatenate([one.episodes.num_clips for one in collection.datasets]))
    camera, damaged = [np.zeros((0, 2))], []
    for clip in np.unique(np.linspace(0, stops[-1] - 1, num_clips).round().astype(np.int64)).tolist():
        episode = int(np.searchsorted(stops, clip, side="right"))
        dataset, place = collection.locate(episode)
        row = dataset.clip_rows(place)[clip - int(stops[episode])]  # counted from the episode's end
        try:
            camera.append(dataset.read_arrays(place, row).camera)
        except DamagedClip as damage:
            damaged.append(damage)
    return SampledActions(np.concatenate(camera), len(camera) - 1, damaged)


def camera_chart(actions: SampledActions) -> Markup:
    """Camera movements a frame as a heat map, yaw to the right and pitch downwards."""
    from matplotlib.collections import PolyCollection
    from matplotlib.colors import LinearSegmentedColormap, LogNorm, to_rgba

    moved = actions.camera[(actions.camera != 0).any(axis=1)]
    reach = float(np.quantile(np.abs(moved).max(axis=1), 0.99)) if len(moved) else 1.0
    limit = next((degrees for degrees in _NICE_DEGREES if degrees >= reach), _NICE_DEGREES[-1])
    edges = np.linspace(-limit, limit, _HEAT_BINS + 1)
    pitch, yaw = np.clip(moved, -limit, limit).T
    heat, _, _ = np.histogram2d(pitch, yaw, bins=[edges, edges])
    rows, columns = np.nonzero(heat)
    share = heat[rows, columns] / max(len(actions.camera), 1) * 100
    low, high = (float(share.min()), float(share.max())) if share.size else (0.01, 1.0)
    square = np.array([(0, 0), (1, 0), (1, 1), (0, 1)]) * (edges[1] - edges[0])
    # One hue, the more solid the more frames: the page's ground is the scale's low end.
    ends = [to_rgba(SERIES[1], 0.22), to_rgba(SERIES[1], 1.0)]
    with new_chart(NARROW_INCHES, 3.8) as (figure, axes):
        figure.set_layout_engine("compressed")
        squares = axes.add_collection(
            PolyCollection(
                square + np.stack((edges[columns], edges[rows]), axis=1)[:, None],
                array=share,
                cmap=LinearSegmentedColormap.from_list("heat", ends, 32),
                norm=LogNorm(low, max(high, low * 1.01)),
                linewidths=0,
                antialiaseds=False,
            )
        )
        axes.set_xlim(-limit, limit)
        axes.set_ylim(limit, -limit)
        axes.axhline(0, color=FAINT, linewidth=0.6)
        axes.axvline(0, color=FAINT, linewidth=0.6)
        axes.set_aspect("equal")
        axes.set_xlabel("yaw, degrees a frame")
        axes.set_ylabel("pitch, degrees a frame")
        scale = figure.colorbar(squares, label="% of frames", format="{x:g}", shrink=0.8)
        scale.outline.set_visible(False)
        scale.ax.tick_params(which="both", length=0)
        return to_svg(figure, "camera", "heat map of camera movements in degrees a frame")


def lanes_chart(plan: EpochPlan) -> Markup:
    """The lanes of an epoch."""
    with new_chart(WIDE_INCHES, min(_lanes_inches(plan), 6.5)) as (figure, axes):
        _draw_lanes(axes, plan)
        return to_svg(figure, "lanes", "episodes on the lanes of an epoch, with padding at the ends")


def save_lanes(plan: EpochPlan, out: Path) -> None:
    """The picture of the plan's lanes is at `out`, a PNG.

    Raises:
        RocketError: if it cannot be written.
    """
    settings = plan.settings
    with new_chart(WIDE_INCHES, _lanes_inches(plan)) as (figure, axes):
        _draw_lanes(axes, plan)
        axes.set_title(
            f"{number_of(len(plan.episodes), 'episode')} on {number_of(settings.num_lanes, 'lane')} of "
            f"{number_of(plan.num_ranks, 'rank')}: {number_of(plan.schedule.num_steps, 'step')}, "
            f"{percent(plan.padding_fraction)} padding",
            color=INK,
        )
        with output(out) as partial:
            figure.savefig(partial, format="png", dpi=150, facecolor=PAPER, metadata={"Software": None})


def _lanes_inches(plan: EpochPlan) -> float:
    return min(max(1.6 + 0.16 * plan.settings.num_lanes, 2.2), 12.0)


def _draw_lanes(axes: "Axes", plan: EpochPlan) -> None:
    """A lane a row, steps from left to right; neighbouring episodes differ in shade, ranks in colour."""
    from matplotlib.ticker import MaxNLocator

    schedule, settings = plan.schedule, plan.settings
    lanes_per_rank = settings.num_lanes // plan.num_ranks
    raster = len(plan.episodes) > _VECTOR_BLOCKS
    for lane in range(settings.num_lanes):
        windows = -(-plan.collection.num_frames[schedule.lane(lane)] // settings.window_frames)
        starts = np.cumsum(windows) - windows
        colour = SERIES[lane // lanes_per_rank % 2]
        axes.broken_barh(
            list(zip(starts.tolist(), windows.tolist(), strict=True)),
            (lane + 0.08, 0.84),
            facecolors=[(colour, 0.9), (colour, 0.5)],  # in turn
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
    axes.set_xlabel("step; a block is an episode, memory is empty at its left edge, hatching is padding")
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
    axes.grid(visible=False)
    every = -(-plan.num_ranks // _MAX_NAMED_RANKS)
    ranks = range(0, plan.num_ranks, every)
    axes.set_yticks([(rank + 0.5) * lanes_per_rank for rank in ranks], [f"rank {rank}" for rank in ranks])
    for rank in range(1, plan.num_ranks):
        axes.axhline(rank * lanes_per_rank, color=GRID, linewidth=0.8)
