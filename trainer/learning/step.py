"""What one training step reports and leaves behind, and its random seed."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from trainer.collectives import gather_rows, mean_over_ranks, num_ranks
from trainer.data.layout import Batch
from trainer.learning.objectives import Scale
from trainer.policy.memory import LaneMemory, Memory


@dataclass(frozen=True)
class StepReport:
    """What the last training step came to, over all ranks."""

    losses: dict[str, float]
    """`loss` and its parts."""
    gradient_norm: float
    learning_rate: float
    num_frames: float
    """Frames that counted, of all ranks."""
    stop_signal: int
    """Number of the signal that some rank received, 0 for none."""


@dataclass
class UnfinishedStep:
    """What a training step has computed and keeps until the optimizer has stepped."""

    batch: Batch
    scale: Scale
    memories: list[tuple[LaneMemory, Tensor, Memory]] = field(default_factory=list)
    """Each memory with lanes and what they are to remember."""
    figures: dict[str, Tensor] = field(default_factory=dict)
    """Scalars, summed over the micro-batches."""
    lane_losses: list[Tensor] = field(default_factory=list)
    """Of each micro-batch, one loss a lane."""
    lane_gradients: list[Tensor] = field(default_factory=list)
    """Of each micro-batch, the largest gradient a lane of what its frames became before the recurrent part."""
    lanes_to_reset: list[int] | None = None
    """Set where the step is skipped: the global lanes whose memory is emptied."""

    def add(self, figures: Mapping[str, Tensor], by_frame_BT: Tensor) -> None:
        """A micro-batch is added: its figures, and its loss of each frame."""
        for name, value in figures.items():
            self.figures[name] = self.figures[name] + value if name in self.figures else value
        self.lane_losses.append(by_frame_BT.sum(1))

    def watch_gradients(self, _module: nn.Module, arguments: tuple[Any, ...]) -> None:
        """Note each lane's largest gradient, for the case that gradients alone are bad; a forward hook."""
        features_BTD: Tensor = arguments[0]
        if features_BTD.requires_grad:
            features_BTD.register_hook(  # type: ignore[no-untyped-call]
                lambda gradient_BTD: self.lane_gradients.append(gradient_BTD.detach().float().abs().amax((1, 2)))
            )

    def report(
        self, norm: Tensor, learning_rate: float, requested_signal: int, device: torch.device
    ) -> StepReport:
        """The step's figures over all ranks, each of which must call it.

        It is the one wait for the device in a step, where its result still decides something.
        """
        signal = torch.tensor([requested_signal, requested_signal > 0], device=device).float()
        found = {**self.figures, "num_frames": self.scale.num_frames, "signals": signal[0], "signalled": signal[1]}
        means = mean_over_ranks(torch.stack([value.float() for value in found.values()]), device)
        *values, gradient_norm = torch.cat([means, norm.detach().float()[None]]).tolist()
        losses = dict(zip(found, values, strict=True))
        frames, signals, signalled = (losses.pop(name) for name in ("num_frames", "signals", "signalled"))
        stop_signal = round(signals / signalled) if signalled else 0  # ranks get the same one, or some get none
        return StepReport(losses, gradient_norm, learning_rate, frames * num_ranks(), stop_signal)

    def worst_lane(self, gradient_norm: float, device: torch.device) -> tuple[float, list[int], list[int]]:
        """The lane at fault, of all ranks' lanes; every rank must call it.

        Returns:
            The sum of its losses, or the largest of its gradients where only those are bad; its number, episode,
            first frame and the one past its last; and all lanes that are as bad.
        """
        losses = torch.cat(self.lane_losses)
        gradients = torch.cat(self.lane_gradients) if self.lane_gradients else torch.zeros_like(losses)
        facts = [self.batch[name] for name in ("lane", "episode", "start_frame", "stop_frame")]
        columns = [column.double() for column in (losses, gradients, *facts)]
        rows = gather_rows(torch.stack(columns, dim=1), device).cpu()
        only_gradients = bool(rows[:, 0].isfinite().all()) and not math.isfinite(gradient_norm)
        size = rows[:, int(only_gradients)]
        worst = int(size.nan_to_num(nan=torch.inf).argmax())
        bad = ~size.isfinite()
        bad[worst] = True
        return float(size[worst]), [int(fact) for fact in rows[worst, 2:]], [int(lane) for lane in rows[bad, 2]]

    def remember(self) -> None:
        """The lanes remember their windows from now on; where the step is skipped, those at fault forget all."""
        for memory, lane, after in self.memories:
            memory.store(lane, after)
            if self.lanes_to_reset is not None:
                memory.empty(self.lanes_to_reset)


def step_seed(seed: int, step: int, micro_batch: int) -> int:
    """A seed that differs for each (seed, step, micro-batch of the global batch): splitmix64 over the three."""
    state = 0
    for value in (seed, step, micro_batch):
        state = (state + value + 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
        state ^= state >> 31
    return state & 0x7FFFFFFFFFFFFFFF
