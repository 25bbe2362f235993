"""Tracking the stretches of a recording through its frames, which are decoded once, forwards.

Frames are held as long as a stretch that is still to be tracked may need them. Stretches that overlap are tracked
together, from the last prompt back to the first frame, so that a tracker sees each frame once:

    frames decoded  ------------------------>|  then tracked  <-------------|
    stretches             |--------P   |---------P                  P: prompt
                             |-----------P

A batch that would hold more than `held_frames` is cut in two, and the frames that both need are tracked twice.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pipeline.segment.settings import SegmentSettings
from pipeline.segment.stretches import Stretch
from pipeline.segment.tracker import TrackedMask, Tracker
from pipeline.sources.masks import Candidate
from shards.masks import centroid, encode_text

_GROWTH_FROM_AREA = 2e-3
"""Smaller masks may change their area by any factor: a few pixels double it."""


@dataclass
class Track:
    """A stretch as far as it was tracked.

    Attributes:
        sights: the masks by frame, of interaction 0; frames in which nothing of the object was seen are missing.
        end: why it ended before `stretch.first`: lost, jump, growth or covers; empty if it did not.
    """

    stretch: Stretch
    sights: dict[int, Candidate] = field(default_factory=dict)
    end: str = ""
    _unseen: int = 0
    _area: float = 0.0
    _middle: tuple[float, float] = (0.0, 0.0)

    def add(self, frame: int, tracked: TrackedMask, settings: SegmentSettings) -> None:
        """The track has the object's mask in one frame more, or has ended."""
        height, width = tracked.mask.shape
        area = float(np.count_nonzero(tracked.mask)) / (height * width)
        if tracked.confidence < settings.min_confidence or area < settings.min_area or area == 0:
            self._unseen += 1
            if not self.sights or self._unseen > settings.lost_frames:
                self.end = "lost"
            return
        middle = centroid(tracked.mask)
        assert middle is not None
        if area > settings.max_area:
            self.end = "covers"
        elif self.sights and not self._unseen:
            distance = float(np.hypot(middle[0] - self._middle[0], middle[1] - self._middle[1]))
            larger, smaller = max(area, self._area), min(area, self._area)
            if distance > settings.max_jump * width:
                self.end = "jump"
            elif larger > _GROWTH_FROM_AREA and larger > settings.max_growth * smaller:
                self.end = "growth"
        if not self.end:
            self.sights[frame] = Candidate(0, encode_text(tracked.mask), middle, round(tracked.confidence, 4))
            self._unseen, self._area, self._middle = 0, area, middle


def follow(
    frames: Iterable[Callable[[], NDArray[np.uint8]]],
    stretches: Sequence[Stretch],
    tracker: Tracker,
    settings: SegmentSettings,
    advance: Callable[[int], None] = lambda _: None,
) -> tuple[list[Track], Counter[str]]:
    """The stretches' tracks, in their order; and how many came to nothing, by a key of `SKIP_REASONS`.

    Args:
        frames: the recording's, in order; a call gives the RGB picture, so that those nobody needs cost nothing.
        settings: what ends a track.
        advance: told how many frames more were decoded.
    """
    tracks = [Track(stretch) for stretch in stretches]
    batches = list(_batches(tracks, settings.held_frames))
    held: dict[int, NDArray[np.uint8]] = {}
    num_frames = 0
    for number, picture in enumerate(frames):
        num_frames += 1
        advance(1)
        if not batches:
            continue
        if number >= min(batch.first for batch in batches):
            held[number] = picture()
        while batches and number == batches[0].last:
            _track(batches.pop(0), held, tracker, settings)
            needed = min((batch.first for batch in batches), default=number + 1)
            for old in [old for old in held if old < needed]:
                del held[old]
    for batch in batches:  # the video ended too soon
        reached = [track for track in batch.tracks if track.stretch.prompt < num_frames]
        if reached:
            last = max(track.stretch.prompt for track in reached)
            _track(_Batch(batch.first, last, reached), held, tracker, settings)
    skipped: Counter[str] = Counter()
    good = []
    for track in tracks:
        if track.stretch.prompt >= num_frames:
            skipped["no_frame"] += 1
        elif not track.sights:
            skipped[f"{track.end}_at_prompt"] += 1
        elif len(track.sights) < settings.min_frames:
            skipped["short"] += 1
        else:
            good.append(track)
    return good, skipped


@dataclass(frozen=True)
class _Batch:
    """Tracks that are followed together, through frames [first, last], both inclusive."""

    first: int
    last: int
    tracks: Sequence[Track]


def _batches(tracks: Sequence[Track], held_frames: int) -> Iterator[_Batch]:
    """The tracks in batches, by prompt."""
    waiting: list[Track] = []
    first = last = 0
    for track in sorted(tracks, key=lambda track: track.stretch.prompt):
        start, prompt = track.stretch.first, track.stretch.prompt
        if waiting and (start > last or prompt - min(first, start) + 1 > held_frames):
            yield _Batch(first, last, waiting)
            waiting = []
        first, last = (min(first, start) if waiting else start), prompt
        waiting.append(track)
    if waiting:
        yield _Batch(first, last, waiting)


def _track(batch: _Batch, held: dict[int, NDArray[np.uint8]], tracker: Tracker, settings: SegmentSettings) -> None:
    """The batch's tracks are complete."""
    session = tracker.start()
    waiting = list(enumerate(batch.tracks))
    live: dict[int, Track] = {}
    for frame in range(batch.last, batch.first - 1, -1):
        picture = held[frame]
        height, width = picture.shape[:2]
        objects: dict[int, tuple[float, float] | None] = dict.fromkeys(live)
        while waiting and waiting[-1][1].stretch.prompt == frame:
            number, track = waiting.pop()
            x, y = track.stretch.point
            live[number], objects[number] = track, (x * width, y * height)
        if not live:
            continue
        for number, tracked in session.step(picture, objects).items():
            track = live[number]
            track.add(frame, tracked, settings)
            if track.end or frame == track.stretch.first:
                del live[number]
