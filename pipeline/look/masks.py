"""Masks of recordings before any build: sheets, films and a page of some stretches, as `preview` draws them."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.look.pictures import Strip, draw_strips, is_film
from pipeline.recording import Recording, RecordingContent
from pipeline.sources import find_recordings, source_of
from pipeline.sources.masks import Candidate, RecordingMasks, decode_rle
from pipeline.transcode.decode import source_frames
from pipeline.transcode.probe import BadVideo
from shards.clip import Interaction
from shards.display.chart import INK, SERIES, WIDE_INCHES, new_chart, to_svg
from shards.display.footage import spaced
from shards.display.page import render_page, strip_images, write_page
from shards.display.shown_frame import ShownAction, ShownFrame, ShownMask
from shards.display.wording import count, number_of, percent, short_event
from shards.errors import RocketError
from shards.interaction_types import interaction_type

STRETCHES, COLUMNS = 10, 6


@dataclass(frozen=True)
class MaskStretch:
    """An interaction of a recording and its masks, by frame, ascending."""

    recording: Recording
    masks: RecordingMasks
    interaction: Interaction
    candidates: Mapping[int, Candidate]

    @property
    def title(self) -> str:
        kind = interaction_type(self.interaction.type).name
        return f"{kind} {short_event(self.interaction.event)}, {self.recording.name}"

    @property
    def note(self) -> str:
        sure = self.confidences.values()
        span = (
            f"frames {self.interaction.start}:{self.interaction.stop}, {number_of(len(self.candidates), 'mask')}"
        )
        return f"{span}, confidence {min(sure):.2f} to {max(sure):.2f}" if sure else span

    @property
    def confidences(self) -> dict[int, float]:
        """Of the masks whose tracker said how sure it was, by frame."""
        return {frame: one.confidence for frame, one in self.candidates.items() if one.confidence is not None}

    def some(self) -> list[int]:
        """A row of evenly spaced frames."""
        numbers = list(self.candidates)
        return [numbers[place] for place in spaced(0, len(numbers), COLUMNS)]

    def area(self, frame: int) -> float:
        """The share of the frame that the mask covers."""
        lengths = self.candidates[frame].rle.split()[1::2]
        return sum(map(int, lengths)) / (self.masks.height * self.masks.width)


def preview_masks(sources: Sequence[Path], out: Path, name: str | None, num_stretches: int | None) -> int:
    """A sheet, film or page of some stretches of recordings is at `out`; returns how many stretches it shows.

    Args:
        sources: recordings and their masks.
        name: of the recording to show; None: all.
        num_stretches: how many to draw, evenly spread over all; None: `STRETCHES`.

    Raises:
        RocketError: there are no masks, or the file cannot be written.
    """
    stretches = list(_stretches(sources, name))
    if not stretches:
        where = ", ".join(map(str, sources))
        names = [one.name for one in find_recordings(sources).recordings]
        first = name or (names[0] if names else "RECORDING")
        raise RocketError(
            f"{where}: no recording{f' {name}' if name else ''} with masks, expected {first}.masks.jsonl or "
            f"{first}.rle. Give the recordings and the folder of their masks; to make them: "
            f"{shlex.join(['rocket-prep', 'segment', *map(str, sources)])} --out MASKS"
        )
    chosen = [stretches[place] for place in spaced(0, len(stretches), num_stretches or STRETCHES)]
    if out.suffix.lower() == ".html":
        write_page(_page(sources, stretches, chosen), out)
        return len(chosen)
    strips = []
    for stretch in chosen:
        numbers = list(stretch.candidates) if is_film(out) else stretch.some()
        strips.append(Strip(f"{stretch.title}: {stretch.note}", _frames(stretch, numbers), len(numbers)))
    title = f"{len(chosen)} of {number_of(len(stretches), 'stretch', 'stretches')}"
    size = (chosen[0].masks.width, chosen[0].masks.height)
    draw_strips(out, title, ", ".join(map(str, sources)), strips, size, COLUMNS)
    return len(chosen)


def _stretches(sources: Sequence[Path], name: str | None) -> Iterator[MaskStretch]:
    for recording in find_recordings(sources).recordings:
        if recording.masks is None or name not in (None, recording.name):
            continue
        masks = source_of(recording).load_masks(recording)
        assert masks is not None
        candidates: list[dict[int, Candidate]] = [{} for _ in masks.interactions]
        for frame, found in masks.frames.items():
            for candidate in found:
                if candidate.rle:
                    candidates[candidate.interaction][frame] = candidate
        for interaction, shown in zip(masks.interactions, candidates, strict=True):
            if shown:
                yield MaskStretch(recording, masks, interaction, shown)


def _frames(stretch: MaskStretch, wanted: Sequence[int]) -> Iterator[ShownFrame]:
    """These frames of the stretch's recording, ascending, as far as the video goes."""
    recording = stretch.recording
    content = source_of(recording).load_log(recording)
    needed = {frame for frame in wanted if frame < content.num_frames}
    try:
        for number, frame in enumerate(source_frames(recording, content.num_lines, [])):
            if number in needed:
                height, width = stretch.masks.height, stretch.masks.width
                rgb = np.asarray(frame.to_ndarray(format="rgb24", width=width, height=height), np.uint8)
                yield _shown(stretch, content, number, rgb)
            if not needed or number >= max(needed):
                return
    except BadVideo:
        return


