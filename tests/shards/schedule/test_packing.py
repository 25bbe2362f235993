import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from shards.schedule.packing import balance, pack_lanes

weights = st.lists(st.integers(1, 30), min_size=1, max_size=7).map(lambda values: np.array(values, np.int64))


def longest(weight: np.ndarray, place: np.ndarray) -> int:
    return int(np.bincount(place, weights=weight).max())


def best_possible(weight: np.ndarray, num_bins: int) -> int:
    """By trying every placement."""
    return min(
        longest(weight, np.array(place)) for place in itertools.product(range(num_bins), repeat=len(weight))
    )


@settings(max_examples=60, deadline=None)
@given(weights, st.integers(1, 3))
def test_balance_is_never_far_from_the_best_placement(weight, num_bins):
    place = balance(weight, np.zeros(num_bins, np.int64))
    assert set(place.tolist()) <= set(range(num_bins))
    assert longest(weight, place) <= best_possible(weight, num_bins) * 4 / 3  # what longest-first promises


def test_balance_evens_out_similar_weights_whose_number_is_no_multiple_of_the_bins():
    weight = np.arange(50, 75)  # 1,550 in all: one of four bins must take seven of the 25
    assert (
        longest(weight, balance(weight, np.zeros(4, np.int64))) == 388
    )  # the even share is 387.5; longest-first alone ends at 425


@settings(max_examples=60, deadline=None)
@given(weights, st.integers(1, 4), st.sampled_from([0.0, 0.2, 1.0]))
def test_lanes_are_packed_greedily(weight, num_lanes, share):
    lane = pack_lanes(weight, np.zeros(num_lanes, np.int64), share)
    assert lane.shape == weight.shape
    # No lane is longer than an even share plus one episode: each went to the shortest lane of its time.
    assert longest(weight, lane) <= weight.sum() / num_lanes + weight.max()


def test_lanes_without_a_sorted_share_are_filled_in_the_given_order():
    assert pack_lanes(np.array([5, 1, 1, 1, 9]), np.zeros(2, np.int64), 0.0).tolist() == [0, 1, 1, 1, 1]


def test_bins_with_more_room_get_more():
    room = np.array([100, 50, 150])
    place = balance(np.full(30, 10), room)
    assert np.bincount(place, weights=np.full(30, 10)).tolist() == [100, 50, 150]
    lane = pack_lanes(np.full(30, 10), room, 0.0)
    assert np.bincount(lane, weights=np.full(30, 10)).tolist() == [100, 50, 150]
