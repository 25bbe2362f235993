"""MineStudio's simulator as a gymnasium environment; its goal is segmented as ROCKET-1's evaluation does it.

A task is a YAML file: MineStudio's own keys for its callbacks (`custom_init_commands`, `spawn_positions`,
`summon_mobs`, ...), its `reward_cfg`, whose first reward is the success, and `segment`, the goal:

    segment: {type: mine, points: [[320, 180]], sam_path: models/sam2, sam_choice: base}

Points are (x, y) px on the first 640x360 frame; SAM-2 follows the object from there. Nothing of ours imports this
module: it is found by its entry point. Source: minestudio 1.1.6, simulator/entry.py, simulator/callbacks/ and
tutorials/inference/evaluate_rocket/utils.py.
"""

import contextlib
import importlib
import random
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import gymnasium
import numpy as np
import yaml  # type: ignore[import-untyped]
from gymnasium import spaces
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from shards.action_space import ACTION_SPACE
from shards.errors import RocketError
from shards.interaction_types import INTERACTION_TYPES, NO_INTERACTION

ENV_ID = "rocket1/MineStudio-v0"
MAX_STEPS = 600
WIDTH, HEIGHT = 640, 360
_SPAWN_BIOME = "plains"
_NUM_SETTLING_STEPS, _SETTLING_SECONDS = 30, 0.1
"""Steps without an action after a reset, and the pause before each, until the world around is loaded."""
_ENGINE = Path("engine", "build", "libs", "mcprec-6.13.jar")
_IMPORTED = (
    "opencv-python-headless gym gym3 absl-py coloredlogs daemoniker diskcache imageio lxml minecraft_data==3.20.0 "
    "psutil Pyro4 xmltodict"
)
"""What its simulator imports, beyond what rocket1 has."""
_SAM_MODELS = {
    "large": ("sam2_hiera_l.yaml", "sam2_hiera_large.pt"),
    "base": ("sam2_hiera_b+.yaml", "sam2_hiera_base_plus.pt"),
    "small": ("sam2_hiera_s.yaml", "sam2_hiera_small.pt"),
    "tiny": ("sam2_hiera_t.yaml", "sam2_hiera_tiny.pt"),
}
_TYPE_IDS = {kind.name: kind.id for kind in INTERACTION_TYPES}


def register() -> None:
    """`gymnasium.make(ENV_ID)` works; the package's entry point in the group "gymnasium.envs"."""
    if ENV_ID not in gymnasium.registry:
        gymnasium.register(
            ENV_ID, entry_point="trainer.play.minestudio:MineStudioEnv", max_episode_steps=MAX_STEPS
        )


