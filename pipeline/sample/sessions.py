"""Who played when: the sessions of a sample, with the oddities that the published recordings have."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np

from pipeline.sample.textures import THEMES

DEFAULT_ID = "f153ac423f61"
"""The id that thousands of published recordings share: it tells no session apart."""


@dataclass(frozen=True)
class _Kind:
    version: str
    alias: str
    has_default_id: bool
    starts: str
    """day; hour or midnight: the second recording begins just past it; again: minutes after the first session."""
    num_recordings: int


_KINDS = (
    _Kind("7.7", "cheeky-cornflower-setter", True, "hour", 2),
    _Kind("10.0", "gimpy-jade-panda", False, "day", 2),
    _Kind("6.9", "Player729", True, "day", 2),
    _Kind("8.2", "snippy-chartreuse-mastiff", False, "midnight", 3),
    _Kind("7.7", "cheeky-cornflower-setter", True, "again", 1),
    _Kind("10.0", "woozy-ruby-ostrich", False, "day", 3),
    _Kind("8.2", "treechop", True, "day", 2),
    _Kind("7.7", "lovely-persimmon-angora", False, "day", 2),
    _Kind("10.0", "gimpy-jade-panda", False, "day", 2),
    _Kind("7.7", "squeaky-ultramarine-chihuahua", False, "hour", 2),
)


@dataclass(frozen=True)
class SessionPlan:
    """One play session, before it is played."""

    index: int
    version: str
    alias: str
    identifier: str
    start: datetime
    lengths: tuple[int, ...]
    """Frames of each recording at least; a recording ends where no goal is under way."""
    theme: str
    first_server_tick: int
    stuck_attack: int
    """Which recording begins with a stuck attack button, -1 for none."""
    extra_frame: tuple[bool, ...]
    """Which recordings have one video frame more than log lines."""

    def stem(self, start: datetime) -> str:
        """Return the file name without extension of a recording that starts then."""
        return f"{self.alias}-{self.identifier}-{start:%Y%m%d-%H%M%S}"


def duration(num_frames: int) -> timedelta:
    """Return how long frames take, in whole seconds rounded up."""
    return timedelta(seconds=-(-num_frames // 20))


def plan_sessions(
    num_sessions: int, min_frames: int, max_frames: int, rng: np.random.Generator
) -> list[SessionPlan]:
    """Return the sessions; the first crosses a full hour, the fifth follows it within minutes in a new world.

    From the eleventh on they are of the same kinds again, on later days.
    """
    plans: list[SessionPlan] = []
    again_after = datetime(2022, 4, 11, 10, 0, tzinfo=UTC)
    for index in range(num_sessions):
        kind = _KINDS[index % len(_KINDS)]
        lengths = [int(n) for n in rng.integers(min_frames, max_frames + 1, kind.num_recordings)]
        if kind.starts == "midnight":
            lengths[-1] = 1  # some published recordings have a single line
        year = {"6": 2021}.get(kind.version[0], 2022)
        day = datetime(year, 4, 11, tzinfo=UTC) + timedelta(days=7 * index)
        # The name is fixed before the frames are played, so the first recording gets some seconds to spare.
        before = duration(lengths[0] + 20)
        if kind.starts == "hour":
            start = day + timedelta(hours=10, seconds=4) - before
        elif kind.starts == "midnight":
            start = day + timedelta(days=1, seconds=6) - before
        elif kind.starts == "again" and plans:
            start = again_after + timedelta(minutes=6)
        else:
            start = day + timedelta(hours=int(rng.integers(8, 22)), seconds=int(rng.integers(300, 1800)))
        if kind is _KINDS[0]:
            again_after = start + duration(sum(lengths) + 200)
        hex_digits = "".join(f"{n:x}" for n in rng.integers(0, 16, 12))
        plans.append(
            SessionPlan(
                index=index,
                version=kind.version,
                alias=kind.alias,
                identifier=DEFAULT_ID if kind.has_default_id else hex_digits,
                start=start,
                lengths=tuple(lengths),
                theme=tuple(THEMES)[index % len(THEMES)],
                first_server_tick=1 if index % 3 == 0 else int(rng.integers(2000, 90000)),
                stuck_attack=0 if index % 4 == 1 else -1,
                extra_frame=tuple((index + number) % 3 == 0 for number in range(kind.num_recordings)),
            )
        )
    return plans
