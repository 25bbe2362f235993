"""Slow, obvious versions of what the trainer's data must come to, for tests to compare with."""

import hashlib
import itertools
import math

import numpy as np

from tests.synthetic import episode_interactions

GROUPS = {
    "hotbar": ["none", *(f"hotbar.{slot}" for slot in range(1, 10))],
    "fore_back": ["none", "forward", "back"],
    "left_right": ["none", "left", "right"],
    "sprint_sneak": ["none", "sprint", "sneak"],
    "use": ["none", "use"],
    "drop": ["none", "drop"],
    "attack": ["none", "attack"],
    "jump": ["none", "jump"],
    "camera": ["none", "camera"],
}
COMBINATIONS = [*itertools.product(*GROUPS.values()), "inventory"]


def slow_bin(degrees):
    """One angle's bin, in Python's own arithmetic."""
    degrees = min(max(degrees, -10.0), 10.0)
    encoded = math.copysign(math.log(1 + 10 * abs(degrees / 10)) / math.log(11), degrees) * 10
    return round((encoded + 10) / 2)


def slow_to_policy(names, camera):
    """The action of a set of button names, by the groups' definition."""
    bins = [slow_bin(angle) for angle in camera]
    if "inventory" in names:
        return COMBINATIONS.index("inventory"), 60
    chosen = []
    for group, members in GROUPS.items():
        choice = "none"
        for member in members[1:]:
            if member in names:
                choice = member
        if group in ("fore_back", "left_right") and set(members[1:]) <= set(names):
            choice = "none"
        if group == "camera":
            choice = "none" if bins == [5, 5] else "camera"
        chosen.append(choice)
    return COMBINATIONS.index(tuple(chosen)), bins[0] * 11 + bins[1]


def slow_goals(episode_id, num_frames, seed, epoch):
    """The goal of each frame of a synthetic episode, -1 without: frame by frame from the last to the first."""
    name = "\0".join(("goals", str(seed), str(epoch), episode_id))
    bits = np.random.PCG64(int(hashlib.sha256(name.encode()).hexdigest(), 16))
    goal, goals = -1, []
    for frame in reversed(range(num_frames)):
        candidates = [i for i, one in enumerate(episode_interactions(num_frames)) if one.start <= frame < one.stop]
        if candidates and goal not in candidates:
            goal = candidates[int(bits.random_raw()) % len(candidates)]
        goals.append(goal if candidates else -1)
    return goals[::-1]
