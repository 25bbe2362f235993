"""Reading what was done and what happened in a recording."""

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np

from pipeline.episodes.events import EventCounter
from pipeline.recording import Recording
from pipeline.rejection import SourceError
from pipeline.segment.stretches import Play
from pipeline.sources import source_of
from pipeline.sources.files.json_lines import BadLine, parse_line

_CLOCK = "custom:play_one_minute"
_MAX_TICKS_APART = 2


def read_play(recording: Recording, following: Recording | None = None) -> Play:
    """A recording's usable frames, up to the first bad line of its log.

    The first line of `following`, the session's next recording, tells what the last action led to, if its world
    goes on without a hole.

    Raises:
        SourceError: if nothing of the log can be read.
    """
    source = source_of(recording)
    content = source.load_log(recording)
    counter = EventCounter()
    events: list[Mapping[str, int]] = []
    worlds: list[int] = []
    has_statistics = False
    for raw in islice(source.log_lines(recording), content.num_frames):
        line = parse_line(raw)
        events.append(counter.feed(line))
        worlds.append(counter.world)
        has_statistics = has_statistics or bool(line.get("stats") or events[-1])
    if following is not None and content.num_frames == content.num_lines:
        after = counter.feed(_first_line(following))
        if after.get(_CLOCK, 0) in range(1, _MAX_TICKS_APART + 1):
            events.append(after)
    return Play(content, events, np.array(worlds, np.int64), has_statistics)


def _first_line(recording: Recording) -> dict[str, Any]:
    """The object in a log's first line; empty where it has none."""
    try:
        raw = next(source_of(recording).log_lines(recording), None)
        return {} if raw is None else parse_line(raw)
    except (BadLine, SourceError):
        return {}


def with_following(recordings: Sequence[Recording]) -> list[tuple[Recording, Recording | None]]:
    """Each recording with its session's next one, if it has one; in the order of `find_recordings`."""
    return [
        (one, other if other is not None and one.session and other.session == one.session else None)
        for one, other in zip(recordings, [*recordings[1:], None], strict=True)
    ]
