"""Batches of stretches, the frames that are held for them, and what ends a track."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.segment.follow import Track, follow
from pipeline.segment.settings import SegmentSettings
from pipeline.segment.stretches import Stretch
from pipeline.segment.tracker import Point, TrackedMask
from pipeline.sources.masks import decode_rle
from shards.settings import load_settings

HEIGHT, WIDTH = 20, 40


class Recorder:
    """A tracker that finds a square at column `frame - shift`, and notes what it was shown."""

    def __init__(self, masks: Callable[[int], NDArray[np.bool_]] | None = None) -> None:
        self.steps: list[tuple[int, dict[int, Point | None]]] = []
        self.num_sessions = 0
        self._masks = masks

    def start(self) -> Recorder:
        self.num_sessions += 1
        return self

    def step(self, frame: NDArray[np.uint8], objects: Mapping[int, Point | None]) -> Mapping[int, TrackedMask]:
        number = int(frame[0, 0, 0]) + 256 * int(frame[0, 0, 1])
        self.steps.append((number, dict(objects)))
        mask = np.zeros((HEIGHT, WIDTH), bool)
        mask[5:9, number % 30 : number % 30 + 4] = True
        if self._masks is not None:
            mask = self._masks(number)
        return dict.fromkeys(objects, TrackedMask(mask, 0.75))


class Video:
    """Frames that hold their own number; counts how many pictures are alive."""

    def __init__(self, num_frames: int) -> None:
        self.num_frames = num_frames
        self.num_made = 0

    def __iter__(self) -> Iterator[Callable[[], NDArray[np.uint8]]]:
        for number in range(self.num_frames):
            yield lambda number=number: self.picture(number)  # type: ignore[misc]

    def picture(self, number: int) -> NDArray[np.uint8]:
        self.num_made += 1
        frame = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        frame[0, 0, :2] = number % 256, number // 256
        return frame


def stretch(first: int, prompt: int) -> Stretch:
    return Stretch("mine", "mine_block:stone", first, prompt, prompt + 2, (0.5, 0.25))


def words(*settings: str) -> SegmentSettings:
    return load_settings(SegmentSettings, None, ["max_jump=1", *settings])


def test_overlapping_stretches_are_tracked_together_backwards_each_frame_once() -> None:
    tracker, video = Recorder(), Video(60)
    stretches = [stretch(10, 20), stretch(15, 25), stretch(40, 45)]
    tracks, skipped = follow(video, stretches, tracker, words())
    assert [number for number, _ in tracker.steps] == [*range(25, 9, -1), *range(45, 39, -1)]
    assert tracker.num_sessions == 2
    assert tracker.steps[0][1] == {1: (20.0, 5.0)}
    assert tracker.steps[1][1] == {1: None}
    assert tracker.steps[5] == (20, {1: None, 0: (20.0, 5.0)})
    assert tracker.steps[11] == (14, {0: None})  # the other one has come to its first frame
    assert [list(track.sights) for track in tracks] == [
        list(range(20, 9, -1)),
        list(range(25, 14, -1)),
        list(range(45, 39, -1)),
    ]
    assert not skipped
    assert video.num_made == 16 + 6  # pictures are made of no other frames
    mask = decode_rle(tracks[0].sights[12].rle, HEIGHT, WIDTH)
    assert np.argwhere(mask).min(axis=0).tolist() == [5, 12]
    assert tracks[0].sights[12].point == (6.5, 13.5)
    assert tracks[0].sights[12].confidence == 0.75


def test_batches_hold_no_more_frames_than_allowed_and_lose_no_mask() -> None:
    stretches = [stretch(prompt - 29, prompt) for prompt in range(40, 600, 7)]
    most = 0

    class Watched(Recorder):
        def step(self, frame: NDArray[np.uint8], objects: Mapping[int, Point | None]) -> Mapping[int, TrackedMask]:
            nonlocal most
            numbers = [number for number, _ in self.steps]
            if numbers and int(frame[0, 0, 0]) + 256 * int(frame[0, 0, 1]) > numbers[-1]:
                most = max(most, numbers[0] - numbers[-1] + 1)
                self.steps.clear()
            return super().step(frame, objects)

    tracks, skipped = follow(Video(700), stretches, Watched(), words("held_frames=64"))
    assert 30 < most <= 64
    assert not skipped
    assert [list(track.sights) for track in tracks] == [
        list(range(prompt, prompt - 30, -1)) for prompt in range(40, 600, 7)
    ]


def test_stretches_beyond_the_videos_end_are_counted() -> None:
    tracks, skipped = follow(Video(30), [stretch(10, 20), stretch(15, 31)], Recorder(), words())
    assert [track.stretch.prompt for track in tracks] == [20]
    assert skipped == Counter({"no_frame": 1})


def block(rows: int, columns: int, left: int = 0) -> NDArray[np.bool_]:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[:rows, left : left + columns] = True
    return mask


@pytest.mark.parametrize(
    ("change", "end", "last_seen"),
    [
        (block(0, 0), "lost", 16),
        (block(20, 40), "covers", 16),
        (block(4, 4, left=30), "jump", 16),
        (block(16, 16), "growth", 16),
        (block(6, 6), "", 10),
    ],
)
def test_track_ends_where_its_mask_goes_wrong(change: NDArray[np.bool_], end: str, last_seen: int) -> None:
    tracker = Recorder(lambda number: block(4, 4) if number > 15 else change)
    [track], skipped = follow(Video(30), [stretch(10, 20)], tracker, words("lost_frames=2", "max_jump=0.3"))
    assert track.end == end
    assert min(track.sights) == last_seen
    assert not skipped
    if end == "lost":
        assert tracker.steps[-1][0] == 13  # two frames without it are no end, the third one is


def test_object_that_is_hidden_for_some_frames_is_tracked_on() -> None:
    tracker = Recorder(lambda number: block(4, 4) if number not in (15, 16) else block(0, 0))
    [track], _ = follow(Video(30), [stretch(10, 20)], tracker, words("lost_frames=2"))
    assert list(track.sights) == [20, 19, 18, 17, 14, 13, 12, 11, 10]


@pytest.mark.parametrize(
    ("mask", "reason"),
    [(block(0, 0), "lost_at_prompt"), (block(20, 40), "covers_at_prompt")],
)
def test_prompt_that_finds_no_object_is_counted(mask: NDArray[np.bool_], reason: str) -> None:
    tracks, skipped = follow(Video(30), [stretch(10, 20)], Recorder(lambda _: mask), words())
    assert tracks == []
    assert skipped == Counter({reason: 1})


def test_track_that_is_soon_lost_is_counted_as_short() -> None:
    tracker = Recorder(lambda number: block(4, 4) if number > 18 else block(0, 0))
    assert follow(Video(30), [stretch(10, 20)], tracker, words("min_frames=3")) == ([], Counter({"short": 1}))


def test_mask_that_the_tracker_does_not_trust_is_no_sight() -> None:
    track = Track(stretch(10, 20))
    track.add(20, TrackedMask(block(4, 4), 0.49), words())
    assert (track.sights, track.end) == ({}, "lost")
