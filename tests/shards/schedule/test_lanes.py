from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shards.errors import RocketError
from shards.schedule.lanes import LanePlan, Schedule, Window, lanes_of_rank
from shards.schedule.settings import ScheduleSettings
from tests.shards.schedule.continuing import continues


@st.composite
def datasets(draw):
    """Random datasets, from one one-frame episode up, with any spread over shards, and a subset as split."""
    num_frames = draw(st.lists(st.integers(1, 150), min_size=1, max_size=25))
    shard = sorted(draw(st.lists(st.integers(0, 12), min_size=len(num_frames), max_size=len(num_frames))))
    keep = draw(st.lists(st.booleans(), min_size=len(num_frames), max_size=len(num_frames)))
    episodes = np.flatnonzero(keep) if any(keep) else np.arange(len(num_frames))
    num_groups = draw(st.sampled_from([1, 2, 3, 4]))
    plan_settings = ScheduleSettings(
        num_lanes=num_groups * draw(st.integers(1, 4)),
        num_groups=num_groups,
        window_frames=draw(st.sampled_from([1, 7, 32])),
        seed=draw(st.integers(0, 5)),
    )
    return {
        "num_frames": np.array(num_frames),
        "shard": np.array(shard),
        "episodes": episodes,
        "settings": plan_settings,
        "fingerprint": "abc",
    }


def table(schedule: Schedule) -> list[list[Window | None]]:
    """The whole schedule, lane by lane."""
    return [
        [schedule.window(step, lane) for step in range(schedule.num_steps)] for lane in range(schedule.num_lanes)
    ]


def lane_of_episode(schedule: Schedule) -> dict[int, int]:
    return {int(ep): lane for lane in range(schedule.num_lanes) for ep in schedule.lane(lane)}


@settings(max_examples=80, deadline=None)
@given(datasets(), st.integers(0, 3))
def test_schedule_gives_every_window_of_the_split_once(dataset, epoch):
    schedule = LanePlan(**dataset).epoch(epoch)
    seen = [(w.episode, w.start, w.stop) for lane in table(schedule) for w in lane if w]
    size = dataset["settings"].window_frames
    expected = {
        (int(ep), start, min(start + size, int(dataset["num_frames"][ep])))
        for ep in dataset["episodes"]
        for start in range(0, int(dataset["num_frames"][ep]), size)
    }
    assert len(seen) == len(expected) == schedule.num_windows
    assert set(seen) == expected


@settings(max_examples=80, deadline=None)
@given(datasets(), st.integers(0, 3))
def test_schedule_keeps_each_episode_whole_and_in_order_on_one_lane(dataset, epoch):
    for lane, windows in enumerate(table(schedule := LanePlan(**dataset).epoch(epoch))):
        episodes = []
        for step, window in enumerate(windows):
            if window is None:
                break
            if window.first:
                assert window.start == window.index == 0
                episodes.append(window.episode)
            else:
                before = windows[step - 1]
                assert (window.episode, window.start, window.index) == (
                    before.episode,
                    before.stop,
                    before.index + 1,
                )
            assert window.last == (window.stop == dataset["num_frames"][window.episode])
        assert episodes == schedule.lane(lane).tolist()
        assert all(continues(a, b) for a, b in zip([None, *windows], [*windows, None], strict=True))


@settings(max_examples=80, deadline=None)
@given(datasets(), st.integers(0, 3))
def test_schedule_counts_its_padding_and_puts_it_at_the_ends_of_lanes(dataset, epoch):
    schedule = LanePlan(**dataset).epoch(epoch)
    lanes = table(schedule)
    assert schedule.num_padding == sum(window is None for lane in lanes for window in lane)
    for windows, count in zip(lanes, schedule.lane_windows, strict=True):
        assert [window is None for window in windows] == [step >= count for step in range(len(windows))]


@settings(max_examples=60, deadline=None)
@given(datasets())
def test_schedule_has_the_same_number_of_steps_in_every_epoch(dataset):
    plan = LanePlan(**dataset)
    assert {plan.epoch(epoch).num_steps for epoch in range(4)} == {plan.num_steps}
    assert plan.num_padding == plan.epoch(2).num_padding


