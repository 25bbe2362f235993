"""The objects of a run from its settings: policy, data module, Lightning's trainer, loggers."""

import logging
import os
import uuid
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import lightning
import torch
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import Logger, WandbLogger
from lightning.pytorch.plugins.io import TorchCheckpointIO
from lightning.pytorch.strategies import DDPStrategy, Strategy
from torch import nn
from typing_extensions import override

from shards.errors import RocketError, first_line
from trainer.checkpoints.checkpoint import policy_state, read_checkpoint, write_checkpoint
from trainer.data.datamodule import RocketDataModule
from trainer.devices import started_by_slurm, trains_on_gpu
from trainer.lightning_parts import mute_lightning
from trainer.policy import RocketPolicy
from trainer.settings import RunConfig
from trainer.weights import Weights, load_weights, read_weights

_log = logging.getLogger(__name__)
WANDB_SECONDS = 30
"""How long wandb may take to answer before the run goes on without the network."""


def build_policy(config: RunConfig, fetch_weights: bool = True) -> RocketPolicy:
    """The policy with the weights that a run starts from; the same for the same seed.

    Without `fetch_weights` they are random, where a checkpoint's take their place anyway.

    Raises:
        RocketError: an unknown backbone, weights that cannot be had or do not fit.
    """
    settings = config.policy
    torch.manual_seed(config.seed)
    pretrained = settings.pretrained and fetch_weights and settings.init_from is None
    policy = RocketPolicy(
        **config.policy_arguments(),
        pretrained=pretrained,
        backbone_weights=settings.backbone_weights if pretrained else None,
    )
    if settings.init_from is not None and fetch_weights:
        load_weights(policy, read_weights(settings.init_from))
    if settings.batch_norm == "synchronised":
        policy.synchronise_batch_norm()
    return policy


def load_policy(config: RunConfig, path: Path, content: Mapping[str, Any], averaged: bool = False) -> RocketPolicy:
    """The policy of these settings with the weights, or their average, of the checkpoint read from `path`.

    Raises:
        RocketError: they do not fit, or there is no average.
    """
    policy = build_policy(config, fetch_weights=False)
    state = policy_state(path, content, averaged)
    load_weights(policy, Weights(state, config.policy_arguments(), str(path)))
    return policy


def load_teacher(source: str) -> nn.Module:
    """The policy that a source holds, in the shape that the source tells.

    Raises:
        RocketError: it does not tell.
    """
    weights = read_weights(source)
    if not weights.settings:
        raise RocketError(
            f"{source}: says nothing of its architecture. Use a checkpoint or a Hugging Face folder."
        )
    policy = RocketPolicy(**weights.settings, pretrained=False)
    load_weights(policy, weights)
    return policy


def build_data(config: RunConfig, rank: int | None = None, num_ranks: int | None = None) -> RocketDataModule:
    """The data module; rank and number of ranks are the trainer's unless given."""
    watch = config.validation.watch_events
    return RocketDataModule(config.data, seed=config.seed, watch_events=watch, rank=rank, num_ranks=num_ranks)


class AtomicCheckpointIO(TorchCheckpointIO):
    """Lightning's checkpoints are written and read as ours are."""

    @override
    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | os.PathLike[str], storage_options: Any | None = None
    ) -> None:
        del storage_options
        write_checkpoint(checkpoint, Path(path))

    @override
    def load_checkpoint(
        self,
        path: str | os.PathLike[str],
        map_location: Any | None = None,
        weights_only: bool | None = None,
    ) -> dict[str, Any]:
        del map_location, weights_only
        return read_checkpoint(Path(path))


def build_trainer(
    config: RunConfig, num_ranks: int, callbacks: Sequence[Callback], loggers: Sequence[Logger]
) -> lightning.Trainer:
    """Lightning's trainer: plain DDP over the ranks, our checkpoints, no loader or logging of its own."""
    mute_lightning()
    settings = config.trainer
    strategy: Strategy | str = DDPStrategy(gradient_as_bucket_view=True) if num_ranks > 1 else "auto"
    # Gradients of convolutions may have other strides along axes of size 1. DDP copies them all the same.
    warnings.filterwarnings("ignore", ".*Grad strides do not match bucket view strides.*")
    plugins: list[Any] = [AtomicCheckpointIO()]
    if started_by_slurm():
        plugins.append(SLURMEnvironment(auto_requeue=False))  # see callbacks/signals.py
    return lightning.Trainer(
        accelerator="gpu" if trains_on_gpu(config) else "cpu",
        devices=num_ranks // settings.num_nodes,
        num_nodes=settings.num_nodes,
        strategy=strategy,
        precision=settings.precision,
        max_steps=settings.max_steps or -1,
        max_epochs=settings.max_epochs or -1,
        val_check_interval=settings.val_every,
        check_val_every_n_epoch=None,
        limit_val_batches=0 if settings.val_every is None else settings.limit_val_steps or 1.0,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        logger=list(loggers) or False,
        callbacks=list(callbacks),
        plugins=plugins,
        default_root_dir=config.run_dir,
        benchmark=False,  # padding is left out, so that the number of frames differs from step to step
    )


def build_wandb(config: RunConfig, resumed: bool, seconds: float = WANDB_SECONDS) -> WandbLogger | None:
    """Start wandb as far as the settings and the machine allow, in the main process.

    It asks nothing, and where its server does not answer in time, the run is logged into its folder.
    """
    mode = _wandb_mode(config.logging.wandb)
    if mode == "off":
        return None
    import wandb

    run_dir = Path(config.run_dir)
    id_file = run_dir / "wandb_id.txt"
    known = id_file.read_text().strip() if resumed and id_file.is_file() else None
    for attempt in dict.fromkeys((mode, "offline")):
        run_id = known if known is not None and attempt == mode else uuid.uuid4().hex[:8]
        try:
            run = wandb.init(
                project=config.logging.project,
                dir=str(run_dir),
                id=run_id,
                resume="allow" if attempt == "online" else None,
                mode=attempt,
                config=config.model_dump(),
                settings=wandb.Settings(init_timeout=seconds, silent=True, console="off"),
            )
        except Exception as error:  # noqa: BLE001 (whatever befalls wandb, the run goes on)
            _log.warning("wandb %s: %s; going on without.", attempt, first_line(error))
            continue
        id_file.write_text(run_id + "\n")
        return WandbLogger(experiment=run)
    return None


def _wandb_mode(wanted: str) -> Literal["online", "offline", "off"]:
    """online, offline or off: as the settings say, unless WANDB_MODE or wandb's own settings say less."""
    if wanted == "off":
        return "off"
    import wandb

    its_settings = wandb.setup().settings
    if its_settings.mode == "disabled":
        return "off"
    if its_settings.mode in ("offline", "dryrun") or wanted == "offline":
        return "offline"
    return "online" if wanted == "online" or _has_wandb_key(str(its_settings.base_url)) else "offline"


def _has_wandb_key(base_url: str) -> bool:
    """Whether wandb knows a key for that server: from its variables, its settings files or a netrc file.

    wandb has no public way to ask without a prompt, so this takes what its login takes. Read in wandb 0.31.0.
    """
    from wandb.errors import AuthenticationError
    from wandb.sdk.lib.wbauth import authenticate_session

    try:
        known = authenticate_session(host=base_url, source="rocket-train", prompt=False, update_session=False)
    except AuthenticationError as error:
        _log.warning("wandb: %s", error)
        return False
    return known is not None
