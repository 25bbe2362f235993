"""Waiting in tests: for something that will happen, and never without end."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(condition: Callable[[], T], what: str, seconds: float = 120.0) -> T:
    """What `condition` returns as soon as that is true.

    The time limit only ends a wait that will never succeed: it is far above what a busy machine takes.

    Args:
        condition: asked again and again; it may raise to end the wait early.
        what: is waited for, for the message.
        seconds: how long to wait.
    """
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{what}: not within {seconds:g} s"
        time.sleep(0.005)
    return found
