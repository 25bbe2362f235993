"""SIGTERM, SIGINT and SIGUSR1 end the run after the current step, with a checkpoint.

Lightning's own handlers save or talk to other ranks from inside the handler, at any point of a step, where the
ranks may each be in another collective. Here a handler only leaves a note; the step's own exchange of figures
tells all ranks, and they save and stop together. That holds for SLURM's warning signal as well.
"""

import os
import signal
import subprocess
import sys
import threading
from types import FrameType
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback
from typing_extensions import override

from trainer.learning.module import RocketModule

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)


class StopSignals(Callback):
    """Turns signals into a request that the module passes on with its next step."""

    def __init__(self) -> None:
        self._before: dict[signal.Signals, Any] = {}

    @override
    def on_train_start(self, trainer: Trainer, pl_module: RocketModule) -> None:
        """Take over from Lightning, which has put its own handlers in place before."""
        if threading.current_thread() is not threading.main_thread():
            return

        def note(number: int, frame: FrameType | None) -> None:
            del frame
            if pl_module.requested_signal and number == signal.SIGINT:  # a second Ctrl-C will not wait
                raise KeyboardInterrupt
            pl_module.requested_signal = number
            name = signal.Signals(number).name
            os.write(sys.stderr.fileno(), f"{name}: stopping after this step, with a checkpoint.\n".encode())

        for number in STOP_SIGNALS:
            self._before[number] = signal.signal(number, note)

    @override
    def on_train_end(self, trainer: Trainer, pl_module: RocketModule) -> None:
        self._restore()

    @override
    def on_exception(self, trainer: Trainer, pl_module: RocketModule, exception: BaseException) -> None:
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}


def requeue_under_slurm(signal_number: int) -> str | None:
    """Ask SLURM to start the job again if its warning signal stopped the run; a line that says what came of it."""
    job = os.environ.get("SLURM_JOB_ID")
    if job is None or signal_number != signal.SIGUSR1:
        return None
    if "SLURM_ARRAY_JOB_ID" in os.environ:
        job = f"{os.environ['SLURM_ARRAY_JOB_ID']}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    try:
        subprocess.run(["scontrol", "requeue", job], check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        return f"SLURM job {job} could not be requeued: {error}."
    return f"SLURM job {job} is requeued."
