"""The little game as a gymnasium environment: the world, tasks, pictures and controls of the sample recordings.

Observations and actions have MineStudio's names, so that a policy plays here as it plays in its simulator.
"""

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from PIL import Image

from pipeline.sample.action import Action
from pipeline.sample.barcode import MAX_FRAME, MAX_RECORDING, FrameMark
from pipeline.sample.player import Tick
from pipeline.sample.render import Renderer
from pipeline.sample.scene import VIEW_HEIGHT, VIEW_WIDTH
from pipeline.sample.story import TASKS, Story, StorySettings
from pipeline.sample.textures import THEMES
from pipeline.sources.masks import TYPE_OF_OBJECT_ID
from shards.action_space import ACTION_SPACE
from shards.errors import RocketError
from shards.interaction_types import NO_INTERACTION
from shards.recorder_lines import DEGREES_PER_PX

ENV_ID = "rocket1/Sample-v0"
ZOOM = 2
"""The game is drawn at half the size of the contractors' 640x360 px."""
MAX_STEPS = 300


def register() -> None:
    """`gymnasium.make(ENV_ID)` works; the package's entry point in the group "gymnasium.envs"."""
    if ENV_ID not in gymnasium.registry:
        gymnasium.register(ENV_ID, entry_point="pipeline.sample.env:SampleEnv", max_episode_steps=MAX_STEPS)


class SampleEnv(gymnasium.Env[dict[str, Any], dict[str, Any]]):
    """One task an episode. Terminated when it is over; `info["success"]` says whether it was done.

    Observation: `image`, u8 (360, 640, 3) RGB; `segment` with `obj_id`, the goal's interaction type (-1 for none),
    and `obj_mask`, u8 (360, 640), 1 where the goal is seen.
    Action: each of the policy's 20 buttons by name, 0 or 1, and `camera`, (2,) degrees [pitch, yaw].
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 20}  # noqa: RUF012 (gymnasium's own form)

    def __init__(self, task: str = "bell", render_mode: str | None = None) -> None:
        """Play one of `TASKS`, or another that `reset` names.

        Raises:
            RocketError: there is no such task.
        """
        self._default_task, self.render_mode = _known(task), render_mode
        height, width = VIEW_HEIGHT * ZOOM, VIEW_WIDTH * ZOOM
        self.observation_space = spaces.Dict(
            image=spaces.Box(0, 255, (height, width, 3), np.uint8),
            segment=spaces.Dict(
                obj_id=spaces.Discrete(8, start=NO_INTERACTION),
                obj_mask=spaces.Box(0, 1, (height, width), np.uint8),
            ),
        )
        actions: dict[str, spaces.Space[Any]] = {name: spaces.Discrete(2) for name in ACTION_SPACE.policy_buttons}
        self.action_space = spaces.Dict({**actions, "camera": spaces.Box(-180.0, 180.0, (2,), np.float64)})
        self._renderer = Renderer()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Begin a new world; the same seed gives the same one. `options["task"]` names the task."""
        super().reset(seed=seed)
        self.task = _known((options or {}).get("task", self._default_task))
        chosen = int(self.np_random.integers(2**31))
        theme = tuple(THEMES)[chosen % len(THEMES)]
        self._story = Story.begin(np.random.SeedSequence(chosen), theme, [MAX_FRAME], StorySettings())
        self._mark, self._num_steps = chosen % (MAX_RECORDING + 1), 0
        self._ticks = self._story.play(self.task)
        self._tick: Tick = next(self._ticks)
        return self._observation(), self._info()

    def step(self, action: dict[str, Any]) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """Take an action; the reward is 1 where it completes the task."""
        pitch, yaw = (round(float(degrees) / DEGREES_PER_PX) for degrees in np.asarray(action["camera"]).ravel())
        pressed = frozenset(name for name in ACTION_SPACE.policy_buttons if np.any(action.get(name, 0)))
        self._num_steps += 1
        success: bool | None = None
        try:
            self._tick = self._ticks.send(Action(pressed, dx=yaw, dy=pitch))
        except StopIteration as stop:
            success = stop.value
        info = self._info()
        if success is not None:
            info["success"] = success
        return self._observation(), float(success is True), success is not None, False, info

    def render(self) -> NDArray[np.uint8]:
        """The frame as it is observed, u8 (360, 640, 3)."""
        image: NDArray[np.uint8] = self._observation()["image"]
        return image

    def _observation(self) -> dict[str, Any]:
        goal = self._tick.candidates[0][0] if self._tick.candidates else None
        mark = FrameMark(self._mark, min(self._num_steps, MAX_FRAME))
        scene = self._story.scene
        pixels, masks = self._renderer.draw(scene, [goal.target] if goal is not None else [], mark)
        small = Image.frombytes("RGB", (VIEW_WIDTH, VIEW_HEIGHT), pixels.tobytes(), "raw", "RGBX")
        image = small.resize((VIEW_WIDTH * ZOOM, VIEW_HEIGHT * ZOOM), Image.Resampling.NEAREST)
        mask = masks[0].astype(np.uint8) if masks else np.zeros((VIEW_HEIGHT, VIEW_WIDTH), np.uint8)
        obj_id = NO_INTERACTION if goal is None else TYPE_OF_OBJECT_ID[goal.obj_id]
        large = mask.repeat(ZOOM, axis=1).repeat(ZOOM, axis=0)
        return {"image": np.array(image), "segment": {"obj_id": obj_id, "obj_mask": large}}

    def _info(self) -> dict[str, Any]:
        return {"task": self.task, "hotbar": self._story.scene.slot}


def _known(task: str) -> str:
    if task not in TASKS:
        raise RocketError(f"task: got {task!r}, expected one of {', '.join(TASKS)}.")
    return task
