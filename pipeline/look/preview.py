"""Pictures, films and players of an episode or a lane, as `rocket-prep preview` writes them."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from pipeline.look.footage import LaneStep, LaneView, read_frames, spaced
from pipeline.look.pictures import Strip, StripKind, contact_sheet
from shards.display.drawing import cell_size, draw_frame
from shards.display.film import FILM_WIDTH_PX, write_film
from shards.display.page import check_out, render_page, write_page
from shards.display.palette import ALARM, BACKGROUND, FAINT, INK, font
from shards.display.player import Stretch, make_film
from shards.display.wording import count, number_of, play_time, short_event
from shards.errors import RocketError
from shards.interaction_types import interaction_type
from shards.reader import Dataset, open_dataset

FORMATS = (".png", ".jpg", ".mp4", ".html")
EPISODE_CELLS, LANE_CELLS = 24, 6
_COLUMNS = 6
_NOTICE_FRAMES = 10
"""Frames of a film for which a memory reset stays announced."""

_BAND_PX = 26
_RANGE = re.compile(r"(\d+)?:(\d+)?|(\d+)")

Progress = Callable[[int, int], None]
"""Called with (frames drawn since the last call, frames in all)."""


def parse_range(option: str, text: str) -> tuple[int | None, int | None]:
    """`10:20`, `:20`, `10:`, `:`, or `10` for the one that follows: (start, stop), None where it is left out.

    Raises:
        RocketError: if it is none of these.
    """
    found = _RANGE.fullmatch(text.strip())
    if found is None:
        raise RocketError(f"{option}: got {text!r}, expected START:STOP, such as 100:164.")
    start, stop, single = (None if part is None else int(part) for part in found.groups())
    return (single, single + 1) if single is not None else (start, stop)


def dataset_with(paths: Sequence[str], episode_id: str) -> Dataset:
    """The first of the datasets that has this episode, or the first one, which says what it has."""
    datasets = [open_dataset(path) for path in paths]
    return next((one for one in datasets if episode_id in one.episodes.ids), datasets[0])


def preview_episode(
    dataset: Dataset,
    episode_id: str,
    span: tuple[int | None, int | None],
    out: Path,
    *,
    num_cells: int = EPISODE_CELLS,
    progress: Progress | None = None,
) -> int:
    """A contact sheet or film of an episode's frames is at `out`; returns how many frames it shows.

    Args:
        span: frames [start, stop); None is the episode's beginning or end.

    Raises:
        RocketError: if there is no such episode or frame, or the file cannot be written.
        DamagedClip: if a clip's bytes are missing, changed or do not decode.
    """
    check_out(out, *FORMATS)
    episode = dataset.index_of(episode_id)
    num_frames = int(dataset.episodes.num_frames[episode])
    start, stop = span[0] or 0, num_frames if span[1] is None else span[1]
    if not 0 <= start < stop <= num_frames:
        raise RocketError(
            f"--frames: got {start}:{stop}, expected frames of 0:{num_frames} as episode {episode_id} has them. "
            f"Use --frames 0:{min(num_frames, 200)}."
        )
    info = dataset.info
    if out.suffix.lower() == ".html":
        subtitle = f"{dataset.path}: {number_of(num_frames, 'frame')}, {play_time(num_frames)}"
        stretches = episode_stretches(dataset, episode, start, stop)
        return _write_player(
            out, f"Episode {episode_id}", subtitle, stretches, (info.frame_width, info.frame_height)
        )
    if out.suffix.lower() == ".mp4":
        shown = read_frames(dataset, episode, range(start, stop))
        pictures = (draw_frame(frame, FILM_WIDTH_PX) for frame in shown)
        return write_film(out, _counted(pictures, stop - start, progress))
    frames = list(read_frames(dataset, episode, spaced(start, stop, num_cells)))
    sheet = contact_sheet(
        f"episode {episode_id}",
        f"{dataset.path} | {len(frames)} of frames {start}:{stop} of {count(num_frames)}, {play_time(num_frames)}",
        [Strip("", frames)],
        (info.frame_width, info.frame_height),
        min(_COLUMNS, len(frames)),
    )
    save_picture(sheet, out)
    return len(frames)


def preview_lane(
    view: LaneView,
    steps: Sequence[LaneStep],
    out: Path,
    *,
    num_cells: int = LANE_CELLS,
    progress: Progress | None = None,
) -> int:
    """A contact sheet or film of a lane's steps is at `out`; returns how many frames it shows.

    Raises:
        RocketError: if the file cannot be written.
        DamagedClip: if a clip's bytes are missing, changed or do not decode.
    """
    check_out(out, *FORMATS)
    collection = view.plan.collection
    size = (collection.frame_width, collection.frame_height)
    plan = view.plan
    title = (
        f"lane {view.lane} of {plan.settings.num_lanes}, epoch {plan.epoch}, "
        f"windows of {number_of(plan.settings.window_frames, 'frame')}"
    )
    if out.suffix.lower() == ".html":
        subtitle = f"{', '.join(one.path for one in collection.datasets)}: what the policy is shown, step by step"
        return _write_player(out, title.capitalize(), subtitle, lane_stretches(view, steps), size)
    if out.suffix.lower() == ".mp4":
        total = sum(step.window.stop - step.window.start if step.window else 1 for step in steps)
        return write_film(out, _counted(_lane_pictures(view, steps, size), total, progress))
    strips = []
    for step in steps:
        kind: StripKind = "padding" if step.window is None else "reset" if step.resets_memory else "plain"
        strips.append(Strip(step.describe(), list(view.frames(step, num_cells)), kind))
    save_picture(
        contact_sheet(title, _lane_subtitle(collection.datasets, steps, num_cells), strips, size, num_cells), out
    )
    return sum(len(strip.frames) for strip in strips)


def episode_stretches(dataset: Dataset, episode: int, start: int, stop: int) -> Iterator[Stretch]:
    """Frames [start, stop) of an episode, a stretch from each interaction's start to the next one's."""
    names = {
        item.start: f"{interaction_type(item.type).name}: {short_event(item.event)}"
        for item in reversed(dataset.interactions(episode))
    }
    bounds = sorted({start, stop, *(frame for frame in names if start < frame < stop)})
    for first, last in itertools.pairwise(bounds):
        heading = f"from {first}: {names.get(first, 'before the next interaction')}"
        yield Stretch(dataset, episode, first, last, heading)


def lane_stretches(view: LaneView, steps: Sequence[LaneStep]) -> Iterator[Stretch]:
    """The steps' windows; those of padding are left out."""
    for step in steps:
        if step.window is not None:
            window = step.window
            dataset, episode = view.plan.collection.locate(window.episode)
            heading = f"step {step.step}: {step.episode_id}, frames {window.start}:{window.stop}"
            memory = "empty" if window.first else "kept"
            yield Stretch(dataset, episode, window.start, window.stop, heading, memory, view.goals(window.episode))