class Prompt(BaseModel):
    """What to do with which object of the first frame; points are (x, y) px."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    type: Literal["hunt", "mine", "interact", "craft", "switch", "approach"]
    points: tuple[tuple[int, int], ...]
    negative_points: tuple[tuple[int, int], ...] = ()
    sam_path: str
    sam_choice: Literal["large", "base", "small", "tiny"] = "base"


class MineStudioEnv(gymnasium.Env[dict[str, Any], dict[str, Any]]):
    """One task an episode. Terminated at its first reward, which is its success, or when the game ends.

    Observation: `image`, u8 (360, 640, 3) RGB; `segment` with `obj_id`, the goal's interaction type (-1 without a
    goal), and `obj_mask`, u8 (360, 640), 1 where the goal is seen.
    Action: each of the policy's 20 buttons by name, 0 or 1, and `camera`, (2,) degrees [pitch, yaw].
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 20}  # noqa: RUF012 (gymnasium's own form)

    def __init__(self, task: str | None = None, render_mode: str | None = None) -> None:
        """Nothing is started before the first `reset`, which may name another task.

        Raises:
            RocketError: MineStudio, Java or the simulator's engine is missing.
        """
        _check_installed()
        self._default_task, self.render_mode = task, render_mode
        self.observation_space = spaces.Dict(
            image=spaces.Box(0, 255, (HEIGHT, WIDTH, 3), np.uint8),
            segment=spaces.Dict(
                obj_id=spaces.Discrete(8, start=NO_INTERACTION),
                obj_mask=spaces.Box(0, 1, (HEIGHT, WIDTH), np.uint8),
            ),
        )
        actions: dict[str, spaces.Space[Any]] = {name: spaces.Discrete(2) for name in ACTION_SPACE.policy_buttons}
        self.action_space = spaces.Dict({**actions, "camera": spaces.Box(-180.0, 180.0, (2,), np.float64)})
        self._sim: Any = None
        self._tracker: _Tracker | None = None
        self._image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Begin the task in the world of this seed. `options["task"]` names the task's file.

        Raises:
            RocketError: there is no such file, or it holds no task.
        """
        super().reset(seed=seed)
        content, prompt = _read_task((options or {}).get("task", self._default_task))
        world = int(self.np_random.integers(2**31)) if seed is None else seed
        with _quiet(), _seeded(world):
            self._start(world, content)
            _, info = self._sim.reset()
            for _ in range(_NUM_SETTLING_STEPS):
                time.sleep(_SETTLING_SECONDS)
                *_, info = self._sim.step(self._sim.noop_action())
            self._tracker = None if prompt is None else _Tracker(prompt, self._tracker)
        return self._observation(info, first=True), _gui_told(info)

    def step(self, action: dict[str, Any]) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """Take an action."""
        taken: dict[str, Any] = {name: int(np.any(action.get(name, 0))) for name in ACTION_SPACE.policy_buttons}
        taken["camera"] = np.asarray(action["camera"], np.float32).reshape(2)
        with _quiet():
            _, reward, terminated, truncated, info = self._sim.step(taken)
        success = float(reward) > 0
        told = _gui_told(info)
        if success or terminated or truncated:
            told["success"] = success
        over = success or bool(terminated)
        return self._observation(info, first=False), float(reward), over, bool(truncated) and not over, told

    def render(self) -> NDArray[np.uint8]:
        """The frame as it is observed, u8 (360, 640, 3)."""
        return self._image

    def close(self) -> None:
        """The game has ended."""
        if self._sim is not None:
            with _quiet():
                self._sim.close()
            self._sim = None

    def _start(self, world: int, content: dict[str, Any]) -> None:
        """The simulator runs, with the task's callbacks; its next reset makes this world."""
        from minestudio.simulator import MinecraftSim
        from minestudio.simulator.callbacks import RewardsCallback, load_callbacks_from_config

        callbacks = [*load_callbacks_from_config(content), RewardsCallback(content["reward_cfg"])]
        if self._sim is None:
            self._sim = MinecraftSim(
                action_type="env",
                obs_size=(WIDTH, HEIGHT),
                render_size=(WIDTH, HEIGHT),
                seed=world,
                preferred_spawn_biome=_SPAWN_BIOME,
                callbacks=callbacks,
            )
        self._sim.callbacks = callbacks
        self._sim.env.seed(world)
        self._sim.np_random = np.random.default_rng(world)
        self._sim.already_reset = False  # or a fast reset goes on in the world of the episode before

    def _observation(self, info: dict[str, Any], first: bool) -> dict[str, Any]:
        self._image = np.ascontiguousarray(info["pov"])
        obj_id, mask = NO_INTERACTION, np.zeros((HEIGHT, WIDTH), np.uint8)
        if self._tracker is not None:
            obj_id, mask = self._tracker.obj_id, self._tracker.mask(self._image, first)
        return {"image": self._image, "segment": {"obj_id": obj_id, "obj_mask": mask}}


