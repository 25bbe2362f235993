"""Which recordings make one episode: joined by real time, over full hours and midnight, or by MineStudio's rule.

Source: CraftJarvis/MineStudio, callbacks/*.py `load_episodes`, for the rule that `compat: minestudio` repeats.
"""

import hashlib
import re
from collections.abc import Iterable, Sequence
from datetime import timedelta

from pipeline.recording import Extent, LogMark, Recording
from shards.action_space import ACTION_SPACE

FULL_RECORDING_SECONDS = 300.0
"""Recorders start a new file after five minutes; taken for the length where it is not known."""

MINESTUDIO_MAX_STEP = 1000
"""Difference of two HHMMSS read as decimal numbers, from which on MineStudio cuts."""

MAX_EPISODE_ID_CHARS = 80
"""A tar header holds 100; the clip's number and extension need the rest."""

_MINESTUDIO_NAME = re.compile(r"^(.*?)-(\d+)$")
_NOT_IN_ID = re.compile(r"[^A-Za-z0-9_-]")


def episode_id_from(name: str) -> str:
    """The name as an episode id, which holds only letters, digits, `_` and `-`, and at most 80 of them.

    A name that has to be changed gets eight digits of its hash, so that two names never become one id.
    """
    plain = _NOT_IN_ID.sub("_", name)
    if plain == name and 0 < len(name) <= MAX_EPISODE_ID_CHARS:
        return name
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{plain[: MAX_EPISODE_ID_CHARS - 9]}_{digest}"


def episode_id(recordings: Sequence[Recording], compat: str | None = None) -> str:
    """The id of an episode: the session and when its first recording began, which is that recording's name."""
    first = recordings[0].name
    if compat == "minestudio" and not recordings[0].is_episode:
        session, part = _minestudio_name(first)
        return episode_id_from(f"{session}-{part}")
    return episode_id_from(first)


def group_episodes(
    measured: Iterable[tuple[Recording, Extent]],
    max_hole_seconds: float,
    compat: str | None = None,
) -> list[list[Recording]]:
    """The recordings as episodes, each in time order; episodes in the order (session, start, name).

    Two recordings of a session follow each other without a gap if the hole between them, from the end of the first
    (its start and its number of frames) to the start of the second, is at most `max_hole_seconds` long, and if the
    worlds' ages, where both logs tell them, do not contradict. Two that overlap by more than that were recorded at
    the same time, in different games. Where a length is not known, 300 seconds are assumed, and overlap says
    nothing.

    Call it again with the numbers of usable frames once they are known: a recording that lost its end then ends an
    episode.

    With `compat="minestudio"` it cuts where HHMMSS, read as a decimal number, steps by 1000 or more, and each day.
    """
    if compat == "minestudio":
        return _group_like_minestudio([recording for recording, _ in measured])
    extents = sorted(
        measured, key=lambda item: (item[0].session, item[0].source, str(item[0].start_time or ""), item[0].name)
    )
    episodes: list[list[Recording]] = []
    previous: tuple[Recording, Extent] | None = None
    for recording, extent in extents:
        if previous is not None and _continues(*previous, recording, extent, max_hole_seconds):
            episodes[-1].append(recording)
        else:
            episodes.append([recording])
        previous = recording, extent
    return episodes


def _continues(before: Recording, was: Extent, after: Recording, now: Extent, max_hole_seconds: float) -> bool:
    if (before.session, before.source) != (after.session, after.source):
        return False
    if before.start_time is None or after.start_time is None:
        return False
    seconds = FULL_RECORDING_SECONDS if was.seconds is None else was.seconds
    hole = (after.start_time - before.start_time - timedelta(seconds=seconds)).total_seconds()
    if hole > max_hole_seconds or (was.num_frames is not None and hole < -max_hole_seconds):
        return False
    return was.last is None or now.first is None or _worlds_agree(was.last, now.first, max_hole_seconds)


def _worlds_agree(last: LogMark, first: LogMark, max_hole_seconds: float) -> bool:
    """Whether the second recording can show the same world, a little later.

    Statistics only grow in one world, so fewer of them mean another world. Otherwise one clock that goes on is
    enough: the server's tick starts again when a player leaves a world and comes back, and a recorder may have
    fetched statistics late.
    """

    def step(before: int | None, after: int | None) -> int | None:
        return None if before is None or after is None else after - before

    play, total = step(last.play_ticks, first.play_ticks), step(last.stats_total, first.stats_total)
    if any(grown is not None and grown < 0 for grown in (play, total)):
        return False
    clocks = [ticks for ticks in (play, step(last.server_tick, first.server_tick)) if ticks is not None]
    # Starts are known to the second, and servers catch up after a lag: five seconds of grace.
    limit = round((max_hole_seconds + 5) * ACTION_SPACE.frames_per_second)
    return not clocks or any(0 <= ticks <= limit for ticks in clocks)


def _minestudio_name(name: str) -> tuple[str, str]:
    match = _MINESTUDIO_NAME.match(name)
    return (match[1], match[2]) if match else (name, "0")


def _group_like_minestudio(recordings: Sequence[Recording]) -> list[list[Recording]]:
    sessions: dict[str, list[tuple[int, Recording]]] = {}
    joined: list[list[Recording]] = []
    for recording in sorted(recordings, key=lambda r: r.name):
        if recording.is_episode:
            joined.append([recording])
            continue
        session, part = _minestudio_name(recording.name)
        sessions.setdefault(session, []).append((int(part), recording))
    for session in sorted(sessions):
        last = -MINESTUDIO_MAX_STEP
        for time_of_day, recording in sorted(sessions[session], key=lambda item: item[0]):
            if time_of_day - last >= MINESTUDIO_MAX_STEP:
                joined.append([])
            joined[-1].append(recording)
            last = time_of_day
    return joined
