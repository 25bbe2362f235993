"""The plan of a build, by a look at every recording from outside: the ends of its log, its video's header."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import repeat
from pathlib import Path

from pipeline.episodes.groups import BuildPlan, PlannedRecording
from pipeline.recording import Findings, Recording, Rejection, SourceError
from pipeline.settings import BuildSettings
from pipeline.sources import source_of
from pipeline.transcode.probe import MAX_RATE_ERROR, VIDEO_REMEDIES, BadVideo, read_header
from shards.action_space import ACTION_SPACE

_STAMP_BYTES = 4096
_PROBE_THREADS = 8  # they wait for the disk


def make_plan(
    findings: Findings, settings: BuildSettings, advance: Callable[[int], None] = lambda _: None
) -> BuildPlan:
    """The plan of a build.

    Args:
        findings: what was found in the sources.
        settings: of the build.
        advance: called with a number of recordings that have been looked at since the last call.
    """
    usable: list[PlannedRecording] = []
    rejections = list(findings.rejections)
    # One bad file after another must not wait for each other's disk; results come back in order.
    with ThreadPoolExecutor(_PROBE_THREADS) as threads:
        for outcome in threads.map(_look_at, findings.recordings, repeat(settings)):
            if isinstance(outcome, Rejection):
                rejections.append(outcome)
            else:
                usable.append(outcome)
            advance(1)
    return BuildPlan.of(usable, rejections, settings)


def _look_at(recording: Recording, settings: BuildSettings) -> PlannedRecording | Rejection:
    source = source_of(recording)
    try:
        extent = source.measure(recording)
    except SourceError as error:
        return Rejection(recording.name, error.reason, str(error), str(recording.actions))
    header = None
    if source.stored_as == "file":
        try:
            header = read_header(recording.video)
        except BadVideo as bad:
            return Rejection(
                recording.name,
                bad.reason,
                bad.detail,
                str(recording.video),
                num_frames=extent.num_frames,
                remedy=VIDEO_REMEDIES.get(bad.reason, "Download the video again."),
            )
        rate = header.usual_frames_per_second
        every = _times_as_fast(rate)
        if every != 1 and (every is None or not settings.reduce_rate):
            return Rejection(
                recording.name,
                "frames_per_second",
                f"the video has {rate:g} frames per second, expected {ACTION_SPACE.frames_per_second}",
                str(recording.video),
                num_frames=extent.num_frames,
                remedy=(
                    "Record at 20, 40 or 60 frames per second: of others, no frame has the time of each of 20."
                    if every is None
                    else "If the log has a line for each frame, build with reduce_rate=true: one frame in "
                    f"{every} is taken, with the actions of all."
                ),
            )
        extent = replace(extent, every=every)
    try:
        stamp = _stamp(recording)
    except OSError as error:
        return Rejection(recording.name, "unreadable", f"{error.strerror}", str(error.filename))
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
    """Sizes of the files and checksums of their ends: an mp4's index and a log's last line tell most of it."""
    parts = []
    for path in (recording.video, recording.actions, recording.masks, recording.info):
        if path is None:
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
