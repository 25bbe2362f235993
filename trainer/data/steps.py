"""What each step of an epoch brings to a rank's lanes, from the schedule; shuffled.py has the other way."""

from shards.schedule.lanes import LanePlan
from shards.schedule.mixing import MixedPlan
from trainer.data.source import Assignment, EpisodeSource


class LaneSteps:
    """Steps in the order of the schedule: contiguous windows in every lane."""

    def __init__(self, plan: LanePlan | MixedPlan, rows: range, source: EpisodeSource) -> None:
        """Open nothing yet; the rows of the global batch are those of this rank."""
        self._plan, self._rows, self._source = plan, rows, source

    @property
    def num_steps(self) -> int:
        """Steps of every epoch."""
        return self._plan.num_steps

    def read(self, epoch: int, step: int) -> list[tuple[int, Assignment | None]]:
        """For each row its lane, and what that gets; None is padding."""
        turns = [self._plan.turn(epoch, step, row) for row in self._rows]
        return [
            (turn.lane, None if turn.window is None else self._source.assign(turn.window, turn.epoch))
            for turn in turns
        ]
