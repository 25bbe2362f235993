"""Comparing runs by their last validation."""

from pathlib import Path

import pytest

from shards.errors import RocketError
from trainer.look.compare import compare_lines


def _run(folder: Path, rows: list[str]) -> Path:
    folder.mkdir()
    header = "step,train/loss,val/loss,val/loss_constant_guess,val/loss_watched"
    (folder / "metrics.csv").write_text("\n".join([header, *rows]) + "\n")
    return folder


def test_compare_shows_each_runs_last_validation_and_what_follows(tmp_path):
    kept = _run(tmp_path / "kept", ["10,5.0,4.0,3.0,2.0", "20,3.0,1.5,3.0,0.5", "30,2.9,,,"])
    reset = _run(tmp_path / "reset", ["20,3.0,1.8,3.0,1.5"])
    lines = compare_lines([kept, reset])
    cells = {line[:28].strip(): line[28:].split() for line in lines[1:5]}
    assert cells == {
        "after step": ["20", "20"],
        "loss a frame": ["1.500", "1.800"],
        "of the best constant guess": ["3.000", "3.000"],
        "loss on watched frames": ["0.500", "1.500"],
    }
    assert lines[5:] == [
        f"{kept}: loss 50% under that of the best constant guess",
        f"{reset}: loss 40% under that of the best constant guess",
        f"watched frames: {reset} has 3.0 times the loss of {kept}",
    ]


def test_compare_names_a_folder_without_a_run(tmp_path):
    with pytest.raises(RocketError, match=r"metrics\.csv: cannot be read"):
        compare_lines([tmp_path])


def test_compare_names_a_run_without_a_validation(tmp_path):
    with pytest.raises(RocketError, match="no validation yet"):
        compare_lines([_run(tmp_path / "young", ["10,5.0,,,"])])
