"""A run as its user meets it: killed, stopped, resumed, spread over ranks, refused."""

import csv
import os
import signal
import time
from collections.abc import Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.trainer.runs import in_child, make_run_dataset, overrides
from trainer.checkpoint import full_path, read_full, weights_path

NUM_STEPS = 23
"""Two epochs of ten steps, and a bit."""
RUN = (f"trainer.max_steps={NUM_STEPS}", "trainer.save_every=3", "trainer.val_every=6")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run_dataset(tmp_path_factory.mktemp("run") / "dataset")


@pytest.fixture(scope="module")
def undisturbed(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run_dir = tmp_path_factory.mktemp("undisturbed")
    finish(in_child(*overrides(dataset, run_dir / "run", *RUN), env={"LOG": str(run_dir / "log")}), run_dir / "log")
    return run_dir / "run"


def finish(process: BaseProcess, log: Path, status: int = 0) -> str:
    """The process has ended with this status; what it said."""
    process.join(120)
    said = log.read_text() if log.exists() else ""
    assert process.exitcode == status, said
    return said


def rows(run_dir: Path) -> list[dict[str, str]]:
    """metrics.csv without what depends on the clock."""
    with (run_dir / "metrics.csv").open(newline="") as file:
        return [
            {name: value for name, value in row.items() if not name.startswith("speed/") and value}
            for row in csv.DictReader(file)
        ]


def wait_for_step(run_dir: Path, step: int, process: BaseProcess) -> None:
    """The run has written down this step."""
    path = run_dir / "metrics.csv"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.is_alive():
        if path.is_file() and f"\n{step}," in path.read_text():
            return
        time.sleep(0.002)
    raise AssertionError(f"step {step} was never reached")


def assert_same_content(first: Any, second: Any, where: str = "checkpoint") -> None:
    """Both hold the same, to the bit."""
    assert type(first) is type(second), where
    if isinstance(first, torch.Tensor):
        assert torch.equal(first, second), where
    elif isinstance(first, dict):
        assert list(first) == list(second), where
        for name in first:
            assert_same_content(first[name], second[name], f"{where}.{name}")
    elif isinstance(first, (list, tuple)):
        assert len(first) == len(second), where
        for index, (one, other) in enumerate(zip(first, second, strict=True)):
            assert_same_content(one, other, f"{where}[{index}]")
    else:
        assert first == second or first != first, where


def final_checkpoint(run_dir: Path) -> dict[str, Any]:
    content = read_full(full_path(run_dir, NUM_STEPS))
    del content["hyper_parameters"]["config"]["run_dir"]
    return content


# 2: before the first checkpoint; 9, 10: around the first epoch's end; 12: at a validation; 20: second epoch's end.
@pytest.mark.parametrize("step", [2, 9, 10, 12, 20])
def test_killed_run_resumes_bit_for_bit(dataset: Path, undisturbed: Path, tmp_path: Path, step: int) -> None:
    run_dir, log = tmp_path / "run", tmp_path / "log"
    arguments = overrides(dataset, run_dir, *RUN)
    process = in_child(*arguments, env={"LOG": str(log)})
    wait_for_step(run_dir, step, process)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    finish(in_child(*arguments, resume="auto", env={"LOG": str(log)}), log)
    assert rows(run_dir) == rows(undisturbed)
    assert_same_content(final_checkpoint(run_dir), final_checkpoint(undisturbed))
