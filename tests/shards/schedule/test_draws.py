import hashlib

import numpy as np
import pytest

from shards.schedule.draws import draw_below, draw_order, draw_uniform, stream


def test_draws_are_those_of_pcg64_seeded_with_the_names_digest():
    digest = hashlib.sha256(b"schedule\x000\x00abc").digest()
    expected = np.random.PCG64(int.from_bytes(digest, "big")).random_raw(4)
    assert stream("schedule", 0, "abc").random_raw(4).tolist() == expected.tolist()


def test_draws_are_the_same_in_every_release():
    # Written down once: a change here changes every order, goal and variation ever drawn.
    assert int(stream("a", 1).random_raw()) == 7051521220274128761
    assert draw_order(8, "a", 1).tolist() == [7, 3, 0, 2, 6, 4, 5, 1]


def test_names_are_kept_apart():
    assert stream("a", "bc").random_raw() != stream("ab", "c").random_raw()
    assert stream(1, 23).random_raw() != stream(12, 3).random_raw()


@pytest.mark.parametrize("count", [0, 1, 2, 100])
def test_order_is_a_permutation(count):
    assert sorted(draw_order(count, "x").tolist()) == list(range(count))


def test_every_order_is_about_equally_likely():
    counts: dict[tuple[int, ...], int] = {}
    for seed in range(6000):
        order = tuple(draw_order(3, seed).tolist())
        counts[order] = counts.get(order, 0) + 1
    assert len(counts) == 6
    assert min(counts.values()) > 850  # of 1,000 expected; five standard deviations are 145


def test_numbers_fall_in_their_range_evenly():
    bits = stream("numbers")
    below = np.bincount([draw_below(bits, 5) for _ in range(5000)], minlength=5)
    assert len(below) == 5
    assert below.min() > 850
    uniform = np.array([draw_uniform(bits, -2.0, 3.0) for _ in range(5000)])
    assert -2 <= uniform.min() < -1.9
    assert 2.9 < uniform.max() < 3
    assert abs(uniform.mean() - 0.5) < 0.1
