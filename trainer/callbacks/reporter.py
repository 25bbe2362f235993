"""Hands the run's figures to the loggers, and one line a time to the terminal."""

from __future__ import annotations

import sys
import time
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from typing_extensions import override

from trainer.callbacks.speed import SpeedMeter
from trainer.learning.guard import LossStop
from trainer.learning.module import RocketModule

SECONDS_BETWEEN_LINES = 10.0
"""Where standard error is no terminal, a plain line about this often."""


class Reporter(Callback):
    """Writes rows: every `log_freq` steps what training does, after each validation what it found.

    A row's step is the number of optimizer steps done; rows of Lightning's LearningRateMonitor would be one off.
    """

    def __init__(self, speed: SpeedMeter) -> None:
        self.speed = speed

    @override
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        del outputs, batch, batch_idx
        assert isinstance(pl_module, RocketModule)
        step = trainer.global_step
        if step % pl_module.config.log_freq == 0 or step == trainer.max_steps:
            self._log(trainer, training_row(pl_module, trainer.current_epoch) | self.speed.figures)

    @override
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, RocketModule)
        row: dict[str, float] = {f"val/{name}": value for name, value in pl_module.validation.items()}
        self._log(trainer, {"epoch": trainer.current_epoch, **row})

    @override
    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Write down the step that was refused, too."""
        assert isinstance(pl_module, RocketModule)
        if isinstance(exception, LossStop) and pl_module.report is not None:
            row = training_row(pl_module, trainer.current_epoch)
            for logger in trainer.loggers:
                logger.log_metrics(row, step=trainer.global_step + 1)

    def _log(self, trainer: Trainer, row: dict[str, float]) -> None:
        for logger in trainer.loggers:
            logger.log_metrics(row, step=trainer.global_step)


class LastValidation(Callback):
    """Every run ends with a validation, also where its last step is none that has one."""

    def __init__(self, total_steps: int) -> None:
        self.total_steps = total_steps

    @override
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step == self.total_steps:
            trainer.should_stop = True  # Lightning validates before it stops


def training_row(pl_module: RocketModule, epoch: int) -> dict[str, float]:
    """The last step's figures under the names that metrics.csv has for them."""
    report = pl_module.report
    assert report is not None
    return {
        "epoch": epoch,
        **{f"train/{name}": value for name, value in report.losses.items()},
        "train/learning_rate": report.learning_rate,
        "train/gradient_norm": report.gradient_norm,
    }


class ProgressLine(Callback):
    """Loss, frames a second and time left on standard error: a bar on a terminal, else a line now and then."""

    def __init__(self, speed: SpeedMeter, total_steps: int) -> None:
        self.speed, self.total_steps = speed, total_steps
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._began, self._first_step = 0.0, 0
        self._last_line = 0.0

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._began, self._first_step = time.monotonic(), trainer.global_step
        if trainer.is_global_zero and sys.stderr.isatty():
            columns = (
                TextColumn("step {task.completed:.0f}/{task.total:.0f}"),
                BarColumn(),
                TextColumn("{task.description}"),
            )
            self._bar = Progress(*columns, console=Console(stderr=True))
            self._task = self._bar.add_task("", total=self.total_steps, completed=trainer.global_step)
            self._bar.start()

    @override
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        del outputs, batch, batch_idx
        assert isinstance(pl_module, RocketModule)
        if not trainer.is_global_zero:
            return
        step, now = trainer.global_step, time.monotonic()
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=step, description=self._text(pl_module, step, now))
        elif now - self._last_line >= SECONDS_BETWEEN_LINES or step == self.total_steps:
            self._last_line = now
            sys.stderr.write(f"step {step}/{self.total_steps}  {self._text(pl_module, step, now)}\n")
            sys.stderr.flush()

    @override
    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._stop()

    @override
    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._stop()

    def _stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _text(self, pl_module: RocketModule, step: int, now: float) -> str:
        assert pl_module.report is not None
        parts = [f"loss {pl_module.report.losses['loss']:.4f}"]
        frames = self.speed.figures.get("speed/frames_per_second")
        if frames is not None:
            parts.append(f"{frames:,.0f} frames/s")
        done = step - self._first_step
        if done:
            parts.append(f"{duration((now - self._began) / done * (self.total_steps - step))} left")
        return "  ".join(parts)


def duration(seconds: float) -> str:
    """Hours, minutes and seconds, as long as they matter."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours >= 48:
        return f"{hours // 24} d {hours % 24} h"
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
