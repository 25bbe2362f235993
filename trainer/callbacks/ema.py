"""The moving average of the weights: Lightning's, updated every n steps, of the policy alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import EMAWeightAveraging
from torch.optim.swa_utils import AveragedModel
from typing_extensions import override

from trainer.checkpoints.checkpoint import AVERAGE_KEY
from trainer.learning.module import RocketModule
from trainer.settings import EmaConfig


class Ema(EMAWeightAveraging):
    """Keeps the average beside the policy: for validation where asked, for checkpoints' twins always.

    Differs from Lightning's in three points. The weights themselves stay in the checkpoint's `state_dict` and in
    the module when training ends, so that what is saved last is what training goes on from. Batch statistics are
    taken over, not averaged, as in MineStudio. And it averages the policy alone, not objectives or teachers.
    """

    def __init__(self, config: EmaConfig) -> None:
        super().__init__(
            device="cpu" if config.cpu_offload else None,
            use_buffers=False,
            decay=config.decay,
            update_every_n_steps=config.every_n_steps,
        )
        self.validate_original_weights = config.validate_original_weights

    @property
    def average(self) -> AveragedModel:
        assert self._average_model is not None, "the average exists only while fitting"
        return self._average_model

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Start the average from the policy's weights."""
        assert isinstance(pl_module, RocketModule)
        if stage == "fit":
            self._average_model = AveragedModel(
                pl_module.policy,
                device=self._device or pl_module.device,
                use_buffers=self._use_buffers,
                **self._kwargs,
            )
            self._average_model.requires_grad_(requires_grad=False)

    @override
    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Follow the module to its device, where it has gone since `setup`."""
        if self._device is None:
            self.average.to(pl_module.device)

    @override
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        assert isinstance(pl_module, RocketModule)
        super().on_train_batch_end(trainer, pl_module.policy, outputs, batch, batch_idx)  # type: ignore[arg-type]

    @override
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Epochs mean nothing to the average."""

    @override
    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave the weights themselves in the module."""

    @override
    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._average_model is not None and not self.validate_original_weights:
            self._swap(pl_module)

    @override
    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._average_model is not None and not self.validate_original_weights:
            self._swap(pl_module)

    @contextmanager
    def averaged_weights(self, pl_module: LightningModule) -> Iterator[None]:
        """The module holds the average inside the block."""
        self._swap(pl_module)
        try:
            yield
        finally:
            self._swap(pl_module)

    @override
    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Add the average to a full checkpoint."""
        checkpoint[AVERAGE_KEY] = {
            "policy": self.average.module.state_dict(),
            "num_updates": self.average.n_averaged,
        }

    @override
    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Go on with the checkpoint's average; one from a run without starts from the weights."""
        if self._average_model is None:
            return
        state = checkpoint.get(AVERAGE_KEY)
        if state is not None:
            self.average.module.load_state_dict(state["policy"])
            self.average.n_averaged.copy_(state["num_updates"])
        else:
            prefix = "policy."
            weights = {
                k.removeprefix(prefix): v for k, v in checkpoint["state_dict"].items() if k.startswith(prefix)
            }
            self.average.module.load_state_dict(deepcopy(weights))

    def _swap(self, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, RocketModule)
        with torch.no_grad():
            self._swap_models(pl_module.policy)  # type: ignore[arg-type]
