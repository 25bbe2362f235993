"""The policy in training and the objectives' teachers, each with its own memory of this rank's lanes."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from trainer.data.layout import Batch
from trainer.learning.objectives import Objective
from trainer.policy.memory import LaneMemory, Memory

POLICY = "policy"


class PolicyAndTeachers:
    """Runs the policy and its teachers, and keeps their memories, those of training and validation apart."""

    def __init__(
        self,
        policy: nn.Module,
        objectives: Sequence[Objective],
        carries: Callable[[], bool],
        lanes: Callable[[str], range],
    ) -> None:
        """Start with empty memories of the lanes that this rank has in a stage, once there is a rank."""
        self._modules: dict[str, nn.Module] = {POLICY: policy}
        for index, objective in enumerate(objectives):
            if objective.teacher is not None:
                self._modules[teacher_name(index)] = objective.teacher
        self._carries, self._lanes = carries, lanes
        self._memories: dict[tuple[str, str], LaneMemory] = {}

    def memory(self, stage: str, name: str = POLICY) -> LaneMemory:
        """What the policy or teacher remembers of this rank's lanes in `train` or in `val`."""
        if (stage, name) not in self._memories:
            initial_state: Any = self._modules[name].initial_state
            self._memories[stage, name] = LaneMemory(initial_state, self._lanes(stage))
        return self._memories[stage, name]

    def forward_with_memory(
        self, stage: str, batch: Batch, name: str = POLICY
    ) -> tuple[Any, list[tuple[LaneMemory, Memory]]]:
        """The latents of the windows, and pairs (memory, its content after them) to store once they count."""
        module = self._modules[name]
        if not self._carries():
            return module(batch, None)[0], []
        memory = self.memory(stage, name)
        latents, after = module(batch, memory.fetch(batch["lane"], batch["first"]))
        return latents, [(memory, after)]

    def teachers_to(self, device: torch.device) -> None:
        """The teachers compute on this device; they are no part of the module that Lightning moves."""
        for name, module in self._modules.items():
            if name != POLICY:
                module.to(device)

    def gather_memories(self) -> dict[str, Any]:
        """The training memories of all ranks' lanes by name; every rank must call it."""
        return {name: self.memory("train", name).gather() for name in self._modules}

    def load_memories(self, saved: dict[str, Any]) -> None:
        """This rank's lanes take their memories from those of all; a new teacher starts with empty ones."""
        for name in self._modules:
            if name in saved:
                self.memory("train", name).load_state_dict(saved[name])


def teacher_name(index: int) -> str:
    """The name of the teacher of the objective at this place."""
    return f"teacher {index}"
