"""Joining recordings: the four released index files, and small cases with their answers written down."""

from __future__ import annotations

import json
import re
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.episodes.grouping import episode_id, episode_id_from, group_episodes
from pipeline.recording import Extent, LogMark, Recording
from pipeline.sources.tree import session_and_start

INDEXES = ("7xx_Apr_6", "8xx_Jun_29", "9xx_Jun_29", "10xx_Jun_29")


def recording(name: str, source: str = "contractor") -> Recording:
    session, start = session_and_start(name)
    return Recording(
        name=name,
        source=source,
        video=Path(f"{name}.mp4"),
        actions=Path(f"{name}.jsonl"),
        session=session,
        start_time=start,
    )


def times(*groups: str, extents: dict[str, Extent | int] | None = None, **options: object) -> list[list[str]]:
    """The groups that recordings of one session fall into, by `<date>-<time>`."""
    recordings = [recording(f"Player1-abcdefabcdef-{group}") for group in groups]
    lengths = [(extents or {}).get(item.name[-15:]) for item in recordings]
    measured = [
        (item, length if isinstance(length, Extent) else Extent(length))
        for item, length in zip(recordings, lengths, strict=True)
    ]
    return [
        [item.name[-15:] for item in episode]
        for episode in group_episodes(measured, **({"max_hole_seconds": 30.0} | options))
    ]  # type: ignore[arg-type]


def released(shared: Path, index: str) -> list[Recording]:
    relpaths = json.loads((shared / "data" / "index" / f"all_{index}.json").read_text())["relpaths"]
    return [recording(name) for name in dict.fromkeys(Path(relpath).stem for relpath in relpaths)]


@pytest.mark.parametrize(("index", "num_episodes"), [*zip(INDEXES, (4698, 1889, 4327, 2275), strict=True)])
def test_compat_minestudio_gives_the_number_of_episodes_that_minestudio_gives(
    shared: Path, index: str, num_episodes: int
) -> None:
    episodes = group_episodes([(item, Extent()) for item in released(shared, index)], 30.0, "minestudio")
    assert len(episodes) == num_episodes
    # Its ids are the first recordings' names, as MineStudio's are.
    assert len({episode_id(episode, "minestudio") for episode in episodes}) == num_episodes


@pytest.mark.parametrize("index", INDEXES)
def test_released_recordings_are_cut_exactly_where_more_than_330_seconds_pass_between_starts(
    shared: Path, index: str
) -> None:
    recordings = released(shared, index)
    episodes = group_episodes([(item, Extent()) for item in recordings], 30.0)
    place = {
        item.name: (number, order) for number, episode in enumerate(episodes) for order, item in enumerate(episode)
    }
    assert len(place) == len(recordings) == sum(map(len, episodes))
    # The slow way: every name taken apart, followed by the next one of its player and id.
    by_session: dict[str, list[tuple[datetime, str]]] = {}
    for item in recordings:
        session, date, time = item.name.rsplit("-", 2)
        by_session.setdefault(session, []).append((datetime.fromisoformat(f"{date}T{time}"), item.name))
    for members in by_session.values():
        members.sort()
        for (start, name), (next_start, next_name) in pairwise(members):
            joined = (next_start - start).total_seconds() <= 330
            assert (place[name][0] == place[next_name][0]) == joined, (name, next_name)
            if joined:
                assert place[next_name][1] == place[name][1] + 1
    ids = [episode_id(episode) for episode in episodes]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[A-Za-z0-9_-]+", name) for name in ids)


def test_full_hour_and_midnight_and_new_year_cut_nothing() -> None:
    names = ("20211231-235640", "20220101-000141", "20220101-000641", "20220101-005600", "20220101-010105")
    assert times(*names) == [list(names[:3]), list(names[3:])]


def test_compat_minestudio_cuts_at_the_hour_and_joins_over_nine_minutes() -> None:
    names = ("20220101-095600", "20220101-100100", "20220101-101059")
    assert times(*names, compat="minestudio") == [[names[0]], [names[1], names[2]]]


def test_compat_minestudio_joins_at_999_and_cuts_at_1000() -> None:
    names = ("20220101-100000", "20220101-100999", "20220101-101999")
    assert times(*names, compat="minestudio") == [list(names[:2]), [names[2]]]


@pytest.mark.parametrize(("second", "joined"), [("100530", True), ("100531", False)])
def test_without_lengths_330_seconds_from_start_to_start_are_joined(second: str, joined: bool) -> None:
    assert (len(times("20220101-100000", f"20220101-{second}")) == 1) == joined


@pytest.mark.parametrize(
    ("num_frames", "second", "joined"),
    [
        (1200, "100130", True),  # 60 s long, hole of 30 s
        (1200, "100131", False),
        (1200, "100500", False),  # 330 s would do without the length
        (6000, "100530", True),
        (9000, "100800", True),  # a recorder that writes longer files
        (0, "100030", True),
        (6000, "100430", True),  # clocks and counts are not exact
        (6000, "100429", False),  # half a minute at once: two games
    ],
)
def test_hole_is_counted_from_the_end_of_a_recording(num_frames: int, second: str, joined: bool) -> None:
    names = ("20220101-100000", f"20220101-{second}")
    assert (len(times(*names, extents={names[0]: num_frames})) == 1) == joined