class _Tracker:
    """SAM-2 following the object that a prompt points at."""

    def __init__(self, prompt: Prompt, before: "_Tracker | None") -> None:
        """Load the prompt's model, or take the one that was loaded before."""
        self._prompt, self.obj_id = prompt, _TYPE_IDS[prompt.type]
        self._model = (prompt.sam_path, prompt.sam_choice)
        self._predictor: Any
        if before is not None and before._model == self._model:
            self._predictor = before._predictor
            return
        try:
            from sam2.build_sam import build_sam2_camera_predictor
        except ImportError as error:
            raise RocketError(
                f"minestudio: a task's goal is followed with SAM-2's camera predictor, which cannot be imported "
                f"({error}). Run: pip install git+https://github.com/Gy920/segment-anything-2-real-time"
            ) from error
        settings, weights = _SAM_MODELS[prompt.sam_choice]
        path = Path(prompt.sam_path, weights)
        if not path.is_file():
            raise RocketError(f"{path}: no such file, expected SAM-2's weights. Set segment.sam_path in the task.")
        self._predictor = build_sam2_camera_predictor(settings, str(path))

    def mask(self, image: NDArray[np.uint8], first: bool) -> NDArray[np.uint8]:
        """The object in the next frame, u8 (H, W); in the `first` it is where the points are."""
        if first:
            positive, negative = self._prompt.points, self._prompt.negative_points
            self._predictor.load_first_frame(image)
            *_, logits = self._predictor.add_new_prompt(
                frame_idx=0,
                obj_id=0,
                points=[list(point) for point in (*positive, *negative)],
                labels=[1] * len(positive) + [0] * len(negative),
            )
        else:
            *_, logits = self._predictor.track(image)
        found: NDArray[np.uint8] = (logits[0, 0] > 0.0).cpu().numpy().astype(np.uint8)
        return found


def _check_installed() -> None:
    """Raises RocketError where the simulator could not start; it would ask on the terminal, or exit."""
    try:
        importlib.import_module("minestudio.simulator.callbacks")
        from minestudio.utils import get_mine_studio_dir
    except ImportError as error:
        raise RocketError(
            f"minestudio: its simulator cannot be imported ({error}), expected minestudio 1.1.6. It pins an older "
            "PyAV than rocket1 needs, so leave its pins out. Run: pip install --no-deps minestudio==1.1.6 "
            f"&& pip install {_IMPORTED}"
        ) from error
    if shutil.which("java") is None:
        raise RocketError(
            "minestudio: no java on PATH, expected a JDK 8, which the simulator runs on. "
            "Run: conda install --channel conda-forge openjdk=8"
        )
    engine = Path(get_mine_studio_dir()) / _ENGINE
    if not engine.is_file():
        raise RocketError(
            f"minestudio: no {engine}, expected the simulator's engine. "
            'Run: python -c "from minestudio.simulator.entry import check_engine; check_engine(True)"'
        )


def _read_task(name: str | None) -> tuple[dict[str, Any], Prompt | None]:
    """What the file of a task says, without its goal; and its goal."""
    if name is None:
        raise RocketError("minestudio: no task was named, expected a YAML file. Give --tasks FILE.yaml.")
    try:
        content = yaml.safe_load(Path(name).read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise RocketError(f"{name}: not a readable task ({error}), expected a YAML file.") from error
    if not isinstance(content, dict) or not content.get("reward_cfg"):
        raise RocketError(
            f"{name}: no reward_cfg, so its success would never be told. Add MineStudio's reward_cfg."
        )
    segment = content.pop("segment", None)
    try:
        return content, None if segment is None else Prompt.model_validate(segment)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in ("segment", *first["loc"]))
        raise RocketError(f"{name}: {where}: {first['msg']}, got {first['input']!r}.") from error


def _gui_told(info: dict[str, Any]) -> dict[str, Any]:
    return {**info, "isGuiOpen": bool(np.any(info.get("is_gui_open", False)))}


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """What the simulator prints goes to stderr: stdout is for results."""
    with contextlib.redirect_stdout(sys.stderr):
        yield


@contextlib.contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Python's own generator, from which MineStudio's callbacks draw, is seeded; outside it goes on as before."""
    state = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(state)
