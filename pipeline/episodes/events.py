"""Events: what the game counted from one line of a log to the next, told by the recorder's cumulative statistics.

    stats of the lines:  stone 4 | stone 4 | stone 5 | stone 7 | stone 1 (a new world) | stone 2
    events:                 -    |    -    | stone+1 | stone+2 |           -           | stone+1

The statistics of a line are those before its action: an event shows in the first line in which its counter has
risen, one line after the action that caused it at the earliest.
"""

from collections.abc import Mapping
from typing import Any

from shards.display.wording import short_event
from shards.events import is_clock

_MAX_COUNT = 1 << 40


class EventCounter:
    """Turns an episode's lines into events, one line at a time; a recording that continues it goes on with it.

    Attributes:
        world: number of the world that the last line belongs to, from 0; it rises where a counter falls.
    """

    def __init__(self) -> None:
        self.world = 0
        self._begun = False
        self._last: Mapping[str, int] | None = None

    def feed(self, line: Mapping[str, Any]) -> dict[str, int]:
        """The events of a parsed line: by name how much each counter has risen since the line before.

        Nothing at the first line with statistics and where a counter falls, which only a new world does. A line
        without statistics tells nothing: what happened meanwhile comes with the next line that has them. So does
        an empty object after a line that had counters. `time_since_death` and the like start from 0 again in the
        same world; their fall is no event. MineStudio's lines say increments, as `events` or in `delta_mine_block`
        and the like.

        Args:
            line: a recorder's line; `minecraft.mine_block:minecraft.stone` becomes `mine_block:stone`.
        """
        begun, self._begun = self._begun, True
        if "stats" not in line and begun:
            return _increments(line)
        stats = line.get("stats")
        if not isinstance(stats, Mapping) or (not stats and self._last):
            return {}
        now = {short_event(name): count for name, count in stats.items() if _is_count(count)}
        last, self._last = self._last, now
        if last is None:
            return {}
        if any(now.get(name, 0) < count for name, count in last.items() if not is_clock(name)):
            self.world += 1
            return {}
        return {name: count - last.get(name, 0) for name, count in now.items() if count > last.get(name, 0)}


def _increments(line: Mapping[str, Any]) -> dict[str, int]:
    """What a line of MineStudio's says that happened: {"events": {"mine_block:stone": 1}}, or delta_mine_block."""
    told = line.get("events")
    if not isinstance(told, Mapping):
        deltas = {key[6:]: items for key, items in line.items() if key.startswith("delta_")}
        told = {
            f"{category}:{item}": count
            for category, items in deltas.items()
            if isinstance(items, Mapping)
            for item, count in items.items()
        }
    return {short_event(name): count for name, count in told.items() if _is_count(count) and count > 0}


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < _MAX_COUNT
