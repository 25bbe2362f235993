"""How far made masks agree with the true ones of the sample game, whose recorder knows the truth."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.recording import Recording
from pipeline.segment.play import read_play, with_following
from pipeline.segment.settings import SegmentSettings
from pipeline.segment.stretches import Play, Stretch, find_stretches
from pipeline.segment.task import masks_path
from pipeline.sources import find_recordings, source_of
from pipeline.sources.mask_files import MaskWriter, load_masks_file
from pipeline.sources.masks import Candidate, RecordingMasks, decode_rle
from shards.clip import Interaction
from shards.interaction_types import interaction_type

UNCOUNTED = ("landmark", "right_click")
"""Interactions that the game's statistics do not count, or count under another name: that of use_item."""


@dataclass(frozen=True)
class Known:
    """A recording of the sample: what was done, the stretches that follow from it, and the true masks."""

    recording: Recording
    play: Play
    stretches: Sequence[Stretch]
    truth: RecordingMasks

    def counted(self) -> Iterator[tuple[int, Interaction]]:
        """The true interactions whose events the game counts, with their numbers."""
        for number, interaction in enumerate(self.truth.interactions):
            if not any(name in interaction.event for name in UNCOUNTED):
                yield number, interaction

    def found(self, true: Interaction) -> list[Stretch]:
        """The stretches of a true interaction: of its event and type, within a frame of its end."""
        event = _name(true.event)
        return [
            stretch
            for stretch in self.stretches
            if stretch.kind == interaction_type(true.type).name
            and stretch.event.startswith(event)
            and abs(stretch.event_frame - (true.stop - 1)) <= 1
        ]

    def true_mask(self, number: int, frame: int) -> NDArray[np.bool_] | None:
        """What can be seen of a true interaction's object; None where nothing can."""
        return _mask(self.truth, number, frame)

    def guesses(self, settings: SegmentSettings) -> list[Stretch]:
        """The stretches that follow from buttons alone."""
        bare = replace(self.play, events=[{}] * self.play.content.num_frames, has_statistics=False)
        return find_stretches(bare, settings)[0]


@dataclass(frozen=True)
class Overlap:
    """Of a true mask with the made one: intersection over union, 0 without a made one."""

    recording: str
    kind: str
    event: str
    frame: int
    iou: float


def known_recordings(sample: Path, settings: SegmentSettings) -> Iterator[Known]:
    """The recordings of a sample."""
    for recording, following in with_following(find_recordings([sample]).recordings):
        play = read_play(recording, following)
        truth = source_of(recording).load_masks(recording)
        assert truth is not None
        yield Known(recording, play, find_stretches(play, settings)[0], truth)


def overlaps(known: Known, masks_folder: Path) -> Iterator[Overlap]:
    """One for each frame of each found stretch, up to its prompt, in which the truth shows the object.

    Their mean is over all those frames; a frame without a made mask counts as 0.
    """
    masks = load_masks_file(masks_path(masks_folder, known.recording.name))
    assert not masks.problems
    assert (masks.height, masks.width) == (known.truth.height, known.truth.width)
    made = {(one.event, one.stop): number for number, one in enumerate(masks.interactions)}
    for number, true in known.counted():
        for stretch in known.found(true):
            track = made.get((stretch.event, stretch.event_frame + 1))
            for frame in range(stretch.first, stretch.prompt + 1):
                wanted = known.true_mask(number, frame)
                if wanted is None:
                    continue
                mask = None if track is None else _mask(masks, track, frame)
                iou = 0.0 if mask is None else float((wanted & mask).sum() / (wanted | mask).sum())
                name = interaction_type(true.type).name
                yield Overlap(known.recording.name, name, _name(true.event), frame, iou)


def write_counted(known: Known, out: Path) -> None:
    """The folder has a file with the recording's true masks of what the game counts, and of nothing else."""
    masks = known.truth
    with MaskWriter(masks_path(out, known.recording.name), masks.height, masks.width) as file:
        for number, true in known.counted():
            frames: dict[int, Candidate] = {
                frame: candidate
                for frame, candidates in masks.frames.items()
                for candidate in candidates
                if candidate.interaction == number
            }
            file.add_runs(interaction_type(true.type).name, true.event, frames, true.stop)


def _mask(masks: RecordingMasks, number: int, frame: int) -> NDArray[np.bool_] | None:
    for candidate in masks.frames.get(frame, ()):
        if candidate.interaction == number and candidate.rle:
            return decode_rle(candidate.rle, masks.height, masks.width)
    return None


def _name(event: str) -> str:
    """The name that the statistics and the hotbar give to an event of the true masks."""
    short = event.replace("minecraft.", "")
    return "custom:bell_ring" if "bell_ring" in short else "switch" if short.startswith("switch:") else short
