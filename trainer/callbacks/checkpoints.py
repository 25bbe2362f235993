"""Checkpoints of a run: the last two full ones to continue from, and all weights with their average.

Lightning's ModelCheckpoint keeps its list of files inside the checkpoints, and deletes by it what a resumed run
may need; it knows neither averages beside weights nor broken files. So this one looks at the folder instead.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Checkpoint
from typing_extensions import override

from shards.errors import RocketError
from trainer.callbacks.ema import Ema
from trainer.checkpoints.checkpoint import full_checkpoints, full_path, weights_path, write_weights
from trainer.collectives import sum_over_ranks
from trainer.learning.guard import LossStop, RunInterrupted
from trainer.learning.module import RocketModule
from trainer.lightning_parts import validate_now, validation_follows

NUM_FULL = 2
"""Full checkpoints that are kept: the last, and the one before in case the last turns out broken."""


class Checkpoints(Checkpoint):
    """Saves every n steps, before a validation, at the end, and before a stop that is asked for or a bad step.

    A checkpoint before a validation says so, and a run that continues from it validates first. So the run can stop
    at any time of a validation without losing it.
    """

    def __init__(
        self,
        run_dir: Path,
        every_n_steps: int,
        resume_hint: str,
        saved: Callable[[int, Path], object] = lambda _step, _path: None,
    ) -> None:
        """Save under `run_dir`.

        Args:
            resume_hint: the command that continues the run, for messages.
            saved: called with the step and the checkpoint's path, once a step, in the main process.
        """
        self.run_dir, self.every_n_steps, self.resume_hint = run_dir, every_n_steps, resume_hint
        self._when_saved = saved
        self.last_saved: Path | None = None
        self._saved: tuple[int, bool] | None = None
        self._weights_step = -1

    @override
    def on_train_start(self, trainer: Trainer, pl_module: RocketModule) -> None:
        """Do the validation before which the run was stopped."""
        if pl_module.validation_due:
            validate_now(trainer)

    @override
    def on_train_batch_end(self, trainer: Trainer, pl_module: RocketModule, *args: Any, **kwargs: Any) -> None:
        """Save if it is time; stop if some rank got a signal.

        Raises:
            RunInterrupted: some rank got a signal.
        """
        assert pl_module.report is not None
        signal = pl_module.report.stop_signal
        pl_module.validation_due = validation_follows(trainer)
        regular = trainer.global_step % self.every_n_steps == 0
        if regular or signal or pl_module.validation_due:
            self.save(trainer, pl_module, weights=bool(regular or signal))
        if signal:
            self._interrupt(trainer, signal)

    @override
    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: RocketModule, *args: Any, **kwargs: Any
    ) -> None:
        """Stop in the middle of a validation if some rank got a signal; its checkpoint is there.

        Raises:
            RunInterrupted: some rank did.
        """
        signal = pl_module.requested_signal
        signals = torch.tensor([signal, int(signal > 0)])
        total, count = sum_over_ranks(signals, pl_module.device).tolist()
        if count:
            self._interrupt(trainer, round(total / count))

    @override
    def on_validation_end(self, trainer: Trainer, pl_module: RocketModule) -> None:
        pl_module.validation_due = False

    @override
    def on_train_end(self, trainer: Trainer, pl_module: RocketModule) -> None:
        if trainer.global_step > 0:
            self.save(trainer, pl_module)

    @override
    def on_exception(self, trainer: Trainer, pl_module: RocketModule, exception: BaseException) -> None:
        """Save before a refused step: every rank refuses it alike, and nothing of it was kept.

        Any other exception may have hit one rank alone; the others could not take part in gathering a checkpoint.
        """
        if isinstance(exception, LossStop) and trainer.global_step > 0:
            self.save(trainer, pl_module)

    def save(self, trainer: Trainer, pl_module: RocketModule, weights: bool = True) -> None:
        """Write this step's checkpoint, and its weights if asked for, unless it has; all ranks must call it.

        Raises:
            RocketError: the files cannot be written.
        """
        step = trainer.global_step
        try:
            if weights and step != self._weights_step:
                self._write_weights(trainer, pl_module, step)
                self._weights_step = step
            if self._saved != (step, pl_module.validation_due):
                trainer.save_checkpoint(full_path(self.run_dir, step), weights_only=False)
                self._saved = (step, pl_module.validation_due)
        except OSError as error:
            raise RocketError(
                f"{self.run_dir}: no checkpoint could be written at step {step}: {error.strerror or error}. "
                f"Check the folder, then: {self.resume_hint}"
            ) from error
        path = full_path(self.run_dir, step)
        is_new, self.last_saved = path != self.last_saved, path
        if trainer.is_global_zero:
            for old in full_checkpoints(self.run_dir)[:-NUM_FULL]:
                old.unlink(missing_ok=True)
            if is_new:
                self._when_saved(step, path)

    def _interrupt(self, trainer: Trainer, signal: int) -> None:
        raise RunInterrupted(
            f"stopped after step {trainer.global_step} as asked; everything is in {self.last_saved}. "
            f"Continue with: {self.resume_hint}",
            signal,
        )

    def _write_weights(self, trainer: Trainer, pl_module: RocketModule, step: int) -> None:
        counts = pl_module.gather_counts()
        if not trainer.is_global_zero:
            return
        policies = {False: pl_module.policy.state_dict()}
        ema = next((callback for callback in trainer.callbacks if isinstance(callback, Ema)), None)  # type: ignore[attr-defined]
        if ema is not None:
            policies[True] = ema.average.module.state_dict()
        for averaged, state in policies.items():
            write_weights(
                weights_path(self.run_dir, step, averaged),
                state,
                pl_module.config,
                averaged=averaged,
                counts=counts,
                epoch=trainer.current_epoch,
                global_step=step,
            )
