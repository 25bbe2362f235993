"""The names of MineStudio's tutorial for what stands here, so that its script runs with other imports.

Ours are in the modules that this one imports from; nothing here adds to them.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from lightning.pytorch.callbacks import ModelCheckpoint as SmartCheckpointCallback
from omegaconf import OmegaConf

from trainer.callbacks.ema import Ema as EMA  # noqa: N814 (MineStudio's name)
from trainer.callbacks.speed import SpeedMeter as SpeedMonitorCallback
from trainer.data.datamodule import RocketDataModule as MineDataModule
from trainer.learning.module import RocketModule
from trainer.learning.objectives import BehaviorCloning as BehaviorCloneCallback
from trainer.learning.objectives import Objective
from trainer.policy import RocketPolicy
from trainer.settings import DataConfig, OptimizerConfig, PolicyConfig, RunConfig, TrainerConfig

__all__ = [
    "EMA",
    "BehaviorCloneCallback",
    "MineDataModule",
    "MineLightning",
    "RocketPolicy",
    "SmartCheckpointCallback",
    "SpeedMonitorCallback",
    "convert_to_normal",
]


def MineLightning(  # noqa: N802 (MineStudio's name)
    mine_policy: RocketPolicy,
    callbacks: Sequence[Objective],
    hyperparameters: Mapping[str, Any] | None = None,
    *,
    log_freq: int = 20,
    learning_rate: float = 4e-5,
    weight_decay: float = 1e-3,
    warmup_steps: int = 2000,
) -> RocketModule:
    """The training module; batch size and window are the data module's, gradient clipping the trainer's.

    `callbacks` are the objectives; `hyperparameters` is what loggers note about the run.
    """
    config = RunConfig(
        log_freq=log_freq,
        data=DataConfig(win_len=mine_policy.timesteps),
        policy=PolicyConfig.model_validate({**mine_policy.config, "pretrained": False}),
        objectives=[objective.config for objective in callbacks],
        optimizer=OptimizerConfig(
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            warmup_steps=warmup_steps,
            gradient_clip=None,
        ),
        trainer=TrainerConfig(max_epochs=1),
    )
    module = RocketModule(mine_policy, config, callbacks)
    module.save_hyperparameters(dict(hyperparameters or {}))
    return module


def convert_to_normal(settings: Any) -> Any:
    """Settings as plain dictionaries and lists."""
    return OmegaConf.to_container(settings, resolve=True) if OmegaConf.is_config(settings) else settings
