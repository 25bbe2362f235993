"""OpenAI's contractor recordings: `<stem>.mp4` without the cursor, `<stem>.jsonl` with a recorder line a frame.

Accepted layouts: everything in one folder, version folders (`data/10.0/<stem>.mp4`), and folders side by side, one
with the videos (`mp4`, `videos`) and one with the logs (`jsonl`, `actions`, `labels`). Masks lie beside the log or
anywhere else under the given places.

Source: openai/Video-Pre-Training, README.md ("Contractor Demonstrations") and data_loader.py.
"""

from dataclasses import replace
from typing import Any

from pipeline.recording import (
    EPISODE_START,
    Breakage,
    CarryState,
    Extent,
    Findings,
    LogMark,
    Recording,
    RecordingContent,
    VideoHeader,
)
from pipeline.settings import BuildSettings
from pipeline.sources.files.json_lines import (
    BadLine,
    count_lines,
    parse_line,
    read_first_line,
    read_last_line,
    read_lines,
)
from pipeline.sources.minestudio_rules import line_objection, video_objection
from pipeline.sources.pairs import find_pairs
from pipeline.sources.recorder import FrameAction, RecorderState, content_of_actions
from pipeline.sources.source import DEFAULTS, Source
from pipeline.sources.tree import Search

_PLAY = "minecraft.custom:minecraft.play_one_minute"
_MAX_TICKS = 1 << 40


def is_recorder_line(line: dict[str, Any]) -> bool:
    """Whether a log's line is a recorder's; a plain recording's has `buttons` or `camera` instead."""
    return "mouse" in line or "keyboard" in line


class Contractor(Source):
    """Contractor recordings; and every pair of video and log that no other source takes.

    The recorder counts its lines (`tick`): where that count jumps, a line is missing or doubled, so that all that
    follow would be paired with another frame. `serverTick` and `milli` tell no more: they jump in whole logs, too.
    """

    name = "contractor"

    def find(self, search: Search) -> Findings:
        return find_pairs(search, self)

    def measure(self, recording: Recording) -> Extent:
        """By the ticks of the log's first and last line; all of it is read only where these have none."""
        first, last = _mark(read_first_line(recording.actions)), _mark(read_last_line(recording.actions))
        if first is None or last is None or first.tick is None or last.tick is None or last.tick < first.tick:
            return Extent(count_lines(recording.actions), first, last)
        return Extent(last.tick - first.tick + 1, first, last)

    def load_log(
        self, recording: Recording, state: CarryState = EPISODE_START, settings: BuildSettings = DEFAULTS
    ) -> RecordingContent:
        like_minestudio = settings.compat == "minestudio"
        actions: list[FrameAction] = []
        expected: int | None = None
        recorder = RecorderState(state, recording.version, settings)

        def take(line: dict[str, Any]) -> None:
            nonlocal expected
            tick = line.get("tick")
            if tick is not None and _count(tick) is None:
                raise BadLine("wrong_schema", f"tick is {tick!r:.40}, expected a whole number")
            if expected is not None and tick != expected:
                found = "no tick" if tick is None else f"tick {tick}"
                raise BadLine("counter_jumps", f"{found} after {expected - 1}, expected {expected}")
            expected = None if tick is None else tick + 1
            if like_minestudio:
                objection = line_objection(line, new_buttons_read=recorder.state.attack_stuck is not False)
                if objection is not None:
                    raise BadLine("minestudio_rule", objection)
            actions.append(recorder.feed(line))

        read = read_lines(recording.actions, take)
        if like_minestudio and read.num_blank_at_end and read.num_lines:
            read = replace(read, breakage=Breakage(0, "blank_line", "a blank line at the end"))
        if like_minestudio and read.breakage is not None:
            detail = f"{read.breakage.detail}; MineStudio loses the recording"
            read, actions = replace(read, breakage=Breakage(0, read.breakage.reason, detail)), []
        return content_of_actions(actions, read, recorder.state, settings)

    def minestudio_objection(self, header: VideoHeader, num_lines: int) -> str | None:
        return video_objection(header, num_lines)


def _mark(raw: bytes | None) -> LogMark | None:
    if raw is None:
        return None
    try:
        line = parse_line(raw)
    except BadLine:
        return None
    stats = line.get("stats")
    counts = [n for n in stats.values() if _count(n) is not None] if isinstance(stats, dict) else []
    return LogMark(
        tick=_count(line.get("tick")),
        server_tick=_count(line.get("serverTick")),
        play_ticks=_count(stats.get(_PLAY)) if isinstance(stats, dict) else None,
        stats_total=sum(counts) if counts else None,
    )


def _count(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value < _MAX_TICKS else None
