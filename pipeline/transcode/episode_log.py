"""The lines of an episode's logs on their way into its clips, and the events that they tell.

log:     line 0 | line 1 | line 2 | line 3 | line 4 | line 5 (the recording's last one that is used)
keep:      -    |  kept  |    -   |    -   |  kept  |   -
taken:  [ lines 0 and 1 ]   [ lines 2, 3 and 4 ]      [ with the next kept frame, or at the episode's end ]
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from pipeline.episodes.events import EventCounter
from pipeline.recording import Recording
from pipeline.rejection import SourceError
from pipeline.sources import source_of
from pipeline.sources.files.json_lines import BadLine, parse_line


@dataclass
class FrameLog:
    """What the lines up to a frame say, since the frame before.

    Attributes:
        lines: each with a line end; the frame's own is the last one.
        events: by how much each counter rose, by its place in `EpisodeLog.event_names`.
    """

    lines: list[bytes] = field(default_factory=list)
    events: Counter[int] = field(default_factory=Counter)


class EpisodeLog:
    """Hands out the lines of one recording after the other, in step with the frames that are kept.

    Attributes:
        event_names: of all events so far, in the order in which they first occurred.
    """

    def __init__(self) -> None:
        self.event_names: dict[str, int] = {}
        self._counter = EventCounter()
        self._waiting = FrameLog()
        self._lines: Iterator[bytes] = iter(())
        self._name, self._next_line, self._ends_bare = "", 0, False

    def begin(self, recording: Recording) -> None:
        """The next lines are those of this recording, from its first one on."""
        self._name, self._lines, self._next_line = recording.name, source_of(recording).log_lines(recording), 0

    def take(self, line: int) -> FrameLog:
        """All lines up to and including this one of the recording, which belongs to a frame that is kept.

        Raises:
            SourceError: if the log has no such line any more.
        """
        self._read(line + 1)
        return self.rest()

    def end(self, num_lines: int) -> bool:
        """The rest of the `num_lines` that are used waits; returns whether the last has no line end in the log.

        Raises:
            SourceError: if the log has no such line any more.
        """
        self._read(num_lines)
        return self._ends_bare

    def rest(self) -> FrameLog:
        """What waits for a frame; nothing waits any more."""
        waiting, self._waiting = self._waiting, FrameLog()
        return waiting

    def _read(self, stop: int) -> None:
        while self._next_line < stop:
            raw = next(self._lines, None)
            if raw is None:
                raise SourceError(
                    f"{self._name}: the log has {self._next_line} lines, expected {stop}. Do not change sources "
                    "during a build."
                )
            self._next_line += 1
            self._ends_bare = not raw.endswith(b"\n")
            self._waiting.lines.append(raw + b"\n" if self._ends_bare else raw)
            try:
                events = self._counter.feed(parse_line(raw))
            except BadLine as bad:
                raise SourceError(f"{self._name}: line {self._next_line}: {bad.args[1]}", bad.args[0]) from bad
            for name, count in events.items():
                self._waiting.events[self.event_names.setdefault(name, len(self.event_names))] += count
