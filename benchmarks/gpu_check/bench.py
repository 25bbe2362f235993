"""Where the checks run, what they find, and why one cannot run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from trainer.config import load_config
from trainer.settings import RunConfig


class CannotRun(Exception):
    """What a check needs is not here."""


@dataclass(frozen=True)
class Found:
    """What a check found, and whether that is what it expects."""

    text: str
    good: bool = True


@dataclass(frozen=True)
class Bench:
    """Where the checks run, and at what size.

    Attributes:
        device: cuda or cpu.
        dataset: made by `make_dataset`.
        work: a folder for runs.
        short: settings of the short runs, in float32.
        full: settings of the run that is measured.
        lanes, frames: of the step that is compared with MineStudio's.
    """

    device: str
    dataset: Path
    work: Path
    short: tuple[str, ...]
    full: tuple[str, ...]
    lanes: int
    frames: int

    def config(self, name: str, *settings: str) -> RunConfig:
        """The settings of a run that leaves nothing but its figures and checkpoints."""
        return load_config(
            "demo",
            [
                f"data.datasets={self.dataset}",
                f"run_dir={self.work / name}",
                f"trainer.accelerator={'gpu' if self.device == 'cuda' else 'cpu'}",
                "data.num_workers=0",
                "log_freq=1",
                "optimizer.warmup_steps=1",
                "trainer.val_every=null",
                "ema.enabled=false",
                "logging.page=false",
                *settings,
            ],
        )

    def need_gpu(self) -> None:
        if self.device != "cuda":
            raise CannotRun("no GPU")


@dataclass(frozen=True)
class Check:
    """A row of the table: what is tried, and what is expected."""

    name: str
    expected: str
    run: Callable[[Bench], Found]
