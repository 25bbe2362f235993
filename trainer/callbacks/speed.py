"""How fast a run is, and what share of the time it waits for data."""

import time
from typing import Any

import torch
from lightning.fabric.utilities.throughput import get_available_flops
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback
from typing_extensions import override

from trainer.learning.module import RocketModule

BACKWARD_SHARE = 3
"""Training costs three times the forward pass: its backward pass computes two products for each one."""


class SpeedMeter(Callback):
    """Frames and windows a second of all ranks, share of time waiting for data, model FLOPs use.

    Validation is left out; saving is not. The step ends in a wait for the device, so wall time is device time.
    Lightning's ThroughputMonitor knows neither padding nor waiting, and counts validation in.
    """

    def __init__(self, flops_per_frame: float | None = None) -> None:
        """Measure; without the `flops_per_frame` of the policy's forward pass, no FLOPs use."""
        self.flops_per_frame = flops_per_frame
        self.figures: dict[str, float] = {}
        self._frames = self._windows = 0.0
        self._began = self._waited_before = self._paused = 0.0
        self._pause_began = 0.0
        self._available: float | None = None

    @override
    def on_train_start(self, trainer: Trainer, pl_module: RocketModule) -> None:
        self._available = available_flops(pl_module.device, str(trainer.precision))
        self._restart(trainer)

    @override
    def on_validation_start(self, trainer: Trainer, pl_module: RocketModule) -> None:
        self._pause_began = time.perf_counter()

    @override
    def on_validation_end(self, trainer: Trainer, pl_module: RocketModule) -> None:
        self._paused += time.perf_counter() - self._pause_began

    @override
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: RocketModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        assert pl_module.report is not None
        self._frames += pl_module.report.num_frames
        self._windows += float((batch["host"]["num_frames"] > 0).sum()) * trainer.world_size
        if trainer.global_step % pl_module.config.log_freq == 0:
            self._measure(trainer)
            if pl_module.logs_itself:
                pl_module.log_dict(self.figures)

    def _measure(self, trainer: Trainer) -> None:
        seconds = max(time.perf_counter() - self._began - self._paused, 1e-9)
        frames_per_second = self._frames / seconds
        self.figures = {
            "speed/frames_per_second": frames_per_second,
            "speed/windows_per_second": self._windows / seconds,
            "speed/data_wait_share": min((_seconds_waited(trainer) - self._waited_before) / seconds, 1.0),
        }
        if self.flops_per_frame is not None and self._available is not None:
            done = self.flops_per_frame * BACKWARD_SHARE * frames_per_second
            self.figures["speed/model_flops_use"] = done / (self._available * trainer.world_size)
        self._restart(trainer)

    def _restart(self, trainer: Trainer) -> None:
        self._frames = self._windows = self._paused = 0.0
        self._began, self._waited_before = time.perf_counter(), _seconds_waited(trainer)


def _seconds_waited(trainer: Trainer) -> float:
    return float(trainer.datamodule.train_dataloader().seconds_waited)  # type: ignore[attr-defined]


def available_flops(device: torch.device, precision: str) -> float | None:
    """FLOPs a second that the device can do densely in this precision; None where nobody knows, as for CPUs."""
    if device.type != "cuda":
        return None
    dtype = torch.bfloat16 if precision.startswith("bf16") else torch.float32
    known = get_available_flops(device, dtype)
    if known is None:
        return None
    # Lightning's table has Hopper's figures with 2:4 sparsity, which training does not use.
    is_hopper = torch.cuda.get_device_capability(device)[0] == 9
    return known / 2 if is_hopper and dtype == torch.bfloat16 else float(known)
