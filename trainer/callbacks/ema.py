"""The moving average of the policy's weights, updated every n steps."""

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback
from torch.optim.swa_utils import AveragedModel, get_ema_avg_fn
from typing_extensions import override

from trainer.checkpoints.checkpoint import AVERAGE_KEY, policy_state
from trainer.learning.module import RocketModule


class Ema(Callback):
    """Keeps the average beside the policy: for validation where asked, and in checkpoints.

    Differs from Lightning's WeightAveraging: a checkpoint's `state_dict` and the module after training hold the
    weights themselves, so that what is saved last is what training continues from. BatchNorm's statistics are
    copied, not averaged, as in MineStudio. Objectives and teachers are not averaged.

    Attributes:
        average: the averaged policy, from the beginning of `fit` on.
    """

    average: AveragedModel

    def __init__(
        self,
        decay: float = 0.999,
        every_n_steps: int = 8,
        validate_original_weights: bool = True,
        cpu_offload: bool = False,
    ) -> None:
        """Average nothing yet; the settings are those of `settings.EmaConfig`."""
        self.decay, self.every_n_steps = decay, every_n_steps
        self.validate_original_weights, self.cpu_offload = validate_original_weights, cpu_offload
        self._last_step = 0

    @override
    def setup(self, trainer: Trainer, pl_module: RocketModule, stage: str) -> None:
        """Start the average from the policy's weights."""
        if stage == "fit":
            device = torch.device("cpu") if self.cpu_offload else pl_module.device
            average = get_ema_avg_fn(self.decay)  # type: ignore[no-untyped-call]
            self.average = AveragedModel(pl_module.policy, device, average, use_buffers=False)
            self.average.requires_grad_(requires_grad=False)

    @override
    def on_fit_start(self, trainer: Trainer, pl_module: RocketModule) -> None:
        """Follow the module to its device, where it has gone since `setup`."""
        if not self.cpu_offload:
            self.average.to(pl_module.device)

    @override
    def on_train_batch_end(self, trainer: Trainer, pl_module: RocketModule, *args: Any, **kwargs: Any) -> None:
        step = trainer.global_step
        if step > self._last_step and (step - 1) % self.every_n_steps == 0:
            self._last_step = step
            self.average.update_parameters(pl_module.policy)

    @override
    def on_validation_epoch_start(self, trainer: Trainer, pl_module: RocketModule) -> None:
        self._swap(trainer, pl_module)

    @override
    def on_validation_epoch_end(self, trainer: Trainer, pl_module: RocketModule) -> None:
        self._swap(trainer, pl_module)

    @override
    def on_save_checkpoint(self, trainer: Trainer, pl_module: RocketModule, checkpoint: dict[str, Any]) -> None:
        """Add the average to a full checkpoint."""
        checkpoint[AVERAGE_KEY] = {
            "policy": self.average.module.state_dict(),
            "num_updates": self.average.n_averaged,
        }

    @override
    def on_load_checkpoint(self, trainer: Trainer, pl_module: RocketModule, checkpoint: dict[str, Any]) -> None:
        """Continue with the checkpoint's average; without one, start from its weights."""
        if AVERAGE_KEY in checkpoint:
            self.average.module.load_state_dict(checkpoint[AVERAGE_KEY]["policy"])
            self.average.n_averaged.copy_(checkpoint[AVERAGE_KEY]["num_updates"])
        else:
            self.average.module.load_state_dict(policy_state(Path("checkpoint"), checkpoint))

    @torch.no_grad()
    def _swap(self, trainer: Trainer, pl_module: RocketModule) -> None:
        """Exchange weights and average, if the average is to be validated in training."""
        if self.validate_original_weights or trainer.state.fn != "fit":
            return
        pairs = zip(pl_module.policy.state_dict().values(), self.average.module.state_dict().values(), strict=True)
        for weight, averaged in pairs:
            kept = weight.clone()
            weight.copy_(averaged)
            averaged.copy_(kept)
