"""Who looks at the windows: the policy and objectives' teachers, each with its memories of this rank's lanes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from trainer.data.layout import Batch
from trainer.learning.objectives import Objective
from trainer.policy.memory import LaneMemory, Memory

POLICY = "policy"


class Players:
    """Shows windows to the players and keeps what each remembers, for training and validation apart."""

    def __init__(
        self, policy: nn.Module, objectives: Sequence[Objective], carries: bool, lanes: Callable[[], range]
    ) -> None:
        """Nobody remembers anything yet.

        Args:
            policy: the policy in training.
            objectives: their teachers play along.
            carries: whether memory goes on from window to window; otherwise every window is met without a past.
            lanes: gives this rank's global lanes, once there is a rank.
        """
        self._players: dict[str, nn.Module] = {POLICY: policy}
        for index, objective in enumerate(objectives):
            if objective.teacher is not None:
                self._players[teacher_name(index)] = objective.teacher
        self._carries, self._lanes = carries, lanes
        self._memories: dict[tuple[str, str], LaneMemory] = {}

    @property
    def names(self) -> list[str]:
        return list(self._players)

    def memory(self, stage: str, name: str = POLICY) -> LaneMemory:
        """What the player remembers of this rank's lanes in `train` or in `val`."""
        if (stage, name) not in self._memories:
            initial_state: Any = self._players[name].initial_state
            self._memories[stage, name] = LaneMemory(initial_state, self._lanes())
        return self._memories[stage, name]

    def see(self, stage: str, batch: Batch, name: str = POLICY) -> tuple[Any, list[tuple[LaneMemory, Memory]]]:
        """What the player says about the windows, and what is to be stored where once they count."""
        player = self._players[name]
        if not self._carries:
            return player(batch, None)[0], []
        memory = self.memory(stage, name)
        latents, after = player(batch, memory.fetch(batch["lane"], batch["first"]))
        return latents, [(memory, after)]

    def teachers_to(self, device: torch.device) -> None:
        """The teachers compute on this device; they are no part of the module that Lightning moves."""
        for name, player in self._players.items():
            if name != POLICY:
                player.to(device)


def teacher_name(index: int) -> str:
    """What the teacher of the objective at this place is called."""
    return f"teacher {index}"
