"""Where a run is in its data: a few integers, and what they are a position in."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

from shards.errors import RocketError

STATE_VERSION = 1


class PositionMismatch(RocketError):
    """A saved position cannot be continued with these settings or this data."""


@dataclass(frozen=True)
class ScheduleKey:
    """All that the schedule is a function of, but the epoch. No rank and no worker is in it.

    Attributes:
        fingerprint: of the datasets together.
        num_train_episodes: episodes of the training split.
    """

    fingerprint: str
    seed: int
    num_lanes: int
    num_lane_groups: int
    win_len: int
    split_ratio: float
    shuffle_episodes: bool
    num_train_episodes: int
    episode_continuous_batch: bool

    def state(self, epoch: int, step: int) -> dict[str, object]:
        """The position (epoch, step) as what a checkpoint holds."""
        return {"version": STATE_VERSION, "epoch": epoch, "step": step, **asdict(self)}

    def position(self, state: Mapping[str, object]) -> tuple[int, int]:
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
            f"{_SETTING[one.name]} was {state.get(one.name)}, got {getattr(self, one.name)}"
            for one in fields(self)
            if state.get(one.name) != getattr(self, one.name)
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


_SETTING = {
    "fingerprint": "the fingerprint of data.datasets",
    "seed": "seed",
    "num_lanes": "the global batch (data.batch_size x ranks)",
    "num_lane_groups": "data.num_lane_groups",
    "win_len": "data.win_len",
    "split_ratio": "data.split_ratio",
    "shuffle_episodes": "data.shuffle_episodes",
    "num_train_episodes": "the number of episodes that train",
    "episode_continuous_batch": "data.episode_continuous_batch",
}
