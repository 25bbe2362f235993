"""Windows that damage cost: counted, named, and limited."""

import logging
from dataclasses import dataclass

from shards.errors import DamagedClip, RocketError

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LostWindow:
    """A window whose frames were masked, and why."""

    num_frames: int
    damage: DamagedClip


class DamageReport:
    """What this rank lost to damage so far, in order; the same window in a later epoch counts once."""

    def __init__(self, max_windows: int) -> None:
        self.max_windows = max_windows
        self.lost: list[LostWindow] = []
        self._seen: set[tuple[str, str, int]] = set()

    def add(self, window: LostWindow, start_frame: int, place: str) -> None:
        """The window is counted and logged; `place` names its epoch, step and lane.

        Raises:
            RocketError: if that is one more than the limit; it names every shard that is concerned.
        """
        damage = window.damage
        key = (damage.shard, damage.episode_id, start_frame)
        if key in self._seen:
            return
        self._seen.add(key)
        self.lost.append(window)
        counts = f"{window.num_frames} frames are masked ({len(self.lost)} of at most {self.max_windows} windows)"
        _log.warning(f"{damage} {place}: {counts}.")
        if len(self.lost) > self.max_windows:
            shards = ", ".join(sorted({one.damage.shard for one in self.lost}))
            raise RocketError(
                f"{shards}: {len(self.lost)} windows are damaged, expected at most {self.max_windows} "
                f"(data.max_damaged_windows); the last: episode {damage.episode_id}, clip {damage.clip}: "
                f"{damage.problem}. Run: rocket-prep verify DATASET --repair SOURCE"
            )
