"""The little game, played: gymnasium's own check, the script's wins, what memory decides, reproducibility."""

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from pipeline.sample.env import ENV_ID, SampleEnv, register
from pipeline.sample.story import TASKS
from shards.action_space import ACTION_SPACE
from shards.errors import RocketError


def action(*pressed, camera=(0.0, 0.0)):
    return {name: int(name in pressed) for name in ACTION_SPACE.policy_buttons} | {"camera": np.array(camera)}


def scripted(env, swap=None):
    """What the script would do now; `swap` exchanges the two buttons that ring bells."""
    told = env._tick.action
    pressed = set(told.buttons)
    if swap and pressed & {"attack", "use"}:
        pressed ^= {"attack", "use"}
    return action(*pressed, camera=(told.dy * 0.15, told.dx * 0.15))


def play(env, task, seed, choose):
    """The last info, and how many steps it took."""
    env.reset(seed=seed, options={"task": task})
    for step in range(1, 301):
        _, reward, over, _, info = env.step(choose(env))
        if over:
            assert reward == float(info["success"])
            return info, step
    return {"success": False}, step


@pytest.mark.filterwarnings("ignore:.*symmetric and normalized space")  # degrees are what recordings hold
def test_env_keeps_gymnasiums_contract():
    register()
    env = gymnasium.make(ENV_ID, disable_env_checker=True)
    check_env(env.unwrapped, skip_render_check=True)


@pytest.mark.parametrize("task", TASKS)
def test_script_does_each_task(task):
    env = SampleEnv()
    assert all(play(env, task, seed, scripted)[0]["success"] for seed in range(2))


def test_bell_is_lost_with_the_other_button_and_after_more_than_a_window():
    env = SampleEnv()
    for seed in range(3):
        env.reset(seed=seed, options={"task": "bell"})
        lit, over, step = None, False, 0
        while not over:
            if env._story.scene.glow:
                lit = step
            recalls = env._tick.role == "recall"
            _, _, over, _, info = env.step(scripted(env, swap=recalls))
            if recalls and lit is not None:
                assert step - lit > 32
                lit = None
            step += 1
        assert info["success"] is False


def test_doing_nothing_ends_no_task_but_the_bells():
    env = SampleEnv()
    assert play(env, "mine", 0, lambda _: action())[0] == {"success": False}
    assert play(env, "bell", 0, lambda _: action("forward"))[0]["success"] is False


def test_same_seed_gives_the_same_world_and_another_seed_another():
    def pictures(seed):
        env = SampleEnv()
        seen = [env.reset(seed=seed)[0]]
        seen += [env.step(action("forward", camera=(0.0, 1.6)))[0] for _ in range(12)]
        return np.stack([frame["image"] for frame in seen])

    first = pictures(5)
    assert first.shape == (13, 360, 640, 3)
    np.testing.assert_array_equal(first, pictures(5))
    assert (first != pictures(6)).mean() > 0.1


def test_mask_is_where_the_goal_is_and_the_type_is_the_policys():
    env = SampleEnv()
    env.reset(seed=1, options={"task": "mine"})
    for _ in range(12):
        observation = env.step(scripted(env))[0]
    assert observation["segment"]["obj_id"] == 2
    mask = observation["segment"]["obj_mask"]
    assert 0.001 < mask.mean() < 0.5
    env.reset(seed=1, options={"task": "bell"})
    types = {env.step(scripted(env))[0]["segment"]["obj_id"] for _ in range(40)}
    assert types == {-1, 3}


def test_unknown_task_is_refused_by_name():
    with pytest.raises(RocketError, match="task: got 'dance', expected one of bell, mine"):
        SampleEnv().reset(options={"task": "dance"})
