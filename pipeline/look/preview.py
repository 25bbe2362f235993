"""Pictures, films and players of an episode or a lane, as `rocket-prep preview` writes them."""

import itertools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.look.lane_plan import EpochPlan
from pipeline.look.pictures import SILENT, Strip, draw_strips, is_film
from pipeline.progress import ProgressReport
from shards.display.footage import Stretch, goals_of
from shards.display.page import render_page, write_page
from shards.display.player import make_film
from shards.display.wording import count, number_of, play_time, short_event
from shards.errors import RocketError
from shards.interaction_types import interaction_type
from shards.reader import Dataset, open_dataset

EPISODE_CELLS, LANE_CELLS = 24, 6
_COLUMNS = 6
_RANGE = re.compile(r"(\d+)?:(\d+)?|(\d+)")

Span = tuple[int | None, int | None]
"""[start, stop), None where it is left out."""


def parse_range(option: str, text: str) -> Span:
    """The span that is meant by `10:20`, `:20`, `10:`, `:`, or `10` for that one alone.

    Raises:
        RocketError: if it is none of these.
    """
    found = _RANGE.fullmatch(text.strip())
    if found is None:
        raise RocketError(f"{option}: got {text!r}, expected START:STOP, such as 100:164.")
    start, stop, single = (None if part is None else int(part) for part in found.groups())
    return (single, single + 1) if single is not None else (start, stop)


def _bounds(option: str, span: Span, size: int, unit: str, suggested: int) -> tuple[int, int]:
    """The span with its ends filled in, if it lies within the `size` that there are."""
    start, stop = span[0] or 0, size if span[1] is None else span[1]
    if not 0 <= start < stop <= size:
        raise RocketError(
            f"{option}: got {start}:{stop}, expected {unit} of 0:{size}. Use {option} 0:{min(size, suggested)}."
        )
    return start, stop


def dataset_with(paths: Sequence[str], episode_id: str) -> Dataset:
    """The first of the datasets that has this episode, or the first one, which says what it has."""
    datasets = [open_dataset(path) for path in paths]
    return next((one for one in datasets if episode_id in one.episodes.ids), datasets[0])


def preview_episode(
    dataset: Dataset,
    episode_id: str,
    span: Span,
    out: Path,
    num_cells: int | None = None,
    progress: ProgressReport = SILENT,
) -> int:
    """A contact sheet, film or player of an episode's frames is at `out`; returns how many frames it shows.

    Raises:
        RocketError: if there is no such episode or frame, or the file cannot be written.
        DamagedClip: if a clip's bytes are missing, changed or do not decode.
    """
    episode = dataset.index_of(episode_id)
    num_frames = int(dataset.episodes.num_frames[episode])
    start, stop = _bounds("--frames", span, num_frames, "frames", 200)
    size = (dataset.info.frame_width, dataset.info.frame_height)
    whole = Stretch(dataset, episode, start, stop, "")
    title = f"Episode {episode_id}"
    subtitle = f"{dataset.path}: frames {start}:{stop} of {count(num_frames)}, {play_time(num_frames)}"
    if out.suffix.lower() == ".html":
        return _write_player(out, title, subtitle, _by_interaction(whole), size)
    strip = Strip.of(whole, None if is_film(out) else num_cells or EPISODE_CELLS)
    return draw_strips(out, title, subtitle, [strip], size, min(_COLUMNS, strip.num_frames), progress)


def preview_lane(
    plan: EpochPlan,
    lane: int,
    span: Span,
    out: Path,
    num_cells: int | None = None,
    progress: ProgressReport = SILENT,
) -> int:
    """A contact sheet, film or player of a lane's steps is at `out`; returns how many frames it shows.

    Raises:
        RocketError: if the plan has no such lane or steps, or the file cannot be written.
        DamagedClip: if a clip's bytes are missing, changed or do not decode.
    """
    steps = lane_stretches(plan, lane, span)
    size = (plan.collection.frame_width, plan.collection.frame_height)
    title = (
        f"Lane {lane} of {plan.settings.num_lanes}, epoch {plan.epoch}, "
        f"windows of {number_of(plan.settings.window_frames, 'frame')}"
    )
    paths = ", ".join(one.path for one in plan.collection.datasets)
    resets = number_of(sum(step.memory == "empty" for step in steps), "time")
    subtitle = f"{paths}: what the policy is shown, step by step; memory starts empty {resets}"
    if out.suffix.lower() == ".html":
        return _write_player(out, title, subtitle, (step for step in steps if step.stop), size)
    cells = num_cells or LANE_CELLS
    strips = [Strip.of(step, None if is_film(out) else cells) for step in steps]
    return draw_strips(out, title, subtitle, strips, size, cells, progress)


def lane_stretches(plan: EpochPlan, lane: int, span: Span = (None, None)) -> list[Stretch]:
    """The windows of a lane's steps, as the policy gets them but for augmentation; padding has no frames.

    Raises:
        RocketError: the plan has no such lane, or the epoch no such steps.
    """
    num_lanes, num_steps = plan.settings.num_lanes, plan.schedule.num_steps
    if not 0 <= lane < num_lanes:
        raise RocketError(f"--lane: no lane {lane}, expected 0 to {num_lanes - 1}. Use --lanes for more lanes.")
    goals: dict[int, NDArray[np.int32]] = {}
    stretches = []
    for step in range(*_bounds("--steps", span, num_steps, "steps", 8)):
        window = plan.schedule.window(step, lane)
        if window is None:
            heading = f"step {step}: padding, masked and without loss"
            stretches.append(Stretch(plan.collection.datasets[0], 0, 0, 0, heading))
            continue
        dataset, episode = plan.collection.locate(window.episode)
        if window.episode not in goals:
            epoch = 0 if plan.split == "val" else plan.epoch  # validation shows the same goals every time
            goals = {window.episode: goals_of(dataset, episode, seed=plan.settings.seed, epoch=epoch)}
        heading = f"step {step}: {dataset.episodes.ids[episode]}, frames {window.start}:{window.stop}"
        goal = goals[window.episode]
        stretches.append(
            Stretch(
                dataset, episode, window.start, window.stop, heading, "empty" if window.first else "kept", goal
            )
        )
    return stretches


def _by_interaction(whole: Stretch) -> Iterator[Stretch]:
    """The stretch cut where interactions start."""
    names = {
        item.start: f"{interaction_type(item.type).name}: {short_event(item.event)}"
        for item in reversed(whole.dataset.interactions(whole.episode))
    }
    inside = {frame for frame in names if whole.start < frame < whole.stop}
    for first, last in itertools.pairwise(sorted({whole.start, whole.stop, *inside})):
        heading = f"from {first}: {names.get(first, 'before the next interaction')}"
        yield Stretch(whole.dataset, whole.episode, first, last, heading)


def _write_player(
    out: Path, title: str, subtitle: str, stretches: Iterator[Stretch], size_px: tuple[int, int]
) -> int:
    film = make_film(stretches, size_px)
    cut = (
        f"Only the first {number_of(film.num_frames, 'frame')} are here, so that the page stays small. "
        "Choose others with --frames or --steps."
    )
    page = render_page(
        "pipeline.look",
        "player.html",
        title=title,
        subtitle=subtitle,
        alarms=[cut] if film.is_cut else [],
        footer="rocket-prep preview",
        film=film,
    )
    write_page(page, out)
    return film.num_frames