def _shown(stretch: MaskStretch, content: RecordingContent, number: int, rgb: Any) -> ShownFrame:
    mask = decode_rle(stretch.candidates[number].rle, stretch.masks.height, stretch.masks.width)
    pitch, yaw = content.camera[number].tolist()
    return ShownFrame(
        episode_id=stretch.recording.name,
        frame=number,
        rgb=rgb,
        action=ShownAction(content.buttons[number], (pitch, yaw)),
        gui=bool(content.gui[number]),
        masks=[ShownMask(stretch.interaction, mask)],
    )


def _page(sources: Sequence[Path], stretches: Sequence[MaskStretch], chosen: Sequence[MaskStretch]) -> str:
    rows = [
        (
            stretch.recording.name,
            interaction_type(stretch.interaction.type).name,
            short_event(stretch.interaction.event),
            f"{stretch.interaction.start}:{stretch.interaction.stop}",
            count(len(stretch.candidates)),
            percent(float(np.mean([stretch.area(frame) for frame in stretch.candidates]))),
            min((f"{sure:.2f}" for sure in stretch.confidences.values()), default="-"),
        )
        for stretch in stretches
    ]
    return render_page(
        "pipeline.look",
        "masks.html",
        title="Masks of recordings",
        subtitle=", ".join(map(str, sources)),
        alarms=[],
        footer="",
        num_recordings=len({stretch.recording.name for stretch in stretches}),
        num_masks=sum(len(stretch.candidates) for stretch in stretches),
        rows=rows,
        chosen=[
            {
                "title": stretch.title,
                "note": stretch.note,
                "images": strip_images(_frames(stretch, stretch.some())),
                "chart": _chart(stretch, f"stretch-{place}"),
            }
            for place, stretch in enumerate(chosen)
        ],
    )


def _chart(stretch: MaskStretch, name: str) -> Any:
    """Area and confidence over the stretch's frames."""
    frames = list(stretch.candidates)
    with new_chart(WIDE_INCHES, 1.6) as (figure, axes):
        axes.plot(frames, [100 * stretch.area(frame) for frame in frames], color=SERIES[0], label="area, %")
        if sure := stretch.confidences:
            axes.plot(list(sure), [100 * one for one in sure.values()], color=SERIES[1], label="confidence, %")
        axes.set_ylim(0, 103)
        axes.legend(loc="center left", labelcolor=INK)
        return to_svg(figure, name, f"Area and confidence of {stretch.title}")