def _write_player(
    out: Path, title: str, subtitle: str, stretches: Iterator[Stretch], size_px: tuple[int, int]
) -> int:
    film = make_film(stretches, size_px)
    alarms = []
    if film.is_cut:
        alarms.append(
            f"Only the first {number_of(film.num_frames, 'frame')} are here, so that the page stays small. "
            "Choose others with --frames or --steps."
        )
    page = render_page(
        "pipeline.look",
        "player.html",
        title=title,
        subtitle=subtitle,
        alarms=alarms,
        footer="rocket-prep preview",
        film=film,
    )
    write_page(page, out)
    return film.num_frames


def save_picture(picture: Image.Image, out: Path) -> None:
    """The picture is at `out`.

    Raises:
        RocketError: if it cannot be written.
    """
    try:
        picture.save(out, optimize=True, quality=80)  # PNG takes no notice of quality
    except OSError as error:
        raise RocketError(f"{out}: cannot be written, got {error}. Give another --out.") from error


def _lane_subtitle(datasets: Sequence[Dataset], steps: Sequence[LaneStep], num_cells: int) -> str:
    resets = sum(step.resets_memory for step in steps)
    times = "once" if resets == 1 else f"{resets} times" if resets else "never"
    paths = ", ".join(one.path for one in datasets)
    return f"{paths} | up to {num_cells} frames a window, with the goal's mask; memory starts empty {times}"


def _lane_pictures(view: LaneView, steps: Sequence[LaneStep], size: tuple[int, int]) -> Iterator[Image.Image]:
    """A film's frames: each with a band that says step and memory; padding is one still frame a window."""
    cell = cell_size(*size, FILM_WIDTH_PX)
    for step in steps:
        alarm = _NOTICE_FRAMES if step.resets_memory else 0
        if step.window is None:
            yield _banded(Image.new("RGB", cell, BACKGROUND), step.describe(), BACKGROUND, FAINT)
        for place, shown in enumerate(view.frames(step)):
            fill, ink = (ALARM, (255, 255, 255)) if place < alarm else (BACKGROUND, INK)
            yield _banded(draw_frame(shown, FILM_WIDTH_PX), step.describe(), fill, ink)


def _banded(picture: Image.Image, text: str, fill: tuple[int, int, int], ink: tuple[int, int, int]) -> Image.Image:
    banded = Image.new("RGB", (picture.width, picture.height + _BAND_PX), fill)
    banded.paste(picture, (0, _BAND_PX))
    draw = ImageDraw.Draw(banded)
    size = 13
    while size > 8 and draw.textlength(text, font(size)) > picture.width - 12:
        size -= 1
    draw.text((6, _BAND_PX / 2), text, fill=ink, font=font(size), anchor="lm")
    return banded


def _counted(pictures: Iterator[Image.Image], total: int, progress: Progress | None) -> Iterator[Image.Image]:
    for picture in pictures:
        yield picture
        if progress is not None:
            progress(1, total)
