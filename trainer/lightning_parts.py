"""What we use of Lightning beyond its documented interface; nothing else here may touch such parts.

Each function names the file of Lightning 2.6.6 that it was read from. tests/trainer/test_lightning_parts.py fails
where another version behaves differently.
"""

import logging
import warnings
from collections.abc import Mapping
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.loops.progress import _ProcessedTracker

MUTED_WARNINGS = (
    ".*does not have many workers.*",
    ".*dataloader is not resumable.*",
    ".*module\\(s\\) in eval mode at the start of training.*",
    ".*smaller than the logging interval.*",
    ".*GPU available but not used.*",
    ".*It will use the implementation from `LightningModule` instance.*",
    ".*`isinstance\\(treespec, LeafSpec\\)` is deprecated.*",
    ".*Experiment logs directory.*",
)
"""What Lightning says about choices that are made on purpose here."""


def mute_lightning() -> None:
    """Lightning warns no more about what is meant, and logs from warnings on."""
    for message in MUTED_WARNINGS:
        warnings.filterwarnings("ignore", message)
    for name in ("lightning.pytorch", "lightning.fabric", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)


def batches_in_flight(trainer: Trainer) -> int:
    """Batches that the loop has taken but not trained on: one in the middle of a step, else none.

    Source: loops/progress.py, loops/training_epoch_loop.py (`batch_progress`).
    """
    progress = trainer.fit_loop.epoch_loop.batch_progress.current
    assert isinstance(progress, _ProcessedTracker)
    return max(progress.ready - progress.processed, 0)


def validation_follows(trainer: Trainer) -> bool:
    """Whether Lightning validates after this batch.

    Source: loops/training_epoch_loop.py (`_should_check_val_fx`).
    """
    loop = trainer.fit_loop
    assert loop._data_fetcher is not None
    return bool(loop.epoch_loop._should_check_val_fx(loop._data_fetcher))


def validate_now(trainer: Trainer) -> None:
    """A validation has run between two training batches.

    Source: loops/training_epoch_loop.py (`on_advance_end`).
    """
    first_loop_iter = trainer._logger_connector._first_loop_iter
    trainer.validating = True
    trainer.fit_loop.epoch_loop.val_loop.run()
    trainer.training = True
    trainer._logger_connector._first_loop_iter = first_loop_iter


def loop_state(fresh: Mapping[str, Any], epoch: int, step: int, global_step: int) -> dict[str, Any]:
    """The fit loop's counters at a position, as if everything up to it were done and nothing begun.

    Lightning's own counters differ with the hook that saves a checkpoint; these depend on the position alone. The
    state of a `fresh` loop gives the layout.
    Source: loops/fit_loop.py, loops/training_epoch_loop.py, loops/progress.py (`state_dict`).
    """
    state: dict[str, Any] = {name: _filled(value, 0, 0) for name, value in fresh.items()}
    for name in ("batch_progress", "scheduler_progress", "automatic_optimization.optim_progress"):
        key = f"epoch_loop.{name}"
        state[key] = _filled(fresh[key], total=global_step, current=step)
    begun = epoch + (1 if step else 0)
    epochs = {"ready": begun, "started": begun, "processed": epoch, "completed": epoch}
    state["epoch_progress"] = {"total": dict(epochs), "current": dict(epochs)}
    state["epoch_loop.state_dict"] = {"_batches_that_stepped": global_step}
    return state


def _filled(progress: Any, total: int, current: int) -> Any:
    """The progress record with every counter under `total` and `current` set."""
    if not isinstance(progress, Mapping):
        return False if isinstance(progress, bool) else progress
    counts = {"total": total, "current": current}
    return {
        name: dict.fromkeys(value, counts[name]) if name in counts else _filled(value, total, current)
        for name, value in progress.items()
    }
