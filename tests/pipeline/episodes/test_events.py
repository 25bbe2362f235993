"""Increments of the recorder's statistics, against literals and sums over the sample's own logs."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from pipeline.episodes.events import EventCounter
from pipeline.sample.make import SampleSettings, make_sample
from shards.events import is_measure


def _events(*stats: Any) -> list[dict[str, int]]:
    counter = EventCounter()
    return [counter.feed({"tick": tick, "stats": line}) for tick, line in enumerate(stats)]


def test_events_are_increments_under_short_names() -> None:
    assert _events(
        {"minecraft.custom:minecraft.jump": 4, "minecraft.use_item:minecraft.oak_planks": 5},
        {"minecraft.custom:minecraft.jump": 4, "minecraft.use_item:minecraft.oak_planks": 5},
        {"minecraft.custom:minecraft.jump": 5, "minecraft.use_item:minecraft.oak_planks": 7},
        {
            "minecraft.custom:minecraft.jump": 5,
            "minecraft.use_item:minecraft.oak_planks": 7,
            "minecraft.mine_block:minecraft.stone": 1,
        },
    ) == [{}, {}, {"custom:jump": 1, "use_item:oak_planks": 2}, {"mine_block:stone": 1}]


@pytest.mark.parametrize(
    ("stats", "expected", "world"),
    [
        # A counter falls: a new world, and nothing in this line is an event.
        ([{"mine_block:stone": 5}, {"mine_block:stone": 2, "custom:jump": 9}], [{}, {}], 1),
        # It is missing, which is as good as 0.
        ([{"mine_block:stone": 5, "custom:jump": 1}, {"custom:jump": 2}], [{}, {}], 1),
        # Afterwards it counts from there.
        ([{"a:b": 5}, {"a:b": 1}, {"a:b": 2}, {"a:b": 0}, {"a:b": 3}], [{}, {}, {"a:b": 1}, {}, {"a:b": 3}], 2),
        # After a death this one starts again in the same world.
        (
            [{"custom:time_since_death": 80, "a:b": 1}, {"custom:time_since_death": 0, "a:b": 2}],
            [{}, {"a:b": 1}],
            0,
        ),
    ],
)
def test_events_stop_where_a_counter_falls(
    stats: list[dict[str, int]], expected: list[dict[str, int]], world: int
) -> None:
    counter = EventCounter()
    assert [counter.feed({"stats": line}) for line in stats] == expected
    assert counter.world == world


@pytest.mark.parametrize("gap", [None, "x", [], {}])
def test_events_of_a_gap_come_with_the_next_line_that_has_statistics(gap: Any) -> None:
    assert _events({"a:b": 1}, gap, gap, {"a:b": 4}) == [{}, {}, {}, {"a:b": 3}]
    counter = EventCounter()
    assert [counter.feed(line) for line in ({"stats": {"a:b": 1}}, {}, {"stats": {"a:b": 2}})] == [
        {},
        {},
        {"a:b": 1},
    ]


def test_events_count_from_an_empty_first_line_and_from_a_later_one() -> None:
    assert _events({}, {"a:b": 1}) == [{}, {"a:b": 1}]
    assert _events(None, {"a:b": 7}, {"a:b": 8}) == [{}, {}, {"a:b": 1}]
    assert _events({}, {}, {}) == [{}, {}, {}]


def test_events_leave_out_what_is_no_count() -> None:
    odd = {"a:true": True, "a:float": 1.5, "a:text": "3", "a:minus": -1, "a:huge": 1 << 70, "a:b": 2}
    assert _events({}, odd) == [{}, {"a:b": 2}]


def test_measures_are_told_from_deeds() -> None:
    measures = ["custom:play_one_minute", "custom:walk_one_cm", "custom:boat_one_cm", "custom:time_since_rest"]
    deeds = ["custom:jump", "mine_block:stone", "custom:open_chest", "custom:damage_dealt", "custom:deaths"]
    assert [is_measure(name) for name in measures + deeds] == [True] * 4 + [False] * 5


def test_events_of_an_episode_add_up_to_last_minus_first_line(tmp_path: Path) -> None:
    settings = SampleSettings(seed=3, num_sessions=1, min_recording_frames=150, max_recording_frames=150)
    sample = make_sample(tmp_path / "sample", settings)
    assert len(sample.recordings) == 2
    lines: list[dict[str, Any]] = []
    for recording in sample.recordings:
        log = sample.out / "data" / recording.version / f"{recording.name}.jsonl"
        lines += [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    counter = EventCounter()
    total: Counter[str] = Counter()
    for line in lines:
        total.update(counter.feed(line))
    first, last = lines[0]["stats"], lines[-1]["stats"]
    expected = {
        name.replace("minecraft.", ""): count - first.get(name, 0)
        for name, count in last.items()
        if count > first.get(name, 0)
    }
    assert counter.world == 0
    assert dict(total) == expected
    assert expected["custom:play_one_minute"] == len(lines) - 1


def test_increments_that_minestudio_says_are_events_but_in_the_first_line() -> None:
    counter = EventCounter()
    lines: list[dict[str, Any]] = [
        {"events": {"minecraft.mine_block:minecraft.stone": 40}},
        {"events": {"minecraft.mine_block:minecraft.stone": 1, "custom:jump": 0}},
        {"delta_mine_block": {"minecraft.dirt": 2}, "delta_pickup": {"dirt": 1}, "delta_yaw": 3.5},
        {},
    ]
    assert [counter.feed(line) for line in lines] == [
        {},
        {"mine_block:stone": 1},
        {"mine_block:dirt": 2, "pickup:dirt": 1},
        {},
    ]
