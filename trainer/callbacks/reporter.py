"""The run's figures for the loggers, its progress on the terminal, and its page while it runs."""

import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from typing_extensions import override

from shards.display.wording import duration
from trainer.callbacks.speed import SpeedMeter
from trainer.checkpoints.checkpoint import Position
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
    def setup(self, trainer: Trainer, pl_module: RocketModule, stage: str) -> None:
        """The rows are written here alone."""
        pl_module.logs_itself = False

    @override
    def on_train_batch_end(self, trainer: Trainer, pl_module: RocketModule, *args: Any, **kwargs: Any) -> None:
        step = trainer.global_step
        if step % pl_module.config.log_freq == 0 or step == trainer.max_steps:
            self._log(trainer, step, training_row(pl_module, trainer.current_epoch) | self.speed.figures)

    @override
    def on_validation_end(self, trainer: Trainer, pl_module: RocketModule) -> None:
        row: dict[str, float] = {f"val/{name}": value for name, value in pl_module.validation.items()}
        position = Position.after(max(trainer.global_step - 1, 0), trainer.datamodule.data.train.num_steps)  # type: ignore[attr-defined]
        self._log(trainer, trainer.global_step, {"epoch": position.epoch, **row})

    @override
    def on_exception(self, trainer: Trainer, pl_module: RocketModule, exception: BaseException) -> None:
        """Write down the step that was refused, too."""
        if isinstance(exception, LossStop) and pl_module.report is not None:
            self._log(trainer, trainer.global_step + 1, training_row(pl_module, trainer.current_epoch))

    def _log(self, trainer: Trainer, step: int, row: dict[str, float]) -> None:
        for logger in trainer.loggers:
            logger.log_metrics(row, step=step)


class LastValidation(Callback):
    """Every run ends with a validation, also where its last step is none that has one."""

    def __init__(self, total_steps: int) -> None:
        self.total_steps = total_steps

    @override
    def on_train_start(self, trainer: Trainer, pl_module: RocketModule) -> None:
        if trainer.global_step >= self.total_steps:
            trainer.should_stop = True  # only its last validation was left to do

    @override
    def on_train_batch_end(self, trainer: Trainer, pl_module: RocketModule, *args: Any, **kwargs: Any) -> None:
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


class PageWriter(Callback):
    """Has the run's page written again after each validation and each checkpoint, once for both."""

    def __init__(self, write: Callable[[], object]) -> None:
        self._write = write
        self.is_due = False

    @override
    def on_validation_end(self, trainer: Trainer, pl_module: RocketModule) -> None:
        self.is_due = True

    @override
    def on_train_batch_start(self, trainer: Trainer, pl_module: RocketModule, *args: Any, **kwargs: Any) -> None:
        if self.is_due and trainer.is_global_zero:
            self._write()
        self.is_due = False


class ProgressLine(Callback):
    """The run on standard error: a bar on a terminal, else a plain line now and then.

    A line stays for each validation and for whatever `note` is given, such as checkpoints.
    """

    def __init__(self, speed: SpeedMeter, total_steps: int) -> None:
        self.speed, self.total_steps = speed, total_steps
        self._bar: Progress | None = None
        self._tasks: dict[str, TaskID] = {}
        self._began, self._first_step, self._paused = 0.0, 0, 0.0
        self._pause_began = self._last_line = 0.0

    def note(self, text: str) -> None:
        """A line of its own, above the bar."""
        if self._bar is not None:
            self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            sys.stderr.write(f"{text}\n")
            sys.stderr.flush()

    @override
    def on_train_start(self, trainer: Trainer, pl_module: RocketModule) -> None:
        self._began, self._first_step = time.monotonic(), trainer.global_step
        if trainer.is_global_zero and sys.stderr.isatty():
            columns = (
                TextColumn("{task.fields[unit]} {task.completed:.0f}/{task.total:.0f}"),
                BarColumn(),
                TextColumn("{task.description}"),
            )
            self._bar = Progress(*columns, console=Console(stderr=True))
            self._bar.start()
            self._show("step", min(trainer.global_step, self.total_steps), self.total_steps)

    @override
    def on_train_batch_end(self, trainer: Trainer, pl_module: RocketModule, *args: Any, **kwargs: Any) -> None:
        step = min(trainer.global_step, self.total_steps)
        if trainer.is_global_zero:
            self._show(
                "step", step, self.total_steps, self._text(pl_module, step), at_once=step == self.total_steps
            )

    @override
    def on_validation_start(self, trainer: Trainer, pl_module: RocketModule) -> None:
        self._pause_began = self._last_line = time.monotonic()

    @override
    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: RocketModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if trainer.is_global_zero:
            self._show("validation", batch_idx + 1, sum(int(number) for number in trainer.num_val_batches))

    @override
    def on_validation_end(self, trainer: Trainer, pl_module: RocketModule) -> None:
        self._paused += time.monotonic() - self._pause_began
        if self._bar is not None and "validation" in self._tasks:
            self._bar.remove_task(self._tasks.pop("validation"))
        if trainer.is_global_zero and pl_module.validation:
            self.note(f"step {trainer.global_step}/{self.total_steps}  {validation_text(pl_module.validation)}")

    @override
    def on_train_end(self, trainer: Trainer, pl_module: RocketModule) -> None:
        self._stop()

    @override
    def on_exception(self, trainer: Trainer, pl_module: RocketModule, exception: BaseException) -> None:
        self._stop()

    def _stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _show(self, unit: str, done: int, total: int, text: str = "", at_once: bool = False) -> None:
        """Move the unit's bar, or write a line if it is time."""
        if self._bar is not None:
            if unit not in self._tasks:
                self._tasks[unit] = self._bar.add_task("", total=total, unit=unit)
            self._bar.update(self._tasks[unit], completed=done, description=text)
        elif at_once or time.monotonic() - self._last_line >= SECONDS_BETWEEN_LINES:
            self._last_line = time.monotonic()
            self.note(f"{unit} {done}/{total}  {text}".rstrip())

    def _text(self, pl_module: RocketModule, step: int) -> str:
        assert pl_module.report is not None
        parts = [f"loss {pl_module.report.losses['loss']:.4f}"]
        frames = self.speed.figures.get("speed/frames_per_second")
        if frames is not None:
            parts.append(f"{frames:,.0f} frames/s")
        done = step - self._first_step
        if done > 0:
            seconds = (time.monotonic() - self._began - self._paused) / done
            parts.append(f"{duration(max(seconds, 0) * max(self.total_steps - step, 0))} left")
        return "  ".join(parts)


def validation_text(figures: Mapping[str, float]) -> str:
    """A validation in one line: its loss, beside the best constant guess, with and without memory."""
    text = f"validation loss {figures['loss']:.4f}"
    guess = figures.get("loss_constant_guess")
    if guess is not None:
        text += f", best constant guess {guess:.4f}"
    if "loss_without_memory" in figures:
        text += (
            f"; in windows with a past {figures['loss_with_memory']:.4f} with memory, "
            f"{figures['loss_without_memory']:.4f} without"
        )
    if "play_success" in figures:
        text += f"; {figures['play_success']:.0%} of the played episodes won"
    return text
