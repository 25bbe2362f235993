"""Datasets mixed by weight: shares, whole lanes, and nothing twice before all was seen."""

from collections import Counter, defaultdict
from types import SimpleNamespace

import numpy as np
import pytest

from shards.errors import RocketError
from shards.schedule.lanes import lanes_of_rank
from shards.schedule.mixing import MixedPlan
from shards.schedule.settings import ScheduleSettings
from tests.shards.schedule.continuing import continues


def collection(*sizes: int, episodes_per_shard: int = 4, mean_windows: int = 12, seed: int = 0):
    """Datasets of so many episodes each, of lengths as people play, in windows of 10 frames."""
    rng = np.random.default_rng(seed)
    frames = np.maximum(1, rng.lognormal(0, 0.8, sum(sizes)) * mean_windows * 7).astype(np.int64)
    first = np.cumsum([0, *sizes])
    shards = [np.arange(size) // episodes_per_shard for size in sizes]
    shifts = np.cumsum([0, *(int(shard[-1]) + 1 for shard in shards)])[:-1]
    return SimpleNamespace(
        num_frames=frames,
        shard=np.concatenate([shard + shift for shard, shift in zip(shards, shifts, strict=True)]),
        datasets=[
            SimpleNamespace(path=name, info=SimpleNamespace(fingerprint=name)) for name in "abcdef"[: len(sizes)]
        ],
        dataset_of=lambda episode: int(np.searchsorted(first, episode, side="right")) - 1,
    )


def make_plan(data, weights: tuple[float, ...], num_lanes: int = 16, num_groups: int = 4, **more) -> MixedPlan:
    settings = ScheduleSettings(
        num_lanes=num_lanes, num_groups=num_groups, window_frames=10, weights=weights, **more
    )
    return MixedPlan(data, np.arange(len(data.num_frames)), settings)


def turns(plan: MixedPlan, num_steps: int):
    """All rows of each step, over as many epochs as that takes."""
    rows = range(plan.settings.num_lanes)
    return [[plan.turn(*divmod(step, plan.num_steps), row) for row in rows] for step in range(num_steps)]


CASES = [
    (collection(400, 300), (2.0, 1.0)),
    (collection(300, 60, 200), (3.0, 0.5, 1.7)),  # two borders within rows
    (collection(500, 40), (1.0, 1.0)),  # the small one is seen many times
    (collection(200, 30, 30, 30), (29.0, 1.0, 1.0, 1.0)),  # three datasets in one row
]


@pytest.mark.parametrize(("data", "weights"), CASES)
def test_shares_are_exact_over_any_thousand_steps(data, weights):
    plan = make_plan(data, weights)
    counts = np.zeros((2501, len(weights)))
    for step, row in enumerate(turns(plan, 2500)):
        seen = Counter(data.dataset_of(turn.window.episode) for turn in row if turn.window)
        counts[step + 1] = counts[step] + [seen[number] for number in range(len(weights))]
    found = counts[1000:] - counts[:-1000]
    shares = found / found.sum(1, keepdims=True)
    worst = np.abs(shares - np.array(weights) / sum(weights)).max(0)
    assert all(one <= share.deviation for one, share in zip(worst, plan.shares, strict=True))
    assert [share.share for share in plan.shares] == pytest.approx(np.array(weights) / sum(weights))


def test_shares_of_a_full_size_mix_are_exact_to_a_thousandth():
    # Two sets of 4,000 and 1,500 episodes of about 80 windows on 64 lanes, as in a real run.
    data = collection(4000, 1500, episodes_per_shard=8, mean_windows=80)
    plan = make_plan(data, (1.0, 2.0), num_lanes=64, num_groups=8)
    assert all(share.deviation < 0.001 for share in plan.shares)
    assert plan.num_padding / (plan.num_steps * 64) < 0.001
    rows = turns(plan, 1000)
    seen = Counter(data.dataset_of(turn.window.episode) for row in rows for turn in row if turn.window)
    assert seen[1] / seen.total() == pytest.approx(2 / 3, abs=0.001)


@pytest.mark.parametrize(("data", "weights"), CASES)
def test_no_window_comes_twice_before_all_of_its_dataset_were_seen(data, weights):
    plan = make_plan(data, weights)
    windows = -(-data.num_frames // 10)
    whole = Counter()
    for episode, number in enumerate(windows.tolist()):
        whole[data.dataset_of(episode)] += number
    seen: dict[int, set[tuple[int, int]]] = defaultdict(set)
    rounds = Counter()
    for row in turns(plan, 2 * plan.num_steps):
        for turn in row:
            if turn.window is None:
                continue
            number = data.dataset_of(turn.window.episode)
            key = (turn.window.episode, turn.window.index)
            assert key not in seen[number]
            assert turn.epoch == rounds[number]  # goals are drawn again each time round
            seen[number].add(key)
        for number, found in seen.items():
            if len(found) == whole[number]:
                rounds[number] += 1
                found.clear()
    assert max(rounds.values()) >= 2


@pytest.mark.parametrize(("data", "weights"), CASES)
def test_every_lane_goes_through_whole_episodes_and_stays_in_its_row(data, weights):
    plan = make_plan(data, weights)
    last, row_of, datasets = {}, {}, defaultdict(set)
    for row in turns(plan, plan.num_steps + 500):
        assert len({turn.lane for turn in row}) == len(row)
        for number, turn in enumerate(row):
            assert continues(last.get(turn.lane), turn.window)
            last[turn.lane] = turn.window
            assert row_of.setdefault(turn.lane, number) == number
            if turn.window:
                datasets[turn.lane].add(data.dataset_of(turn.window.episode))
    assert all(len(found) == 1 for found in datasets.values())
    assert sorted(row_of) == list(range(len(row_of)))
    assert len(row_of) <= 16 + len(weights) - 1


@pytest.mark.parametrize("num_ranks", [1, 2, 4, 8, 16])
def test_ranks_divide_lanes_among_them_for_any_number_of_ranks(num_ranks):
    plan = make_plan(*CASES[1])
    lanes = [lane for rank in range(num_ranks) for lane in plan.lanes_of_rows(lanes_of_rank(rank, num_ranks, 16))]
    assert lanes == list(plan.lanes_of_rows(range(16)))
    for rank in range(num_ranks):
        rows = lanes_of_rank(rank, num_ranks, 16)
        seen = {plan.turn(0, step, row).lane for step in range(50) for row in rows}
        assert seen == set(plan.lanes_of_rows(rows))


def test_groups_of_rows_read_shards_of_their_own():
    data = collection(800, 640)
    plan = make_plan(data, (1.0, 1.0))
    assert not plan.by_episode
    read: dict[int, set[int]] = defaultdict(set)
    for row in turns(plan, 400):
        for number, turn in enumerate(row):
            if turn.window:
                read[number // 4].add(int(data.shard[turn.window.episode]))
    for group, shards in read.items():
        assert shards <= set(data.shard[plan.episodes_of_groups({group})].tolist())
    assert sum(map(len, read.values())) == len(set().union(*read.values()))


def test_mix_starts_anywhere_as_if_it_had_come_there():
    whole = turns(make_plan(*CASES[1]), 900)
    plan = make_plan(*CASES[1])
    for step in (899, 3, 450):
        assert [plan.turn(*divmod(step, plan.num_steps), row) for row in range(16)] == whole[step]


def test_weights_that_do_not_fit_the_datasets_are_refused():
    with pytest.raises(
        RocketError, match=r"data.datasets: weights \(1.0,\), expected a positive one for each of 2"
    ):
        make_plan(collection(10, 10), (1.0,))


def test_dataset_without_training_episodes_is_named():
    data = collection(10, 10)
    settings = ScheduleSettings(num_lanes=4, window_frames=10, weights=(1.0, 1.0))
    with pytest.raises(RocketError, match="b: none of its episodes trains"):
        MixedPlan(data, np.arange(10), settings)
