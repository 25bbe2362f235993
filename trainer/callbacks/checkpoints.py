"""Checkpoints of a run: the last two whole ones to go on from, and all weights with their average.

Lightning's ModelCheckpoint keeps its list of files inside the checkpoints, and deletes by it what a resumed run
may need; it knows neither twins nor broken files. So this one looks at the folder instead.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from typing_extensions import override

from trainer.callbacks.ema import Ema
from trainer.checkpoints.checkpoint import (
    FORMAT,
    AtomicCheckpointIO,
    CheckpointError,
    full_checkpoints,
    full_path,
    weights_path,
)
from trainer.learning.guard import LossStop, RunInterrupted
from trainer.learning.module import RocketModule
from trainer.lightning_parts import validation_follows

NUM_FULL = 2
"""Full checkpoints that are kept: the last, and the one before in case the last turns out broken."""


class Checkpoints(Checkpoint):
    """Saves every n steps, at the end, before a stop that was asked for, and before a step that went wrong."""

    def __init__(
        self,
        run_dir: Path,
        every_n_steps: int,
        resume_hint: str,
        saved: Callable[[int, Path], object] = lambda _step, _path: None,
    ) -> None:
        """Save under `run_dir`.

        Args:
            run_dir: the run's folder.
            every_n_steps: optimizer steps between checkpoints.
            resume_hint: the command that goes on, for messages.
            saved: called with the step and the checkpoint's path, in the main process.
        """
        self.run_dir, self.every_n_steps, self.resume_hint = run_dir, every_n_steps, resume_hint
        self._saved = saved
        self.last_saved: Path | None = None
        self._last_step = -1
        self._due = False

    @override
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save if it is time; where a validation comes first, after it: a resumed run does not repeat it."""
        del outputs, batch, batch_idx
        assert isinstance(pl_module, RocketModule)
        assert pl_module.report is not None
        signal = pl_module.report.stop_signal
        if signal:
            self.save(trainer, pl_module)
            raise RunInterrupted(
                f"stopped after step {trainer.global_step} as asked; everything is in {self.last_saved}. "
                f"Go on with: {self.resume_hint}",
                signal,
            )
        if trainer.global_step % self.every_n_steps == 0:
            self._due = validation_follows(trainer)
            if not self._due:
                self.save(trainer, pl_module)

    @override
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._due:
            self.save(trainer, pl_module)

    @override
    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.global_step > 0:
            self.save(trainer, pl_module)

    @override
    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Save before a refused step: every rank refuses it alike, and nothing of it was kept.

        Any other exception may have hit one rank alone; the others could not take part in gathering a checkpoint.
        """
        if isinstance(exception, LossStop) and trainer.global_step > 0:
            self.save(trainer, pl_module)

    def save(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write this step's checkpoint and weights, unless they are there; every rank must call it."""
        assert isinstance(pl_module, RocketModule)
        self._due = False
        step = trainer.global_step
        if step == self._last_step:
            return
        try:
            self._write(trainer, pl_module, step)
        except OSError as error:
            raise CheckpointError(
                f"{self.run_dir}: no checkpoint could be written at step {step}: {error.strerror or error}, "
                f"{_free_gib(self.run_dir)} free. Make room, then: {self.resume_hint}"
            ) from error
        self._last_step = step
        self.last_saved = full_path(self.run_dir, step)
        if trainer.is_global_zero:
            for old in full_checkpoints(self.run_dir)[:-NUM_FULL]:
                old.unlink(missing_ok=True)
            self._saved(step, self.last_saved)

    def _write(self, trainer: Trainer, pl_module: RocketModule, step: int) -> None:
        counts = pl_module.gather_counts()
        if trainer.is_global_zero:
            policies = {False: pl_module.policy.state_dict()}
            ema = next((callback for callback in trainer.callbacks if isinstance(callback, Ema)), None)  # type: ignore[attr-defined]
            if ema is not None:
                policies[True] = ema.average.module.state_dict()
            for averaged, state in policies.items():
                content = {
                    "pytorch-lightning_version": lightning.__version__,
                    "epoch": trainer.current_epoch,
                    "global_step": step,
                    "hyper_parameters": pl_module.hyper_parameters(),
                    "state_dict": {f"policy.{name}": tensor for name, tensor in state.items()},
                    "rocket": {"format": FORMAT, "averaged": averaged, "counts": counts},
                }
                AtomicCheckpointIO().save_checkpoint(content, weights_path(self.run_dir, step, averaged))
        trainer.save_checkpoint(full_path(self.run_dir, step), weights_only=False)


def _free_gib(folder: Path) -> str:
    return f"{shutil.disk_usage(folder).free / 2**30:.1f} GiB"
