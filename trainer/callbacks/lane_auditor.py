"""Proof at run time that each lane's window continues its predecessor or starts an episode."""

from typing import Any, NamedTuple

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback
from typing_extensions import override

from shards.errors import RocketError
from trainer.learning.module import RocketModule


class _Seen(NamedTuple):
    """A window that a lane got; episode -1 is padding."""

    episode: int
    start: int
    stop: int
    last: bool


class LaneAuditor(Callback):
    """Compares every window with the lane's last one, on the host; a few integers a lane and step."""

    def __init__(self) -> None:
        self._seen: dict[int, _Seen] = {}

    @override
    def on_train_batch_start(self, trainer: Trainer, pl_module: RocketModule, batch: Any, batch_idx: int) -> None:
        """Return if the batch is the next one.

        Raises:
            RocketError: naming step, lane and episodes.
        """
        host = batch["host"]
        step, epoch = int(host["step"]), int(host["epoch"])
        if (epoch, step) != (trainer.current_epoch, batch_idx):
            raise RocketError(
                f"loader: batch of epoch {epoch}, step {step}, expected epoch {trainer.current_epoch}, step "
                f"{batch_idx}. This is a fault of the loader; please report it."
            )
        plan = trainer.datamodule.data.train  # type: ignore[attr-defined]
        first_row = pl_module.global_rank * len(host["lane"])
        for row, lane in enumerate(host["lane"].tolist()):
            lanes = plan.lanes_of_rows(range(first_row + row, first_row + row + 1))
            if lane not in lanes:
                raise RocketError(f"step {step}: row {row} is lane {lane}, expected one of {list(lanes)}.")
            current = _Seen(*(host[name][row].item() for name in ("episode", "start_frame", "stop_frame", "last")))
            problem = _problem(self._seen.get(lane), current, host["first"][row].tolist())
            if problem is not None:
                name = pl_module.name_of_episode(current.episode)
                raise RocketError(
                    f"epoch {epoch}, step {step}, lane {lane}: {problem}, got {name} from frame {current.start}. "
                    "This is a fault of the loader; please report it."
                )
            self._seen[lane] = current

    @override
    def on_train_epoch_end(self, trainer: Trainer, pl_module: RocketModule) -> None:
        """Every episode ends with its epoch; a lane that is in the middle of one has lost windows."""
        if trainer.fit_loop.epoch_loop.batch_progress.current.ready < trainer.num_training_batches:
            return  # the run ends here, not the epoch
        if not trainer.datamodule.data.train.ends_with_epoch:  # type: ignore[attr-defined]
            return
        for lane, seen in self._seen.items():
            if seen.episode >= 0 and not seen.last:
                raise RocketError(
                    f"epoch {trainer.current_epoch}: lane {lane} ends at frame {seen.stop - 1} of an episode that "
                    "goes on. This is a fault of the loader; please report it."
                )
        self._seen = {}


def _problem(previous: _Seen | None, current: _Seen, first: list[bool]) -> str | None:
    """What is wrong with `current` after `previous` (None: not known, as after a restart)."""
    starts = current.episode >= 0 and current.start == 0
    if first[0] != starts:
        return f"first is {first[0]} where {'an' if starts else 'no'} episode starts"
    if any(first[1:]):
        return f"an episode starts inside the window, at {first.index(True, 1)}"
    if previous is None:
        return None
    if previous.episode >= 0 and not previous.last:
        if (current.episode, current.start) != (previous.episode, previous.stop):
            return f"the window does not continue at frame {previous.stop} of the lane's episode"
        return None
    if current.episode >= 0 and not starts:
        return "the window starts in the middle of an episode"
    return None
