"""The adapter to MineStudio's simulator, on a stand-in with the signatures of minestudio 1.1.6."""

import inspect
import random
import sys
from types import ModuleType, SimpleNamespace
from typing import ClassVar

import gymnasium
import numpy as np
import pytest
import torch

from shards.action_space import ACTION_SPACE
from shards.errors import RocketError
from tests.trainer.policies import SIZE, tiny_policy
from trainer.play import minestudio
from trainer.play.minestudio import MineStudioEnv
from trainer.play.rollout import EpisodePlan, Rollout
from trainer.play.session import SHORT_NAMES

MINECRAFT_KEYS = {
    *("ESC", "attack", "back", "drop", "forward", "inventory", "jump", "left", "pickItem", "right", "sneak"),
    *("sprint", "swapHands", "use", "camera", "chat", *(f"hotbar.{slot}" for slot in range(1, 10))),
}
TASK = """
custom_init_commands: ["/give @s minecraft:iron_pickaxe"]
reward_cfg: [{event: mine_block, identity: dig, objects: [stone], reward: 1.0, max_reward_times: 1}]
segment: {type: mine, points: [[320, 180]], negative_points: [[10, 20]], sam_path: SAM, sam_choice: tiny}
"""
WIN_AT, END_AT = 33, 40


def picture(world, step):
    """What the game shows; its first pixel tells world and step."""
    image = np.full((360, 640, 3), step, np.uint8)
    image[0, 0] = world % 256, step, 0
    return image


class Game:
    """The MineRL environment inside the simulator."""

    def __init__(self):
        self.world, self.steps, self.actions, self.num_resets = None, 0, [], 0
        self.action_space = SimpleNamespace(no_op=lambda: dict.fromkeys(MINECRAFT_KEYS, 0))

    def seed(self, seed=None, seed_spaces=True):
        assert type(seed) is int
        self.world = seed

    def reset(self):
        self.steps, self.num_resets = 0, self.num_resets + 1

    def step(self, action):
        assert set(action) <= MINECRAFT_KEYS
        self.steps += 1
        self.actions.append(action)
        obs = {"pov": picture(self.world, self.steps), "is_gui_open": self.steps == 32}
        return obs, 0.0, self.steps == END_AT, {"mine_block": {"stone": float(self.steps >= WIN_AT)}}

    def close(self):
        self.closed = True


class MinecraftSim(gymnasium.Env):
    made: ClassVar = []

    def __init__(
        self,
        action_type="agent",
        obs_size=(224, 224),
        render_size=(640, 360),
        seed=0,
        inventory={},  # noqa: B006
        preferred_spawn_biome=None,
        num_empty_frames=20,
        callbacks=[],  # noqa: B006
        camera_config=None,
        **kwargs,
    ):
        assert not kwargs
        self.arguments = (action_type, obs_size, render_size, preferred_spawn_biome)
        self.callbacks, self.env, self.already_reset = callbacks, Game(), False
        self.made.append(self)

    def reset(self):
        print("a callback")
        self.already_reset = True
        self.env.reset()
        obs, _, _, info = self.env.step(self.noop_action())
        self.info = {**info, **obs, "drawn": random.random()}
        for callback in self.callbacks:
            callback.after_reset(self, obs, self.info)
        return {"image": obs["pov"]}, self.info

    def step(self, action):
        obs, reward, done, info = self.env.step(action.copy())
        self.info |= {**info, **obs}
        truncated = done
        for callback in self.callbacks:
            _, reward, done, truncated, _ = callback.after_step(self, obs, reward, done, truncated, self.info)
        return {"image": obs["pov"]}, reward, done, truncated, self.info

    def noop_action(self):
        return self.env.action_space.no_op()

    def close(self):
        return self.env.close()


class RewardsCallback:
    def __init__(self, reward_cfg):
        (self.wanted,) = reward_cfg

    def after_reset(self, sim, obs, info):
        self.before = 0.0

    def after_step(self, sim, obs, reward, terminated, truncated, info):
        count = info[self.wanted["event"]][self.wanted["objects"][0]]
        reward, self.before = self.wanted["reward"] * (count > self.before), count
        return obs, reward, terminated, truncated, info


class CommandsCallback:
    def __init__(self, commands):
        self.commands = commands

    def after_reset(self, sim, obs, info):
        sim.commands = self.commands

    def after_step(self, sim, obs, reward, terminated, truncated, info):
        return obs, reward, terminated, truncated, info


