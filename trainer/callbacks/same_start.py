"""All ranks continue from the same checkpoint, or none does."""

from __future__ import annotations

from pathlib import Path

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from typing_extensions import override

from trainer.checkpoints.checkpoint import content_hash
from trainer.collectives import gather_objects
from trainer.learning.guard import AgreedStop
from trainer.ranks import rank_name


class DifferentStart(AgreedStop):
    """Ranks would continue from different checkpoints."""


class SameStart(Callback):
    """Compares what each rank is about to load with what the main process chose, before anything is loaded."""

    def __init__(self, checkpoint: Path | None) -> None:
        self.checkpoint = checkpoint

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Return if all ranks agree on the checkpoint's name, which tells its step, and content.

        Raises:
            DifferentStart: on every rank alike, if one does not.
        """
        own = ("no checkpoint", "")
        if self.checkpoint is not None:
            own = (str(self.checkpoint), content_hash(self.checkpoint))
        everywhere = gather_objects((rank_name(), *own))
        _, chosen, chosen_hash = everywhere[0]
        for name, path, its_hash in everywhere[1:]:
            if (Path(path).name, its_hash) != (Path(chosen).name, chosen_hash):
                other = path if path != chosen else f"another {path}"
                raise DifferentStart(
                    f"--resume: the main process would continue from {chosen}, but {name} from {other}. "
                    "Put run_dir on a folder that all machines share, or copy the checkpoint to each of them."
                )
