"""The demo's claim: the policy learns from the sample recordings, and what it remembers is worth something."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.readme import masked, shown_after
from trainer.look.run_folder import read_run

ROOT = Path(__file__).resolve().parents[1]


def _start(package: str, *words: str) -> subprocess.Popen[str]:
    """A package's command line at work, on one thread."""
    return subprocess.Popen(
        [sys.executable, "-c", f"from {package}.cli import main; main()", *words],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _finish(process: subprocess.Popen[str]) -> str:
    """What it printed."""
    output, _ = process.communicate()
    assert process.returncode == 0, output
    return output


@pytest.mark.timeout(1800)
def test_the_demo_learns_and_needs_its_memory(tmp_path):
    recordings, dataset = str(tmp_path / "recordings"), str(tmp_path / "dataset")
    said = _finish(_start("pipeline", "make-sample", recordings)).replace(recordings, "demo/recordings")
    words = ("frame_width=64", "frame_height=64")
    assert set(shown_after("make-sample demo/recordings")) <= set(said.splitlines())
    said = _finish(_start("pipeline", "build-shards", recordings, "--out", dataset, *words))
    shown = shown_after("build-shards demo/recordings --out demo/dataset frame_width=64 frame_height=64")
    assert set(masked(shown)) <= set(masked(said.replace(dataset, "demo/dataset").splitlines()))
    runs = {
        memory: _start(
            "trainer",
            "demo",
            f"data.datasets=[{dataset}]",
            f"run_dir={tmp_path / memory}",
            f"trainer.memory={memory}",
            "trainer.val_every=1000",
            "validation.compare_memory=false",
            "logging.page=false",
        )
        for memory in ("carry", "reset")
    }
    for process in runs.values():
        _finish(process)
    carry = read_run(tmp_path / "carry").validations[-1]
    reset = read_run(tmp_path / "reset").validations[-1]
    assert carry["loss"] < 0.6 * carry["loss_constant_guess"]
    # What rings a bell was seen more than a window ago: without memory, only a guess is left.
    assert reset["loss_watched"] > 1.3 * carry["loss_watched"]
    # And played: the demo prints 200 episodes each; a bell is won by chance in half of them.
    (policy,) = (tmp_path / "carry" / "weights").glob("step-00000420.ckpt")
    words = ["play", str(policy), "--tasks", "bell", "--episodes", "50", "--lanes", "25"]
    plays = {
        memory: _start("trainer", *words, "--memory", memory, "--json", str(tmp_path / f"{memory}.json"))
        for memory in ("carry", "reset")
    }
    for process in plays.values():
        _finish(process)
    rates = {memory: json.loads((tmp_path / f"{memory}.json").read_text())["tasks"][0]["rate"] for memory in plays}
    assert rates["carry"] >= 0.75
    assert rates["reset"] <= 0.65