def load_callbacks_from_config(config):
    return [CommandsCallback(config["custom_init_commands"])]


class Predictor:
    """SAM-2's camera predictor; its mask of a frame is a row, the number of the frame's step."""

    made: ClassVar = []

    def __init__(self, config_file, ckpt_path):
        self.files, self.prompts = (config_file, ckpt_path), []
        self.made.append(self)

    def load_first_frame(self, img):
        self.shown = img

    def add_new_prompt(self, frame_idx, obj_id, points=None, labels=None, bbox=None, clear_old_points=True):
        self.prompts.append((frame_idx, obj_id, points, labels))
        return frame_idx, [obj_id], self._logits(self.shown)

    def track(self, img):
        return [0], self._logits(img)

    def _logits(self, image):
        logits = torch.full((1, 1, 360, 640), -1.0)
        logits[0, 0, int(image[0, 0, 1])] = 1.0
        return logits


def build_sam2_camera_predictor(config_file, ckpt_path):
    return Predictor(config_file, ckpt_path)


@pytest.mark.parametrize(
    ("standing_in", "real"),  # as written in minestudio 1.1.6
    [
        (
            MinecraftSim.__init__,
            """self action_type obs_size render_size seed inventory preferred_spawn_biome num_empty_frames
            callbacks camera_config kwargs""",
        ),
        (MinecraftSim.reset, "self"),
        (MinecraftSim.step, "self action"),
        (MinecraftSim.noop_action, "self"),
        (MinecraftSim.close, "self"),
        (Game.seed, "self seed seed_spaces"),
        (RewardsCallback.__init__, "self reward_cfg"),
        (RewardsCallback.after_reset, "self sim obs info"),
        (RewardsCallback.after_step, "self sim obs reward terminated truncated info"),
        (load_callbacks_from_config, "config"),
    ],
)
def test_stand_in_has_the_real_parameters(standing_in, real):
    assert list(inspect.signature(standing_in).parameters) == real.split()


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """The stand-in is imported in MineStudio's place; Java and the engine are there. The task's file."""
    parts = {
        "minestudio": {},
        "minestudio.simulator": {"MinecraftSim": MinecraftSim},
        "minestudio.simulator.callbacks": {
            "RewardsCallback": RewardsCallback,
            "load_callbacks_from_config": load_callbacks_from_config,
        },
        "minestudio.utils": {"get_mine_studio_dir": lambda: str(tmp_path)},
        "sam2": {},
        "sam2.build_sam": {"build_sam2_camera_predictor": build_sam2_camera_predictor},
    }
    for name, content in parts.items():
        module = ModuleType(name)
        module.__dict__.update(content)
        monkeypatch.setitem(sys.modules, name, module)
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], child, module)
    java = tmp_path / "bin" / "java"
    engine = tmp_path / "engine" / "build" / "libs" / "mcprec-6.13.jar"
    weights = tmp_path / "sam" / "sam2_hiera_tiny.pt"
    for path in (java, engine, weights):
        path.parent.mkdir(parents=True)
        path.touch(0o755)
    monkeypatch.setenv("PATH", str(java.parent))
    monkeypatch.setattr(minestudio, "_SETTLING_SECONDS", 0.0)
    monkeypatch.setattr(MinecraftSim, "made", [])
    monkeypatch.setattr(Predictor, "made", [])
    task = tmp_path / "dig.yaml"
    task.write_text(TASK.replace("SAM", str(weights.parent)))
    return task


def resting():
    return {**dict.fromkeys(ACTION_SPACE.policy_buttons, 0), "camera": np.zeros(2)}


