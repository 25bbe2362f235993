import numpy as np
import pytest

from shards.errors import RocketError
from shards.schedule.split import split_episodes

IDS = [f"player-{index:03d}" for index in range(200)]


def test_split_puts_every_episode_on_one_side():
    train, val = split_episodes(IDS, 0.95)
    assert (len(train), len(val)) == (190, 10)
    assert sorted([*train, *val]) == list(range(200))
    assert train.tolist() == sorted(train)
    assert val.tolist() == sorted(val)


def test_split_is_drawn_from_the_seed_and_the_names_alone():
    val = {IDS[ep] for ep in split_episodes(IDS, 0.9)[1]}
    backwards = IDS[::-1]
    assert val == {backwards[ep] for ep in split_episodes(backwards, 0.9)[1]}
    assert val != {IDS[ep] for ep in split_episodes(IDS, 0.9, seed=1)[1]}


def test_split_moves_few_episodes_when_the_dataset_grows():
    before = {IDS[ep] for ep in split_episodes(IDS, 0.9)[1]}
    more = [*IDS, *(f"other-{index}" for index in range(20))]
    after = {more[ep] for ep in split_episodes(more, 0.9)[1]}
    assert len(before - after) <= 4


def test_split_without_shuffling_takes_the_first_for_training():
    train, val = split_episodes(IDS, 0.75, shuffle=False)
    assert train.tolist() == list(range(150))
    assert val.tolist() == list(range(150, 200))


@pytest.mark.parametrize(
    ("num_episodes", "ratio", "expected"),
    [
        (1, 0.95, (1, 0)),
        (2, 0.95, (1, 1)),
        (5, 0.95, (4, 1)),
        (5, 0.01, (1, 4)),
        (5, 1.0, (5, 0)),
        (5, 0.0, (0, 5)),
    ],
)
def test_split_leaves_something_on_both_sides(num_episodes, ratio, expected):
    train, val = split_episodes(IDS[:num_episodes], ratio)
    assert (len(train), len(val)) == expected


def test_split_of_nothing_is_nothing():
    train, val = split_episodes([], 0.9)
    assert train.dtype == val.dtype == np.int64
    assert len(train) == len(val) == 0


@pytest.mark.parametrize("ratio", [-0.1, 1.5, 95])
def test_split_refuses_a_ratio_that_is_no_share(ratio):
    with pytest.raises(RocketError, match=f"split_ratio: .* got {ratio}, expected 0 to 1"):
        split_episodes(IDS, ratio)
