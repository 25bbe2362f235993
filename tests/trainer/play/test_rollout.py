"""Playing: lanes, memory, outcomes; against a toy environment whose pictures tell episode and step."""

import gymnasium
import numpy as np
import pytest
import torch

from shards.action_space import ACTION_SPACE
from tests.trainer.policies import SIZE, tiny_policy
from trainer.data.actions import to_env
from trainer.play.rollout import EpisodePlan, PlaySettings, Rollout
from trainer.play.success import by_task, success_lines, wilson_interval

LENGTHS = {0: 5, 1: 9, 2: 3, 3: 12, 4: 1}


def picture(seed, step):
    """What the toy environment shows, for the policy's own size."""
    random = np.random.default_rng([seed, step])
    image = random.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
    mask = random.integers(0, 2, (SIZE, SIZE), dtype=np.uint8)
    return {"image": image, "segment": {"obj_id": (seed + step) % 7 - 1, "obj_mask": mask}}


class ToyEnv(gymnasium.Env):
    """Episode `seed` lasts LENGTHS[seed] steps; it is a success where the seed is even."""

    closed = 0

    def reset(self, *, seed=None, options=None):
        self.seed, self.steps, self.options = seed, 0, options
        return picture(seed, 0), {}

    def step(self, action):
        assert list(action) == [*ACTION_SPACE.policy_buttons, "camera"]
        self.steps += 1
        over = self.steps == LENGTHS[self.seed]
        info = {"success": self.seed % 2 == 0} if over else {}
        return picture(self.seed, self.steps), 0.0, over, False, info

    def close(self):
        type(self).closed += 1


def run(policy, num_lanes, **settings):
    """Frames of each episode, and the outcomes."""
    plans = [EpisodePlan("toy", seed) for seed in LENGTHS]
    frames, outcomes = {seed: [] for seed in LENGTHS}, {}
    settings = {"frame_size": (SIZE, SIZE), "deterministic": True, **settings}
    for episode, frame, outcome in Rollout(policy, ToyEnv, plans, num_lanes=num_lanes, **settings):
        frames[episode].append(frame)
        if outcome is not None:
            outcomes[episode] = outcome
    return frames, outcomes


@torch.no_grad()
def expected_actions(policy, seed, start, stop):
    """The likeliest actions of one long pass over an episode's frames, as an environment takes them."""
    seen = [picture(seed, step) for step in range(start, stop)]
    window = {
        "image": torch.from_numpy(np.stack([frame["image"] for frame in seen]))[None],
        "segment": {
            "obj_id": torch.tensor([[frame["segment"]["obj_id"] for frame in seen]]),
            "obj_mask": torch.from_numpy(np.stack([frame["segment"]["obj_mask"] for frame in seen]))[None],
        },
    }
    logits = policy(window)[0]["pi_logits"]
    return to_env(*(logits[name][0, :, 0].argmax(-1).numpy() for name in ("buttons", "camera")))


@pytest.mark.parametrize("num_lanes", [1, 2, 8])
def test_actions_are_those_of_one_long_pass_over_each_episode(num_lanes):
    policy = tiny_policy(timesteps=16, mem_len=16)
    frames, _ = run(policy, num_lanes)
    for seed, played in frames.items():
        buttons, camera = expected_actions(policy, seed, 0, LENGTHS[seed])
        np.testing.assert_array_equal([frame.buttons for frame in played], buttons)
        np.testing.assert_allclose([frame.camera for frame in played], camera)
        assert [frame.memory_age for frame in played] == list(range(LENGTHS[seed]))


def test_memory_that_is_forgotten_begins_with_the_frames_after():
    policy = tiny_policy(timesteps=16, mem_len=16)
    played = run(policy, 2, forget_every=5)[0][3]
    assert [frame.memory_age for frame in played] == [0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1]
    for start, stop in ((0, 5), (5, 10), (10, 12)):
        buttons, _ = expected_actions(policy, 3, start, stop)
        np.testing.assert_array_equal([frame.buttons for frame in played[start:stop]], buttons)


def test_every_episode_is_played_once_and_environments_are_closed():
    ToyEnv.closed = 0
    _, outcomes = run(tiny_policy(), 2)
    assert [outcomes[seed].num_steps for seed in LENGTHS] == [5, 9, 3, 12, 1]
    assert [outcomes[seed].success for seed in LENGTHS] == [True, False, True, False, True]
    assert ToyEnv.closed == 2


def test_pictures_are_scaled_to_the_policys_size():
    class Wide(ToyEnv):
        def reset(self, **_):
            observation, info = super().reset(**_)
            self.steps = LENGTHS[self.seed] - 1
            return observation, info

    policy = tiny_policy()
    seen = []
    policy.get_action = lambda given, *args, **rest: (
        seen.append(given) or type(policy).get_action(policy, given, *args, **rest)
    )
    list(Rollout(policy, Wide, [EpisodePlan(None, 0)], num_lanes=1, frame_size=(SIZE // 2, SIZE // 4)))
    assert seen[0]["image"].shape == (1, 1, SIZE // 2, SIZE // 4, 3)
    original = picture(0, 0)
    blocks = original["image"].reshape(SIZE // 2, 2, SIZE // 4, 4, 3).mean((1, 3))
    assert np.abs(seen[0]["image"][0, 0].numpy() - blocks).max() <= 1
    assert (seen[0]["segment"]["obj_mask"][0, 0].numpy() == original["segment"]["obj_mask"][::2, ::4]).all()


def test_plans_take_tasks_in_turn_and_a_seed_each():
    settings = PlaySettings(tasks=("a", "b"), num_episodes=3, seed=7)
    assert settings.plans() == [EpisodePlan("a", 7), EpisodePlan("b", 8), EpisodePlan("a", 9)]
    assert PlaySettings(num_episodes=1).plans() == [EpisodePlan(None, 0)]


@pytest.mark.parametrize(  # R. G. Newcombe, Statistics in Medicine 17 (1998), table I, method 3
    ("wins", "tries", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_interval_is_the_published_one(wins, tries, low, high):
    assert wilson_interval(wins, tries) == pytest.approx((low, high), abs=5e-5)


def test_success_is_told_by_task_and_in_all():
    outcomes = [run(tiny_policy(), 1)[1][seed] for seed in LENGTHS]
    assert success_lines(by_task(outcomes))[1].split() == ["toy", "5", "60.0%", "23", "to", "88", "%", "6"]