@settings(max_examples=60, deadline=None)
@given(datasets())
def test_schedule_keeps_shards_in_their_group_over_epochs(dataset):
    plan = LanePlan(**dataset)
    num_shards = len(np.unique(dataset["shard"][dataset["episodes"]]))
    assert plan.by_episode == (num_shards < dataset["settings"].num_groups)
    lanes_per_group = dataset["settings"].lanes_per_group
    groups = defaultdict(set)
    for epoch in range(3):
        for episode, lane in lane_of_episode(plan.epoch(epoch)).items():
            key = episode if plan.by_episode else int(dataset["shard"][episode])
            groups[key].add(lane // lanes_per_group)
    assert all(len(lanes) == 1 for lanes in groups.values())


def test_schedule_keeps_groups_when_only_seed_or_epoch_change():
    num_frames, shard = np.arange(1, 301) * 7, np.arange(300) // 5
    plans = [
        LanePlan(
            num_frames,
            shard,
            np.arange(300),
            ScheduleSettings(num_lanes=16, window_frames=32, num_groups=4, seed=seed),
            fingerprint="abc",
        )
        for seed in (0, 1)
    ]
    assert plans[0].group_of.tolist() == plans[1].group_of.tolist()
    assert plans[0].epoch(0).lane(0).tolist() != plans[1].epoch(0).lane(0).tolist()


def test_schedule_is_shuffled_anew_each_epoch():
    num_frames, shard = np.arange(1, 301) * 7, np.arange(300) // 5
    plan = LanePlan(
        num_frames,
        shard,
        np.arange(300),
        ScheduleSettings(num_lanes=8, window_frames=32, num_groups=2, seed=3),
        fingerprint="abc",
    )
    orders = [tuple(ep for lane in range(8) for ep in plan.epoch(epoch).lane(lane)) for epoch in range(5)]
    assert len(set(orders)) == 5
    lanes = [lane_of_episode(plan.epoch(epoch)) for epoch in (0, 1)]
    assert sum(lanes[0][ep] != lanes[1][ep] for ep in range(300)) > 150  # other neighbours, not only another order


def test_schedule_is_the_same_in_every_release():
    # Written down once: a change here is an ORDER change and belongs in the changelog.
    plan = LanePlan(
        np.array([70, 10, 33, 64, 1, 96, 40, 40, 5, 128]),
        np.array([0, 0, 1, 1, 2, 2, 3, 3, 4, 4]),
        np.array([0, 1, 2, 3, 4, 5, 6, 8, 9]),
        ScheduleSettings(num_lanes=4, window_frames=32, num_groups=2, seed=7),
        fingerprint="f00d",
    )
    assert plan.num_steps == 5
    assert [plan.epoch(0).lane(lane).tolist() for lane in range(4)] == [[9], [4, 5, 8], [2, 1, 3], [0, 6]]
    assert [plan.epoch(1).lane(lane).tolist() for lane in range(4)] == [[5, 8], [9, 4], [6, 3, 1], [0, 2]]


def test_schedule_balances_nearly_equal_shards_whose_number_is_no_multiple_of_the_groups():
    rng = np.random.default_rng(0)
    shard = np.repeat(np.arange(1001), 8)
    num_frames = 9920 + rng.integers(-2000, 2000, shard.size)
    plan = LanePlan(
        num_frames,
        shard,
        np.arange(shard.size),
        ScheduleSettings(num_lanes=64, window_frames=128, num_groups=8, seed=0),
        fingerprint="abc",
    )
    # One group must take a shard more than the others: without an exchange that is 0.7 % padding.
    assert plan.num_padding / plan.num_windows < 0.001


def test_schedule_of_full_size_has_little_padding_and_is_planned_quickly():
    rng = np.random.default_rng(0)
    lengths = rng.lognormal(0, 1, 15_700)
    num_frames = np.maximum(1, lengths / lengths.sum() * 160e6).astype(np.int64)
    shard = np.cumsum(num_frames) // 80_000
    plan = LanePlan(
        num_frames,
        shard,
        np.arange(15_700),
        ScheduleSettings(num_lanes=64, window_frames=128, num_groups=8, seed=0),
        fingerprint="abc",
    )
    schedule = plan.epoch(0)
    assert schedule.num_padding / (schedule.num_lanes * schedule.num_steps) < 0.005
    assert schedule.num_windows == int(np.ceil(num_frames / 128).sum())


def test_schedule_names_a_number_of_groups_that_does_not_divide_the_lanes():
    with pytest.raises(RocketError, match=r"10 lanes do not form equal groups, got 4 groups, .* Use 5\."):
        LanePlan(
            np.array([5]),
            np.array([0]),
            np.array([0]),
            ScheduleSettings(num_lanes=10, window_frames=2, num_groups=4, seed=0),
            fingerprint="abc",
        ).epoch(0)


def test_schedule_of_an_empty_split_has_no_steps():
    empty = np.array([], np.int64)
    schedule = LanePlan(
        np.array([5]),
        np.array([0]),
        empty,
        ScheduleSettings(num_lanes=4, window_frames=2, num_groups=2, seed=0),
        fingerprint="",
    ).epoch(0)
    assert (schedule.num_steps, schedule.num_windows, schedule.num_padding) == (0, 0, 0)


def test_schedule_has_no_window_outside_its_table():
    schedule = LanePlan(
        np.array([5]),
        np.array([0]),
        np.array([0]),
        ScheduleSettings(num_lanes=1, window_frames=2, num_groups=1, seed=0),
        fingerprint="abc",
    ).epoch(0)
    assert schedule.window(2, 0) == Window(0, 4, 5, 2, first=False, last=True)
    for step, lane in ((3, 0), (-1, 0), (0, 1)):
        with pytest.raises(IndexError, match=f"step {step}, lane {lane} of 3 steps, 1 lanes"):
            schedule.window(step, lane)


@pytest.mark.parametrize(
    ("rank", "num_ranks", "num_lanes", "expected"),
    [
        (0, 1, 8, [0, 1, 2, 3, 4, 5, 6, 7]),
        (1, 2, 8, [4, 5, 6, 7]),
        (2, 4, 8, [4, 5]),
        (7, 8, 8, [7]),
        (1, 3, 12, [4, 5, 6, 7]),
    ],
)
def test_ranks_own_whole_lanes_in_order(rank, num_ranks, num_lanes, expected):
    assert list(lanes_of_rank(rank, num_ranks, num_lanes)) == expected


def test_ranks_that_do_not_divide_the_lanes_are_refused():
    with pytest.raises(RocketError, match=r"64 lanes .* got 6 ranks, .* Use 8 ranks or another global batch"):
        lanes_of_rank(0, 6, 64)
