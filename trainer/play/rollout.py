"""Episodes of a policy in environments, several side by side, each in a lane with a memory of its own."""

# L lanes at play, H rows, W columns
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from shards.action_space import ACTION_SPACE
from trainer.data.actions import to_env
from trainer.policy import RocketPolicy
from trainer.policy.memory import Memory


@dataclass(frozen=True)
class EpisodePlan:
    """An episode to be played; the environment makes the same world of the same plan."""

    task: str | None
    seed: int

    @property
    def name(self) -> str:
        """The task in a file's name: where the task is itself a file, its name without folder and ending."""
        return Path(self.task or "task").stem


@dataclass(frozen=True)
class PlaySettings:
    """How a checkpoint plays.

    Attributes:
        env: a short name or a gymnasium id.
        tasks: names that the environment knows, played in turn; empty: the environment's own task.
        memory: `carry` through an episode, or `reset` after as many frames as a training window has.
        sampled: draw actions from the policy's distribution instead of taking the likeliest.
    """

    env: str = "sample"
    tasks: Sequence[str] = ()
    num_episodes: int = 20
    num_lanes: int = 8
    seed: int = 0
    memory: Literal["carry", "reset"] = "carry"
    sampled: bool = False

    def plans(self) -> list[EpisodePlan]:
        """The episodes: tasks in turn, each with a seed of its own."""
        tasks: Sequence[str | None] = self.tasks or [None]
        return [EpisodePlan(tasks[i % len(tasks)], self.seed + i) for i in range(self.num_episodes)]


@dataclass(frozen=True)
class PlayedFrame:
    """One step: what was seen, what was done on seeing it, and how much the policy remembered.

    Attributes:
        image: u8 (H, W, 3) RGB, as the environment gave it.
        mask: u8 (H, W), 1 where the goal is seen.
        obj_id: the goal's interaction type, -1 for none.
        buttons: u8 (23,), columns as `ACTION_SPACE.buttons`.
        camera: f64 (2,), degrees [pitch, yaw].
        memory_age: frames that the policy has seen since its memory was last empty.
        gui: a menu is open, as far as the environment says.
    """

    image: NDArray[np.uint8]
    mask: NDArray[np.uint8]
    obj_id: int
    buttons: NDArray[np.uint8]
    camera: NDArray[np.float64]
    memory_age: int
    gui: bool


@dataclass
class Outcome:
    """How an episode ended; `success` is `info["success"]`, or a positive reward where that is not told."""

    plan: EpisodePlan
    success: bool = False
    num_steps: int = 0
    reward: float = 0.0


@dataclass
class _Lane:
    episode: int
    env: Any
    outcome: Outcome
    observation: dict[str, Any]
    info: dict[str, Any] = field(default_factory=dict)
    memory_age: int = 0