def test_episode_is_segmented_from_its_prompt_and_ends_at_the_first_reward(installed, capsys):
    env = MineStudioEnv()
    observation, info = env.reset(seed=7, options={"task": str(installed)})
    (sim,), (predictor,) = MinecraftSim.made, Predictor.made
    assert sim.arguments == ("env", (640, 360), (640, 360), "plains")
    assert sim.commands == ["/give @s minecraft:iron_pickaxe"]
    assert predictor.files == ("sam2_hiera_t.yaml", str(installed.parent / "sam" / "sam2_hiera_tiny.pt"))
    assert predictor.prompts == [(0, 0, [[320, 180], [10, 20]], [1, 0])]
    assert capsys.readouterr().out == ""
    # One step of the simulator's own reset, then thirty without an action.
    np.testing.assert_array_equal(observation["image"], picture(7, 31))
    shown = [observation]
    while True:
        action = resting() | {"attack": 1, "camera": np.array([1.5, -10.0])}
        observation, reward, terminated, truncated, info = env.step(action)
        shown.append(observation)
        if terminated or truncated:
            break
    assert (len(shown), reward, terminated, truncated, info["success"]) == (3, 1.0, True, False, True)
    for step, seen in enumerate(shown, start=31):
        assert seen["segment"]["obj_id"] == 2
        assert np.flatnonzero(seen["segment"]["obj_mask"].any(axis=1)).tolist() == [step]
        assert env.observation_space.contains(seen)
    assert sim.env.actions[-1]["attack"] == 1
    assert sim.env.actions[-1]["camera"].tolist() == [1.5, -10.0]


def test_same_seed_is_the_same_world_and_leaves_pythons_generator_alone(installed):
    env = MineStudioEnv(str(installed))
    state = random.getstate()
    drawn = [env.reset(seed=seed)[1]["drawn"] for seed in (3, 4, 3)]
    assert drawn[0] == drawn[2] != drawn[1]
    assert random.getstate() == state
    (sim,), (_,) = MinecraftSim.made, Predictor.made  # neither is started a second time
    assert (sim.env.world, sim.env.num_resets) == (3, 3)


def test_policy_plays_through_gymnasium(installed):
    gymnasium.registry.pop(SHORT_NAMES["minestudio"], None)
    minestudio.register()
    plans = [EpisodePlan(str(installed), 1), EpisodePlan(str(installed), 2)]
    steps = list(
        Rollout(
            tiny_policy(),
            lambda: gymnasium.make(SHORT_NAMES["minestudio"], disable_env_checker=True),
            plans,
            num_lanes=2,
            frame_size=(SIZE, SIZE),
        )
    )
    assert [outcome.success for *_, outcome in steps if outcome is not None] == [True, True]
    assert [frame.gui for episode, frame, _ in steps if episode == 0] == [False, True]
    assert [sim.env.closed for sim in MinecraftSim.made] == [True, True]
    assert plans[0].name == "dig"


def test_task_without_a_goal_has_none_and_may_fail(installed, monkeypatch):
    monkeypatch.setitem(globals(), "WIN_AT", 1000)
    installed.write_text("\n".join(line for line in TASK.splitlines() if not line.startswith("segment")))
    env = MineStudioEnv(str(installed))
    observation, _ = env.reset(seed=0)
    assert observation["segment"]["obj_id"] == -1
    assert not observation["segment"]["obj_mask"].any()
    for _ in range(31, END_AT):
        *_, terminated, _, info = env.step(resting())
    assert terminated
    assert info["success"] is False


def test_what_is_missing_is_told_with_its_remedy(installed, monkeypatch):
    next(installed.parent.rglob("*.jar")).unlink()
    with pytest.raises(RocketError, match="mcprec-6.13.jar, expected the simulator's engine. Run: python -c"):
        MineStudioEnv()
    monkeypatch.setenv("PATH", "")
    with pytest.raises(RocketError, match="no java on PATH, expected a JDK 8.* Run: conda install"):
        MineStudioEnv()
    monkeypatch.setitem(sys.modules, "minestudio", None)
    monkeypatch.delitem(sys.modules, "minestudio.simulator.callbacks")
    with pytest.raises(RocketError, match="pip install --no-deps minestudio==1.1.6"):
        MineStudioEnv()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1", "no reward_cfg, so its success would never be told. Add MineStudio's reward_cfg"),
        (TASK.replace("mine,", "dig,"), "segment.type: Input should be 'hunt', 'mine'.*, got 'dig'"),
        (TASK.replace("SAM", "nowhere"), "nowhere/sam2_hiera_tiny.pt: no such file, expected SAM-2's weights"),
        ("[", "not a readable task"),
    ],
)
def test_task_that_is_none_is_refused(installed, text, message):
    installed.write_text(text)
    with pytest.raises(RocketError, match=message):
        MineStudioEnv(str(installed)).reset()


def test_task_must_be_named(installed):
    with pytest.raises(RocketError, match="no task was named, expected a YAML file. Give --tasks FILE.yaml"):
        MineStudioEnv().reset()
