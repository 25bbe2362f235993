"""What a schedule depends on beside the data: one record for planning, training, resuming and looking."""

from dataclasses import dataclass, field, fields

from shards.errors import RocketError


@dataclass(frozen=True, kw_only=True)
class ScheduleSettings:
    """What a schedule is a function of, beside the datasets and the epoch. No rank and no worker is in it.

    To plan as training does, for one dataset or several:

        settings = ScheduleSettings(num_lanes=64, num_groups=8, split_ratio=0.95)
        train, val = plan_splits(open_collection(paths), settings)
        train.epoch(3).window(step, lane)

    Attributes:
        num_lanes: the global batch.
        num_groups: groups of lanes that shards are tied to; a divisor of num_lanes.
        window_frames: frames that a lane gets in one step.
        split_ratio: share of the episodes that train; 1.0: all of them.
        shuffle: draw the split and each epoch's order by the seed; False: both are as stored.
        weights: of the datasets, in proportion to which they share the windows; empty: each window once an epoch.
        contiguous: lanes go through whole episodes; False: shuffled windows without memory.
    """

    num_lanes: int = field(metadata={"key": "the global batch (data.batch_size x ranks)"})
    num_groups: int = field(default=1, metadata={"key": "data.num_lane_groups"})
    window_frames: int = field(default=128, metadata={"key": "data.win_len"})
    seed: int = field(default=0, metadata={"key": "seed"})
    split_ratio: float = field(default=1.0, metadata={"key": "data.split_ratio"})
    shuffle: bool = field(default=True, metadata={"key": "data.shuffle_episodes"})
    weights: tuple[float, ...] = field(default=(), metadata={"key": "the weights of data.datasets"})
    contiguous: bool = field(default=True, metadata={"key": "data.episode_continuous_batch"})

    def __post_init__(self) -> None:
        """Check what would break the schedule.

        Raises:
            RocketError: if the lanes do not form equal groups, or a length is not positive.
        """
        if self.window_frames < 1:
            raise RocketError(f"win_len: a number of frames, got {self.window_frames}, expected 1 or more.")
        if self.num_lanes < 1 or self.num_groups < 1 or self.num_lanes % self.num_groups:
            raise RocketError(
                f"num_lane_groups: {self.num_lanes} lanes do not form equal groups, got {self.num_groups} groups, "
                f"expected a divisor of {self.num_lanes}. Use {nearest_divisor(self.num_lanes, self.num_groups)}."
            )

    @property
    def lanes_per_group(self) -> int:
        return self.num_lanes // self.num_groups


def setting_keys() -> dict[str, str]:
    """For each field, the key by which a run's settings give it."""
    return {one.name: one.metadata["key"] for one in fields(ScheduleSettings)}


def divisors(number: int) -> list[int]:
    """All numbers that divide this one, ascending."""
    return [n for n in range(1, number + 1) if number % n == 0]


def nearest_divisor(number: int, wanted: int) -> int:
    """The divisor of a number that is nearest to the wanted one."""
    return min(divisors(max(number, 1)), key=lambda divisor: (abs(divisor - wanted), -divisor))