def test_hole_that_is_joined_over_is_a_setting() -> None:
    names = ("20220101-100000", "20220101-100600")
    assert len(times(*names, extents={names[0]: 6000}, max_hole_seconds=59)) == 2
    assert len(times(*names, extents={names[0]: 6000}, max_hole_seconds=60)) == 1


def _at(num_frames: int, first: LogMark | None, last: LogMark | None) -> Extent:
    return Extent(num_frames, first, last)


@pytest.mark.parametrize(
    ("last", "first", "joined"),
    [
        (LogMark(server_tick=6000), LogMark(server_tick=6001), True),
        (LogMark(server_tick=6000), LogMark(server_tick=40), False),  # another server
        (LogMark(server_tick=6000), LogMark(server_tick=60_000), False),  # forty minutes later
        (LogMark(play_ticks=9000), LogMark(play_ticks=9010), True),
        (LogMark(play_ticks=9000), LogMark(play_ticks=10), False),  # another world
        (LogMark(server_tick=6000, play_ticks=9000), LogMark(server_tick=20, play_ticks=9020), True),  # came back
        (LogMark(server_tick=6000, play_ticks=9000), LogMark(server_tick=6001, play_ticks=10), False),
        (LogMark(server_tick=6000, stats_total=900), LogMark(server_tick=6001, stats_total=12), False),
        (LogMark(server_tick=6000), LogMark(), True),
        (LogMark(), LogMark(server_tick=3), True),
        (None, LogMark(server_tick=3), True),
    ],
)
def test_age_of_the_world_confirms_or_refuses_what_the_clock_says(
    last: LogMark | None, first: LogMark, joined: bool
) -> None:
    names = ("20220101-100000", "20220101-100502")
    extents: dict[str, Extent | int] = {names[0]: _at(6000, None, last), names[1]: _at(6000, first, None)}
    assert (len(times(*names, extents=extents)) == 1) == joined


def test_age_of_the_world_joins_nothing_over_a_hole() -> None:
    names = ("20220101-100000", "20220101-100900")
    extents: dict[str, Extent | int] = {
        names[0]: _at(6000, None, LogMark(server_tick=6000)),
        names[1]: _at(6000, LogMark(server_tick=6001), None),
    }
    assert len(times(*names, extents=extents)) == 2


def test_default_id_of_two_players_is_two_sessions() -> None:
    names = ["Player1-f153ac423f61-20220101-100000", "Player2-f153ac423f61-20220101-100300"]
    assert len(group_episodes([(recording(name), Extent()) for name in names], 30.0)) == 2


def test_recordings_of_two_sources_are_never_joined() -> None:
    pair = [recording("a-20220101-100000"), recording("a-20220101-100500", "minestudio")]
    assert len(group_episodes([(item, Extent()) for item in pair], 30.0)) == 2


def test_recordings_without_a_time_in_their_name_stay_alone() -> None:
    names = ["dream", "dream-2", "dream-20221399-100000", "dream-20220101-246060"]
    assert [len(episode) for episode in group_episodes([(recording(name), 100) for name in names], 30.0)] == [
        1
    ] * 4


def test_recording_that_lost_its_end_ends_an_episode_once_its_usable_length_is_known() -> None:
    names = ("20220101-100000", "20220101-100500", "20220101-101000")
    assert times(*names, extents=dict.fromkeys(names, 6000)) == [list(names)]
    assert times(*names, extents={**dict.fromkeys(names, 6000), names[1]: 100}) == [list(names[:2]), [names[2]]]


def test_order_of_the_input_changes_nothing() -> None:
    names = ("20220101-100000", "20220101-100500", "20220101-120000", "20220102-100000")
    expected = [list(names[:2]), [names[2]], [names[3]]]
    assert times(*reversed(names)) == expected


@pytest.mark.parametrize("name", ["a", "cheeky-cornflower-setter-02e496ce4abb-20220421-092639", "A_b-9" * 16])
def test_id_of_an_ordinary_name_is_the_name(name: str) -> None:
    assert episode_id_from(name) == name


@pytest.mark.parametrize(
    "name", ["", "a.b", "a b", "..", "../x", "a/b", "ü", "史蒂夫", "a\n", "a" * 81, "a\udc80", "٣"]
)
def test_id_of_any_other_name_is_plain_short_and_not_that_of_its_plain_twin(name: str) -> None:
    made = episode_id_from(name)
    assert re.fullmatch(r"[A-Za-z0-9_-]{9,80}", made)
    twin = re.sub(r"[^A-Za-z0-9_-]", "_", name)
    assert made != twin
    assert twin == name or made != episode_id_from(twin)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text(max_size=90), unique=True, max_size=10))
def test_ids_of_different_names_differ(names: list[str]) -> None:
    assert len({episode_id_from(name) for name in names}) == len(names)


def test_id_of_an_episode_is_its_first_recording() -> None:
    episode = [recording("a-20220101-100000"), recording("a-20220101-100500")]
    assert episode_id(episode) == "a-20220101-100000"
    assert episode_id([recording("dream")], "minestudio") == "dream-0"
