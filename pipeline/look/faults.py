"""What is wrong with a dataset, named by shard, episode and clip."""

from collections.abc import Sequence
from dataclasses import dataclass

from shards.display.wording import number_of, shorten


@dataclass(frozen=True)
class Fault:
    """One thing that is not as the manifest or the format says.

    Attributes:
        shard: file name; None where it concerns the manifest as a whole.
        episode_id: None where it concerns a whole shard.
        clip: None where it concerns a whole episode.
        problem: what was found and what was expected.
    """

    problem: str
    shard: str | None = None
    episode_id: str | None = None
    clip: int | None = None

    def where(self) -> str:
        """Its place in words."""
        parts = [self.shard or "manifest"]
        if self.episode_id is not None:
            parts.append(f"episode {self.episode_id}")
        if self.clip is not None:
            parts.append(f"clip {self.clip}")
        return ", ".join(parts)


def fault_lines(faults: Sequence[Fault], columns: int) -> list[str]:
    """A line for each fault, its place first; places are never cut, problems are where the line gets too long."""
    lines = []
    for fault in faults:
        where, problem = f"  {fault.where()}:", fault.problem
        room = columns - len(where) - 1
        if room >= min(30, len(problem)):
            lines.append(f"{where} {shorten(problem, room)}")
        else:
            lines += [where, f"    {problem}"]
    return lines


def summary(faults: Sequence[Fault]) -> str:
    """How many faults there are and where, in one line."""
    if not faults:
        return "no fault"
    episodes = {(fault.shard, fault.episode_id) for fault in faults if fault.episode_id is not None}
    shards = {fault.shard for fault in faults if fault.shard is not None}
    where = f"{number_of(len(episodes), 'episode')} and {number_of(len(shards), 'shard')}"
    return f"{number_of(len(faults), 'fault')} in {where}"
