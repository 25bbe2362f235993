"""Where a run is in its data: a few plain values, and what they are a position in."""

from collections.abc import Mapping
from dataclasses import asdict

from shards.errors import RocketError
from shards.schedule.settings import ScheduleSettings, setting_keys

STATE_VERSION = 2
_KEYS = {
    **setting_keys(),
    "fingerprint": "the fingerprint of data.datasets",
    "num_train_episodes": "the number of episodes that train",
}


class PositionMismatch(RocketError):
    """A saved position cannot be continued with these settings or this data."""


def schedule_key(
    settings: ScheduleSettings, fingerprint: str, num_train_episodes: int
) -> dict[str, int | float | str | bool]:
    """All that the schedule is a function of, but the epoch: what a position is a position in."""
    plain = {**asdict(settings), "weights": ":".join(map(str, settings.weights))}
    return {**plain, "fingerprint": fingerprint, "num_train_episodes": num_train_episodes}


def save_position(key: Mapping[str, object], epoch: int, step: int) -> dict[str, object]:
    """The position as what a checkpoint holds."""
    return {"version": STATE_VERSION, "epoch": epoch, "step": step, **key}


def saved_position(key: Mapping[str, object], state: Mapping[str, object]) -> tuple[int, int]:
    """The saved (epoch, step).

    Raises:
        PositionMismatch: if it is a position in something else; every difference is named.
    """
    if state.get("version") != STATE_VERSION:
        raise PositionMismatch(
            f"checkpoint: data position of version {state.get('version')}, expected {STATE_VERSION}. "
            "Resume with the release that wrote it."
        )
    problems = [
        f"{_KEYS[name]} was {state.get(name)}, got {value}"
        for name, value in key.items()
        if state.get(name) != value
    ]
    if problems:
        raise PositionMismatch(
            f"checkpoint: its position in the data does not fit this run: {'; '.join(problems)}. "
            "Use the settings and data of that run, or start from its weights alone with policy.init_from."
        )
    epoch, step = state["epoch"], state["step"]
    assert isinstance(epoch, int), epoch
    assert isinstance(step, int), step
    return epoch, step
