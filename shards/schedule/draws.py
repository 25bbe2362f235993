"""Reproducible random draws, named by what they are for.

Only the raw stream of PCG64 is used: NumPy promises that it never changes, which it does not for `shuffle`,
`permutation` or `integers`. So an order drawn today is the order drawn by every later version.
"""

import hashlib

import numpy as np
from numpy.typing import NDArray


def stream(*name: object) -> np.random.PCG64:
    """The random stream of that name; equal names give equal streams, other names unrelated ones."""
    digest = hashlib.sha256("\0".join(map(str, name)).encode()).digest()
    return np.random.PCG64(int.from_bytes(digest, "big"))


def draw_order(count: int, *name: object) -> NDArray[np.int64]:
    """A permutation of range(count), shape (count,)."""
    return np.argsort(stream(*name).random_raw(count), kind="stable")


def draw_below(bits: np.random.PCG64, bound: int) -> int:
    """The stream's next draw from range(bound)."""
    return int(bits.random_raw()) % bound  # the bias is bound / 2**64


def draw_uniform(bits: np.random.PCG64, low: float, high: float) -> float:
    """The stream's next draw from [low, high)."""
    return low + (high - low) * (int(bits.random_raw()) >> 11) * 2.0**-53
