"""Lightning's inner parts behave as trainer/lightning_parts.py takes for granted."""

import re
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from torch.utils.data import DataLoader

from trainer.checkpoints.checkpoint import Position
from trainer.lightning_parts import (
    MUTED_WARNINGS,
    batches_in_flight,
    loop_state,
    mute_lightning,
    validation_follows,
)


class OneWeight(LightningModule):
    """Notes at each hook what the tests ask about."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.states: dict[int, dict[str, Any]] = {}
        self.in_flight: list[tuple[str, int]] = []
        self.foreseen: list[int] = []
        self.validated: list[int] = []

    def training_step(self, batch: torch.Tensor, batch_idx: int) -> torch.Tensor:
        self.in_flight.append(("step", batches_in_flight(self.trainer)))
        return (self.weight * batch).sum()

    def validation_step(self, batch: torch.Tensor, batch_idx: int) -> None:
        pass

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), 0.1)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_train_batch_start(self, batch: torch.Tensor, batch_idx: int) -> None:
        self.states[self.trainer.global_step] = self.trainer.fit_loop.state_dict()

    def on_train_batch_end(self, outputs: Any, batch: torch.Tensor, batch_idx: int) -> None:
        self.in_flight.append(("end", batches_in_flight(self.trainer)))
        if validation_follows(self.trainer):
            self.foreseen.append(self.trainer.global_step)

    def on_validation_start(self) -> None:
        self.in_flight.append(("validation", batches_in_flight(self.trainer)))
        self.validated.append(self.trainer.global_step)


@pytest.fixture(scope="module")
def module() -> OneWeight:
    """The module after 12 steps in epochs of 5, validated every fourth."""
    module = OneWeight()
    mute_lightning()
    Trainer(
        max_steps=12,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        val_check_interval=4,
        check_val_every_n_epoch=None,
    ).fit(module, DataLoader(torch.ones(5, 1)), DataLoader(torch.ones(1, 1)))
    return module


def counters(state: dict[str, Any], name: str) -> tuple[dict[str, int], dict[str, int]]:
    return state[name]["total"], state[name]["current"]


def test_loop_state_counts_what_lightning_has_completed_itself(module: OneWeight) -> None:
    for step in range(1, 12):
        position = Position.after(step, steps_per_epoch=5)
        made = loop_state(module.states[0], position.epoch, position.step, step)
        real = module.states[step]
        assert made.keys() == real.keys()
        for name in ("epoch_loop.batch_progress", "epoch_progress"):
            for ours, theirs in zip(counters(made, name), counters(real, name), strict=True):
                # At an epoch's end ours is behind it, Lightning's before the next one's first batch.
                assert ours["completed"] == theirs["completed"], (step, name)
        optimizer = "epoch_loop.automatic_optimization.optim_progress"
        assert made[optimizer]["optimizer"]["step"]["total"] == real[optimizer]["optimizer"]["step"]["total"]


def test_batch_is_in_flight_until_its_step_is_done(module: OneWeight) -> None:
    assert set(module.in_flight) == {("step", 1), ("end", 0), ("validation", 0)}


def test_validation_is_foreseen_where_it_happens(module: OneWeight) -> None:
    assert module.foreseen == module.validated == [4, 8, 12]


@pytest.mark.parametrize("pattern", [pattern for pattern in MUTED_WARNINGS if "LeafSpec" not in pattern])
def test_muted_warnings_are_still_lightnings(pattern: str) -> None:
    words = re.sub(r"\\", "", pattern.strip(".*"))
    sources = (path.read_text(encoding="utf-8") for path in Path(lightning.__file__).parent.rglob("*.py"))
    joined = (re.sub(r"[\"']\s*\n\s*f?[\"']", "", source) for source in sources)
    assert any(words in source for source in joined)
