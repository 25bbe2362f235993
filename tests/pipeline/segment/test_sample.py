"""Events, prompts and masks on the sample game, whose recorder knows the truth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from pipeline.sample.make import SampleSettings, make_sample
from pipeline.segment.choice import TrackerChoice
from pipeline.segment.job import SegmentReport, segment_recordings
from pipeline.segment.play import read_play, with_following
from pipeline.segment.stretches import Play, Stretch, find_stretches
from pipeline.sources import find_recordings, source_of
from pipeline.sources.mask_files import load_masks_file
from pipeline.sources.masks import RecordingMasks, decode_rle
from shards.clip import Interaction
from shards.interaction_types import interaction_type
from tests.pipeline.inline_engine import InlineEngine
from tests.pipeline.segment.painted import SETTINGS

UNCOUNTED = ("landmark", "right_click")
"""Interactions that the game's statistics do not count, or count under another name: that of use_item."""


def _true_event(event: str) -> str:
    """The name that the statistics and the hotbar give to an event of the true masks."""
    short = event.replace("minecraft.", "")
    return "custom:bell_ring" if "bell_ring" in short else "switch" if short.startswith("switch:") else short


def _recordings(sample: Path) -> Iterator[tuple[str, Play, list[Stretch], RecordingMasks]]:
    for recording, following in with_following(find_recordings([sample]).recordings):
        play = read_play(recording, following)
        truth = source_of(recording).load_masks(recording)
        assert truth is not None
        yield recording.name, play, find_stretches(play, SETTINGS)[0], truth


def _counted(truth: RecordingMasks) -> list[tuple[int, Interaction]]:
    """The true interactions whose events the game counts, with their numbers."""
    return [
        (place, interaction)
        for place, interaction in enumerate(truth.interactions)
        if not any(name in interaction.event for name in UNCOUNTED)
    ]


def test_events_of_the_sample_are_found_within_a_frame_and_prompted_on_the_object(sample: Path) -> None:
    num_true = num_found = num_prompts = num_on_object = num_counted = num_claimed = 0
    for _, _, stretches, truth in _recordings(sample):
        matched: set[int] = set()
        for place, true in _counted(truth):
            num_true += 1
            event = _true_event(true.event)
            found = [
                s
                for s in stretches
                if s.event.startswith(event) and abs(s.event_frame - (true.stop - 1)) <= 1 and s.type == true.type
            ]
            num_found += len(found) == 1
            matched.update(id(s) for s in found)
            for stretch in found:
                masks = [c for c in truth.frames.get(stretch.prompt, ()) if c.interaction == place and c.rle]
                for candidate in masks:
                    x, y = stretch.point
                    mask = decode_rle(candidate.rle, truth.height, truth.width)
                    num_prompts += 1
                    num_on_object += bool(mask[int(y * truth.height), int(x * truth.width)])
        counted = [s for s in stretches if not s.event.startswith("switch")]
        num_counted += len(counted)
        num_claimed += sum(id(s) in matched for s in counted)
    assert num_true >= 30
    assert num_found >= 0.99 * num_true
    assert num_prompts >= 0.8 * num_found
    assert num_on_object >= 0.99 * num_prompts
    assert num_claimed == num_counted  # nothing is invented


def _overlaps(sample: Path, masks_folder: Path) -> list[float]:
    """The IoU with the true mask, frame by frame, of each interaction that is counted; 0 without a mask."""
    overlaps: list[float] = []
    for name, _, stretches, truth in _recordings(sample):
        masks = load_masks_file(masks_folder / f"{name}.masks.jsonl")
        assert not masks.problems
        assert (masks.height, masks.width) == (360, 640)
        for place, true in _counted(truth):
            [found] = [
                number
                for number, interaction in enumerate(masks.interactions)
                if interaction.event.startswith(_true_event(true.event))
                and abs(interaction.stop - true.stop) <= 1
                and interaction.type == true.type
            ]
            [stretch] = [
                s
                for s in stretches
                if s.event == masks.interactions[found].event
                and s.event_frame == masks.interactions[found].stop - 1
            ]
            for frame in range(max(true.start, stretch.first), stretch.prompt + 1):
                wanted = [c for c in truth.frames.get(frame, ()) if c.interaction == place and c.rle]
                if not wanted:
                    continue
                mask = decode_rle(wanted[0].rle, 360, 640)
                made = [c for c in masks.frames.get(frame, ()) if c.interaction == found]
                other = decode_rle(made[0].rle, 360, 640) if made else np.zeros_like(mask)
                overlaps.append(float((mask & other).sum() / (mask | other).sum()))
    return overlaps


def test_masks_of_the_painted_sample_agree_with_the_true_ones(sample: Path, segmented: SegmentReport) -> None:
    overlaps = _overlaps(sample, segmented.out)
    assert len(overlaps) > 200
    assert np.mean(overlaps) >= 0.9


def test_masks_of_the_sample_agree_with_the_true_ones_as_far_as_colours_tell(tmp_path: Path) -> None:
    """0.92 here; on four of the default sample's recordings 0.88, since old bells hide more there."""
    settings = SampleSettings(seed=4, num_sessions=1, min_recording_frames=130, max_recording_frames=180)
    make_sample(tmp_path / "sample", settings)
    choice = TrackerChoice("tests.pipeline.segment.palette_tracker:PaletteTracker", "", "cpu")
    segment_recordings([tmp_path / "sample"], tmp_path / "masks", SETTINGS, choice, InlineEngine())
    overlaps = _overlaps(tmp_path / "sample", tmp_path / "masks")
    assert len(overlaps) > 100
    assert np.mean(overlaps) >= 0.9


def test_events_of_the_sample_are_guessed_from_buttons_as_far_as_buttons_tell(sample: Path) -> None:
    """Measured on the default sample: mine recall 93 %, precision 26 %; interact 43 % and 100 %; hunt, craft 0."""
    hits: Counter[str] = Counter()
    truths: Counter[str] = Counter()
    guesses: Counter[str] = Counter()
    for _, play, _, truth in _recordings(sample):
        bare = replace(play, events=[{}] * play.num_frames, has_statistics=False)
        found = [(interaction_type(s.type).name, s.event_frame) for s in find_stretches(bare, SETTINGS)[0]]
        true = [
            (interaction_type(i.type).name, i.stop - 1)
            for i in truth.interactions
            if "landmark" not in i.event and "right_click" not in i.event
        ]
        guesses.update(name for name, _ in found)
        truths.update(name for name, _ in true)
        for name, frame in true:
            hits[name] += any(other == name and abs(at - frame) <= 1 for other, at in found)
    assert hits["mine"] >= 0.5 * truths["mine"]
    assert 0.1 * guesses["mine"] <= hits["mine"] <= 0.6 * guesses["mine"]
    assert hits["interact"] == guesses["interact"] >= 0.2 * truths["interact"]
    assert guesses["hunt"] == guesses["craft"] == 0
    assert truths["hunt"] > 0
