"""Placing weights in bins so that the loads come out nearly equal: episodes on lanes, shards in groups."""

import heapq

import numpy as np
from numpy.typing import NDArray


def pack_lanes(windows: NDArray[np.int64], room: NDArray[np.int64], sorted_share: float) -> NDArray[np.int64]:
    """A lane for each episode: in the given order the one with the most room left, the last share longest first.

    Args:
        room: windows that each lane has room for; only the differences matter.
    """
    head = int(np.searchsorted(np.cumsum(windows), windows.sum() * (1 - sorted_share), side="right"))
    tail = head + np.argsort(-windows[head:], kind="stable")
    return _place(windows, np.concatenate((np.arange(head), tail)), room)


def _place(weights: NDArray[np.int64], order: NDArray[np.int64], room: NDArray[np.int64]) -> NDArray[np.int64]:
    """A bin for each weight, the one with the most room left at its turn."""
    bins = [(-space, place) for place, space in enumerate(room.tolist())]
    heapq.heapify(bins)
    chosen = np.empty(len(weights), np.int64)
    for item, weight in zip(order.tolist(), weights[order].tolist(), strict=True):
        load, place = bins[0]
        chosen[item] = place
        heapq.heapreplace(bins, (load + weight, place))
    return chosen


def balance(weights: NDArray[np.int64], room: NDArray[np.int64]) -> NDArray[np.int64]:
    """A bin for each weight so that what room is left is nearly equal; the same for every seed and epoch.

    Longest first, then exchanges between the heaviest and the lightest bin. The exchanges are what evens out
    nearly equal weights (shards of one size) whose number is not a multiple of the bins.

    Args:
        room: what each bin has room for; only the differences matter.
    """
    place = _place(weights, np.argsort(-weights, kind="stable"), room)
    loads = np.bincount(place, weights=weights, minlength=len(room)).astype(np.int64) - room
    for _ in range(16 * len(room)):
        heavy, light = int(loads.argmax()), int(loads.argmin())
        gap = int(loads[heavy] - loads[light])
        given, taken = np.flatnonzero(place == heavy), np.flatnonzero(place == light)
        if gap < 2 or not len(given):
            break
        taken = taken[np.argsort(weights[taken], kind="stable")]
        offers = np.concatenate(([0], weights[taken]))  # nothing, or one of the light bin's in return
        nearest = np.searchsorted(offers, weights[given] - gap / 2)
        choices = np.stack((np.maximum(nearest - 1, 0), np.minimum(nearest, len(offers) - 1)))
        moved = weights[given] - offers[choices]  # (2, len(given)): what the heavy bin loses
        after = np.abs(gap - 2 * moved)
        way, best = np.unravel_index(int(after.argmin()), after.shape)
        if after[way, best] >= gap:
            break
        place[given[best]] = light
        if choice := int(choices[way, best]):
            place[taken[choice - 1]] = heavy
        loads[heavy] -= moved[way, best]
        loads[light] += moved[way, best]
    return place
