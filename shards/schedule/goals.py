"""Which of a frame's interactions is its goal: the one whose mask and type the policy is shown.

The rule is MineStudio's, drawn once for a whole episode so that neighbouring windows never disagree. Going from
the last frame to the first, the goal stays the same interaction while that is among the frame's candidates;
otherwise it is drawn from the candidates. A frame without candidates has no goal, and the goal before it (later
in time) is kept in mind across such frames.

Source: CraftJarvis/MineStudio, minestudio/data/minecraft/callbacks/segmentation.py (SegmentationKernelCallback).
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from shards.manifest import CandidateRun
from shards.schedule.draws import draw_below, stream

NO_GOAL = -1


def choose_goals(
    candidate_runs: Sequence[CandidateRun], num_frames: int, *, seed: int, epoch: int, episode_id: str
) -> NDArray[np.int32]:
    """The interaction that each frame of an episode shows, i32 (num_frames,), NO_GOAL where it has none.

    Args:
        candidate_runs: in the order of their frames; frames in none of them have no candidates.
        seed: the run's seed; with the epoch and the episode's name it fixes every draw.
    """
    goals = np.full(num_frames, NO_GOAL, np.int32)
    bits = stream("goals", seed, epoch, episode_id)
    goal = NO_GOAL
    # Within a run the candidates do not change, so neither does the goal: one decision a run.
    for run in reversed(candidate_runs):
        if goal not in run.interactions:
            goal = run.interactions[draw_below(bits, len(run.interactions))]
        goals[run.start : run.stop] = goal
    return goals
