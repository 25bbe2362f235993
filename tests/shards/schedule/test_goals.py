import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from shards.manifest import CandidateRun
from shards.schedule.draws import draw_below, stream
from shards.schedule.goals import NO_GOAL, choose_goals


def runs_of(frames: list[tuple[int, ...]]) -> list[CandidateRun]:
    """Maximal runs of frames with the same candidates, without those that have none."""
    runs: list[CandidateRun] = []
    for at, candidates in enumerate(frames):
        if runs and runs[-1].stop == at and runs[-1].interactions == candidates:
            runs[-1] = CandidateRun(runs[-1].start, at + 1, candidates)
        elif candidates:
            runs.append(CandidateRun(at, at + 1, candidates))
    return runs


def scan_frame_by_frame(frames: list[tuple[int, ...]], seed: int, epoch: int, episode_id: str) -> list[int]:
    """MineStudio's rule, word by word, with a seeded draw."""
    bits = stream("goals", seed, epoch, episode_id)
    last_key, goals = None, []
    for candidates in reversed(frames):
        if not candidates:
            goals.append(NO_GOAL)  # last_key is not reset
            continue
        if last_key is None or last_key not in candidates:
            last_key = candidates[draw_below(bits, len(candidates))]
        goals.append(last_key)
    return goals[::-1]


candidate_lists = st.lists(st.integers(0, 5), max_size=3, unique=True).map(tuple)
episodes = st.lists(st.tuples(candidate_lists, st.integers(1, 6)), max_size=30).map(
    lambda stretches: [candidates for candidates, length in stretches for _ in range(length)]
)


@settings(max_examples=300, deadline=None)
@given(episodes, st.integers(0, 3), st.integers(0, 3))
def test_goals_equal_a_scan_frame_by_frame(frames, seed, epoch):
    goals = choose_goals(runs_of(frames), len(frames), seed=seed, epoch=epoch, episode_id="player")
    assert goals.dtype == np.int32
    assert goals.tolist() == scan_frame_by_frame(frames, seed, epoch, "player")


def test_goal_stays_with_an_interaction_to_its_beginning():
    # Two interactions overlap; from the event backwards the later one is followed as far as it goes.
    frames = [(0,)] * 5 + [(0, 1)] * 5 + [(1,)] * 5
    for seed in range(8):
        goals = choose_goals(runs_of(frames), 15, seed=seed, epoch=0, episode_id="player")
        assert goals.tolist() == [0] * 5 + [1] * 10


def test_goal_is_kept_in_mind_over_frames_without_candidates():
    frames = [(0, 1)] * 3 + [()] * 2 + [(0,)] * 3
    for seed in range(8):
        goals = choose_goals(runs_of(frames), 8, seed=seed, epoch=0, episode_id="player")
        assert goals.tolist() == [0, 0, 0, -1, -1, 0, 0, 0]


def test_goals_are_drawn_anew_by_seed_epoch_and_episode():
    frames = [choice for _ in range(40) for choice in ((0, 1), (2, 3))]
    runs = runs_of(frames)

    def goals(seed: int, epoch: int, episode_id: str) -> tuple[int, ...]:
        return tuple(choose_goals(runs, len(frames), seed=seed, epoch=epoch, episode_id=episode_id).tolist())

    assert goals(0, 0, "a") == goals(0, 0, "a")
    assert len({goals(0, 0, "a"), goals(1, 0, "a"), goals(0, 1, "a"), goals(0, 0, "b")}) == 4


def test_goals_of_an_episode_without_interactions_are_none():
    assert choose_goals([], 4, seed=0, epoch=0, episode_id="a").tolist() == [NO_GOAL] * 4


def test_goals_fall_on_each_candidate_about_equally_often():
    frames = [choice for _ in range(1000) for choice in ((0, 1, 2), (3, 4, 5))]
    goals = choose_goals(runs_of(frames), len(frames), seed=0, epoch=0, episode_id="a")
    counts = np.bincount(goals, minlength=6)
    assert counts.min() > 260  # of 333 expected; four standard deviations are 60
