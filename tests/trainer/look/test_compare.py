"""Comparing runs by their last validation."""

import json
import re
from pathlib import Path

import pytest

from shards.errors import RocketError
from tests import browser
from tests.readme import masked, shown_after
from trainer.look.compare import compare_lines, compare_page

SETTINGS = """
seed: {seed}
run_dir: anywhere
data: {{datasets: [a, b], split_ratio: 0.8, win_len: {win_len}}}
"""


def _run(folder: Path, rows: list[str], **settings: int) -> Path:
    folder.mkdir()
    if settings:
        (folder / "config.yaml").write_text(SETTINGS.format(**{"seed": 1, "win_len": 32, **settings}))
    header = "step,train/loss,val/loss,val/loss_constant_guess,val/loss_watched"
    (folder / "metrics.csv").write_text("\n".join([header, *rows]) + "\n")
    return folder


def test_compare_shows_each_runs_last_validation_and_what_follows(tmp_path):
    kept = _run(tmp_path / "kept", ["10,5.0,4.0,3.0,2.0", "20,3.0,1.5,3.0,0.5", "30,2.9,,,"], seed=1)
    reset = _run(tmp_path / "reset", ["20,3.0,1.8,3.0,1.5"], seed=1)
    lines = compare_lines([kept, reset])
    readmes = shown_after("rocket-train compare demo/run demo/run-without-memory")
    assert lines[0][:28] == readmes[0][:28]
    assert {line[:28] for line in lines[1:5]} <= {line[:28] for line in readmes[1:9]}
    names = {str(kept): "demo/run", str(reset): "demo/run-without-memory"}
    verdicts = [line.replace(str(reset), names[str(reset)]).replace(str(kept), names[str(kept)]) for line in lines]
    told = [line for line in readmes if line.startswith(("demo/run", "watched frames:"))]
    assert len(told) == 3
    assert set(masked(told)) <= set(masked(verdicts))
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
    with pytest.raises(RocketError, match=r"no metrics\.csv, expected a run's folder"):
        compare_lines([tmp_path])


def test_compare_names_a_run_without_a_validation(tmp_path):
    with pytest.raises(RocketError, match="no validation yet"):
        compare_lines([_run(tmp_path / "young", ["10,5.0,,,"])])


def test_compare_lists_settings_that_differ(tmp_path):
    wide = _run(tmp_path / "wide", ["20,3.0,1.5,3.0,0.5"], win_len=128)
    narrow = _run(tmp_path / "narrow", ["20,3.0,1.8,3.0,1.5"], win_len=32)
    lines = compare_lines([wide, narrow])
    assert lines[-2:] == ["settings that differ", "  data.win_len: 128, 32"]


def test_compare_says_when_validations_are_of_other_data(tmp_path):
    one = _run(tmp_path / "one", ["20,3.0,1.5,3.0,0.5"], seed=1)
    two = _run(tmp_path / "two", ["20,3.0,1.8,3.0,1.5"], seed=2)
    unknown = _run(tmp_path / "unknown", ["20,3.0,1.8,3.0,1.5"])
    assert "watch out: The runs validated on different frames or goals: seed is 1, 2." in compare_lines([one, two])
    (warning,) = [line for line in compare_lines([one, unknown]) if line.startswith("watch out")]
    assert warning == f"watch out: {unknown}: no config.yaml, so nobody knows what was validated on."
    assert [line for line in compare_lines([one, one]) if line.startswith("watch out")] == []


def test_compare_says_when_a_dataset_was_built_again(tmp_path):
    runs = []
    for name, fingerprint in (("old", "0a"), ("new", "1b"), ("unknown", None)):
        runs.append(_run(tmp_path / name, ["20,3.0,1.5,3.0,0.5"], seed=1))
        if fingerprint:
            (runs[-1] / "datasets.json").write_text(json.dumps({"a": fingerprint, "b": "same"}))
    old, new, unknown = runs
    text = "watch out: The runs validated on different data: a was built again between them."
    assert text in compare_lines([old, new])
    assert [line for line in compare_lines([old, unknown]) if line.startswith("watch out")] == []


def test_compare_says_when_validations_have_other_numbers_of_frames(tmp_path):
    runs = []
    for name, frames in (("old", 1955), ("new", 2010)):
        run = _run(tmp_path / name, [], seed=1)
        (run / "metrics.csv").write_text(f"step,val/loss,val/num_frames\n20,1.5,{frames}\n")
        runs.append(run)
    text = "watch out: The runs validated on different frames: 1,955, 2,010 of them. Was a dataset built again?"
    assert text in compare_lines(runs)


def test_compare_page_draws_the_runs_over_each_other(tmp_path):
    rows = ["10,5.0,4.0,3.0,2.0", "20,3.0,1.5,3.0,0.5"]
    runs = [_run(tmp_path / name, rows, seed=seed) for name, seed in (("one", 1), ("two", 2))]
    page = tmp_path / "compare.html"
    page.write_text(compare_page(runs))
    text = page.read_text()
    assert re.findall(r'<g id="(\w+)-figure_1"', text) == ["train", "val", "watched"]
    assert re.search(r'role="alert">The runs validated on different frames or goals: seed is 1, 2.', text)
    assert re.search(r"<td[^>]*>seed</td><td[^>]*>1</td><td[^>]*>2</td>", text)
    rendered = browser.render(page, tmp_path, 390)
    assert (rendered.console, rendered.overflow_px, len(rendered.charts)) == ([], 0, 3)
