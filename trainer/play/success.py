"""How often tasks were done, with how much can be said from so many tries."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from shards.display.wording import table
from trainer.play.rollout import Outcome, PlaySettings

_Z_95 = 1.959964


@dataclass(frozen=True)
class TaskSuccess:
    """The episodes of one task.

    Attributes:
        interval: the rate's 95 % interval.
        mean_steps: environment steps of an episode.
    """

    task: str
    num_episodes: int
    num_successes: int
    interval: tuple[float, float]
    mean_steps: float

    @property
    def rate(self) -> float:
        return self.num_successes / self.num_episodes


def wilson_interval(num_successes: int, num_tries: int) -> tuple[float, float]:
    """The 95 % interval of a success rate.

    Source: E. B. Wilson, Probable inference, the law of succession, and statistical inference (1927).
    """
    rate, z2 = num_successes / num_tries, _Z_95**2
    centre = (rate + z2 / (2 * num_tries)) / (1 + z2 / num_tries)
    half = _Z_95 / (1 + z2 / num_tries) * math.sqrt(rate * (1 - rate) / num_tries + z2 / (4 * num_tries**2))
    return max(0.0, centre - half), min(1.0, centre + half)


def by_task(outcomes: Sequence[Outcome]) -> list[TaskSuccess]:
    """The outcomes of each task, in the order in which tasks first appear, and of all where there are several."""
    groups: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        groups.setdefault(outcome.plan.task or "task", []).append(outcome)
    if len(groups) > 1:
        groups["all"] = list(outcomes)
    rows = []
    for task, group in groups.items():
        wins = sum(outcome.success for outcome in group)
        steps = sum(outcome.num_steps for outcome in group) / len(group)
        rows.append(TaskSuccess(task, len(group), wins, wilson_interval(wins, len(group)), steps))
    return rows


def success_lines(rows: Sequence[TaskSuccess]) -> list[str]:
    """A table for a terminal."""
    cells = [["task", "episodes", "success", "95 % interval", "steps"]]
    for row in rows:
        low, high = (f"{100 * end:.0f}" for end in row.interval)
        cells.append(
            [row.task, str(row.num_episodes), f"{row.rate:.1%}", f"{low} to {high} %", f"{row.mean_steps:.0f}"]
        )
    return table(cells, "lrrrr", indent="")


def success_record(settings: PlaySettings, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """All that was asked and what came of it, for scripts."""
    return {
        "settings": asdict(settings),
        "tasks": [asdict(row) | {"rate": row.rate} for row in by_task(outcomes)],
        "episodes": [asdict(outcome) for outcome in outcomes],
    }
