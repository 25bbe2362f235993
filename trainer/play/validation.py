"""A run plays at its validations: how often its policy succeeds, beside how well it imitates."""

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback
from typing_extensions import override

from trainer.learning.module import RocketModule
from trainer.play.rollout import PlaySettings, Rollout
from trainer.play.session import env_maker
from trainer.policy import RocketPolicy
from trainer.settings import RunConfig

_MAX_LANES = 8


class PlayValidation(Callback):
    """Adds `play_success` to a validation's figures, in the main process; the same episodes each time.

    It belongs before the callbacks that write figures down, and before Ema: it plays with the weights that were
    validated.
    """

    def __init__(self, config: RunConfig) -> None:
        """Nothing has been played yet.

        Raises:
            RocketError: there is no such environment.
        """
        num_episodes = config.validation.play_episodes
        settings = PlaySettings(config.validation.play_env, num_episodes=num_episodes, seed=config.seed)
        self._plans, self._make_env = settings.plans(), env_maker(settings.env, "validation.play_env")
        self._frame_size = (config.data.frame_height, config.data.frame_width)
        self._forget_every = config.data.win_len if config.trainer.memory == "reset" else None
        self._rate: float | None = None

    @override
    def on_validation_epoch_end(self, trainer: Trainer, pl_module: RocketModule) -> None:
        if not trainer.is_global_zero:
            return
        policy = pl_module.policy
        assert isinstance(policy, RocketPolicy)
        assert not policy.training
        rollout = Rollout(
            policy,
            self._make_env,
            self._plans,
            num_lanes=_MAX_LANES,
            frame_size=self._frame_size,
            forget_every=self._forget_every,
            deterministic=True,  # and it draws nothing from the generators that training draws from
        )
        outcomes = [outcome for *_, outcome in rollout if outcome is not None]
        self._rate = sum(outcome.success for outcome in outcomes) / len(outcomes)

    @override
    def on_validation_end(self, trainer: Trainer, pl_module: RocketModule) -> None:
        if self._rate is not None:
            pl_module.validation["play_success"] = self._rate
