"""Whether a lane's windows follow from each other, for the tests of plans."""

from shards.schedule.lanes import Window


def continues(previous: Window | None, current: Window | None) -> bool:
    """Whether a lane may get `current` right after `previous`; None is padding, and what an epoch begins after."""
    if previous is not None and not previous.last:
        return current is not None and (current.episode, current.start) == (previous.episode, previous.stop)
    return current is None or (current.first and current.start == 0)
