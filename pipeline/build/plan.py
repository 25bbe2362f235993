"""The plan of a build, by a look at every recording from outside: the ends of its log, its video's header."""

import os
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import repeat
from pathlib import Path

from pipeline.episodes.groups import BuildPlan, PlannedRecording
from pipeline.recording import Findings, Recording
from pipeline.rejection import REMEDIES, Rejection, SourceError
from pipeline.settings import BuildSettings
from pipeline.sources import source_of
from pipeline.transcode.probe import MAX_RATE_ERROR, BadVideo, read_header
from shards.action_space import ACTION_SPACE

_STAMP_BYTES = 4096
_PROBE_THREADS = 8  # they wait for the disk


def make_plan(
    findings: Findings, settings: BuildSettings, advance: Callable[[int], None] = lambda _: None
) -> BuildPlan:
    """The plan of a build; `advance` is called with a number of recordings looked at since the last call."""
    usable: list[PlannedRecording] = []
    # One bad file after another must not wait for each other's disk; results come back in order.
    with ThreadPoolExecutor(_PROBE_THREADS) as threads:
        rejections = list(threads.map(_with_length, findings.rejections))
        for outcome in threads.map(_look_at, findings.recordings, repeat(settings)):
            if isinstance(outcome, Rejection):
                rejections.append(outcome)
            else:
                usable.append(outcome)
            advance(1)
    return BuildPlan.of(usable, rejections, settings)


def _with_length(rejection: Rejection) -> Rejection:
    """The rejection with a number of frames, where a video without a log tells it."""
    if rejection.reason != "missing_log" or rejection.num_frames is not None or rejection.path is None:
        return rejection
    return replace(rejection, num_frames=_num_in_header(Path(rejection.path)))


def _num_in_header(video: Path) -> int | None:
    try:
        return read_header(video).counts.coded or None
    except BadVideo:
        return None


def _look_at(recording: Recording, settings: BuildSettings) -> PlannedRecording | Rejection:
    source = source_of(recording)
    try:
        extent = source.measure(recording)
    except SourceError as error:
        num_frames = _num_in_header(recording.video) if source.stored_as == "file" else None
        log = str(recording.actions)
        return Rejection(recording.name, error.reason, str(error), log, num_frames=num_frames)

    def rejection(reason: str, detail: str, path: str, remedy: str | None = None) -> Rejection:
        return Rejection(recording.name, reason, detail, path, num_frames=extent.num_frames, remedy=remedy)

    header = None
    if source.stored_as == "file":
        try:
            header = read_header(recording.video)
        except BadVideo as bad:
            remedy = REMEDIES.get(bad.reason, "Download the video again.")
            return rejection(bad.reason, bad.detail, str(recording.video), remedy)
        rate = header.usual_frames_per_second
        every = _times_as_fast(rate)
        if every != 1 and (every is None or not settings.reduce_rate):
            detail = f"the video has {rate:g} frames per second, expected {ACTION_SPACE.frames_per_second}"
            remedy = (
                "Record at 20, 40 or 60 frames per second: of others, no frame has the time of each of 20."
                if every is None
                else "If the log has a line for each frame, build with reduce_rate=true: one frame in "
                f"{every} is taken, with the actions of all."
            )
            return rejection("frames_per_second", detail, str(recording.video), remedy)
        extent = replace(extent, every=every)
    try:
        stamp = _stamp(recording)
    except OSError as error:
        return rejection("unreadable", f"{error.strerror}", str(error.filename))
    return PlannedRecording(recording, extent, header, stamp)


def _times_as_fast(rate: float) -> int | None:
    """How many times 20 frames per second a video has: 1, 2 or 3; None for any other rate. 0.0 is not known."""
    if not rate:
        return 1
    for every in (1, 2, 3):
        if abs(rate - every * ACTION_SPACE.frames_per_second) <= every * MAX_RATE_ERROR:
            return every
    return None


def _stamp(recording: Recording) -> str:
    """Sizes of the files and checksums of their ends: an mp4's index and a log's last line tell most of it.

    Masks and menus that cannot be read cost only themselves, when they are needed.
    """
    parts = []
    for path in (recording.video, recording.actions, recording.masks, recording.info):
        needed = path in (recording.video, recording.actions)
        if path is None or not (needed or os.access(path, os.R_OK)):
            parts.append("-")
            continue
        database = path / "data.mdb"
        if not path.is_dir() or database.exists():
            parts.append(_file_stamp(database if path.is_dir() else path))
        else:
            listing = sorted((file.name, file.stat().st_size) for file in path.iterdir())
            parts.append(f"{len(listing)}:{zlib.crc32(repr(listing).encode()):08x}")
    return " ".join(parts)


def _file_stamp(path: Path) -> str:
    size = path.stat().st_size
    with open(path, "rb") as file:
        checksum = zlib.crc32(file.read(_STAMP_BYTES))
        file.seek(max(0, size - _STAMP_BYTES), os.SEEK_SET)
        checksum = zlib.crc32(file.read(_STAMP_BYTES), checksum)
    return f"{size}:{checksum:08x}"