class Rollout:
    """Plays episodes; iterating yields their steps as they happen, lane by lane.

    A step is the number of its episode, its frame, and the episode's outcome if it was the last one.
    """

    def __init__(
        self,
        policy: RocketPolicy,
        make_env: Callable[[], Any],
        plans: Sequence[EpisodePlan],
        *,
        num_lanes: int,
        frame_size: tuple[int, int],
        forget_every: int | None = None,
        deterministic: bool = False,
    ) -> None:
        """Nothing has been played yet.

        Args:
            make_env: gives a new environment, one a lane.
            plans: the episodes; each goes to the first lane that is free.
            frame_size: (height, width) px that the policy was trained with; pictures are scaled to it.
            forget_every: frames after which a lane's memory is emptied; None: only where an episode starts.
            deterministic: take the likeliest actions instead of drawing them.
        """
        self._policy, self._make_env, self._plans = policy, make_env, list(plans)
        self._num_lanes, self._frame_size = min(num_lanes, len(plans)), frame_size
        self._forget_every, self._deterministic = forget_every, deterministic

    def __iter__(self) -> Iterator[tuple[int, PlayedFrame, Outcome | None]]:
        waiting = enumerate(self._plans)
        memory: Memory = self._policy.initial_state(self._num_lanes)
        lanes: list[_Lane | None] = [self._begin(self._make_env(), waiting) for _ in range(self._num_lanes)]
        try:
            while rows := [row for row, lane in enumerate(lanes) if lane is not None]:
                at_play = [lane for lane in lanes if lane is not None]
                actions = self._choose(at_play, memory, rows)
                for row, lane, (buttons, camera) in zip(rows, at_play, actions, strict=True):
                    frame = self._frame(lane, buttons, camera)
                    over = self._step(lane, buttons, camera)
                    yield lane.episode, frame, lane.outcome if over else None
                    if over:
                        lanes[row] = self._begin(lane.env, waiting)
        finally:
            for begun in lanes:
                if begun is not None:
                    begun.env.close()

    def _begin(self, env: Any, waiting: Iterator[tuple[int, EpisodePlan]]) -> _Lane | None:
        """A lane at the start of the next episode; None where there is none left."""
        upcoming = next(waiting, None)
        if upcoming is None:
            env.close()
            return None
        episode, plan = upcoming
        observation, info = env.reset(seed=plan.seed, options={"task": plan.task} if plan.task else None)
        return _Lane(episode, env, Outcome(plan), observation, info)

    def _choose(
        self, lanes: Sequence[_Lane], memory: Memory, rows: Sequence[int]
    ) -> list[tuple[NDArray[np.uint8], NDArray[np.float64]]]:
        """The action of each lane; what the lanes saw is in their rows of `memory`."""
        for lane in lanes:
            if self._forget_every is not None and lane.memory_age == self._forget_every:
                lane.memory_age = 0
        device = self._policy.device
        images, masks, types = zip(*(self._scaled(lane.observation) for lane in lanes), strict=True)
        seen = {
            "image": torch.from_numpy(np.stack(images))[:, None].to(device),
            "segment": {
                "obj_id": torch.tensor(types, device=device)[:, None],
                "obj_mask": torch.from_numpy(np.stack(masks))[:, None].to(device),
            },
        }
        first = torch.tensor([[lane.memory_age == 0] for lane in lanes], device=device)
        index = torch.tensor(rows, device=device)
        before = [tensor[index] for tensor in memory]
        chosen, after = self._policy.get_action(seen, before, deterministic=self._deterministic, first=first)
        for tensor, new in zip(memory, after, strict=True):
            tensor[index] = new
        return list(
            zip(*to_env(*(chosen[name].flatten().cpu().numpy() for name in ("buttons", "camera"))), strict=True)
        )

    def _scaled(self, observation: dict[str, Any]) -> tuple[NDArray[np.uint8], NDArray[np.uint8], int]:
        """Picture, mask and type of an observation, scaled as recordings are: by area, masks by nearest pixel."""
        image, segment = observation["image"], observation["segment"]
        height, width = self._frame_size
        mask = np.asarray(segment["obj_mask"])
        if image.shape[:2] != self._frame_size:
            image = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BOX))
        if mask.shape != self._frame_size:
            rows = np.arange(height) * mask.shape[0] // height
            mask = mask[rows[:, None], np.arange(width) * mask.shape[1] // width]
        return image, mask, int(segment["obj_id"])

    def _frame(self, lane: _Lane, buttons: NDArray[np.uint8], camera: NDArray[np.float64]) -> PlayedFrame:
        seen, segment = lane.observation, lane.observation["segment"]
        gui = bool(lane.info.get("isGuiOpen", False))
        return PlayedFrame(
            seen["image"], segment["obj_mask"], int(segment["obj_id"]), buttons, camera, lane.memory_age, gui
        )

    def _step(self, lane: _Lane, buttons: NDArray[np.uint8], camera: NDArray[np.float64]) -> bool:
        """The environment has taken the action; whether the episode is over."""
        pressed = zip(ACTION_SPACE.policy_buttons, buttons.tolist(), strict=False)  # the policy's come first
        lane.observation, reward, terminated, truncated, lane.info = lane.env.step(
            {**dict(pressed), "camera": camera}
        )
        lane.memory_age += 1
        outcome = lane.outcome
        outcome.num_steps += 1
        outcome.reward += float(reward)
        if terminated or truncated:
            outcome.success = bool(lane.info.get("success", outcome.reward > 0))
        return bool(terminated or truncated)
