"""Settings that change when a run goes on: told, refused, kept as a history."""

from pathlib import Path

import pytest

from shards.settings import settings_of
from trainer.changes import Change, changes_on_resume, notes_on_record, read_history, write_record
from trainer.config import load_config, resolve_lanes
from trainer.settings import ObjectiveConfig, RunConfig


def test_every_setting_says_whether_a_run_may_change_it() -> None:
    every = [*settings_of(RunConfig), *settings_of(ObjectiveConfig)]
    assert [one.key for one in every if one.marks.get("resume") not in ("free", "fixed")] == []


def resumed(old: list[str], new: list[str]) -> list[tuple[str, bool]]:
    """The changes when a run of rocket1 with the first words goes on with the second: (line, refused)."""
    saved = resolve_lanes(load_config("rocket1", old), 8).model_dump()
    return [
        (str(one), one.refused) for one in changes_on_resume(saved, resolve_lanes(load_config("rocket1", new), 8))
    ]


def test_unchanged_settings_have_no_changes_on_resume() -> None:
    assert resumed([], []) == []


def test_changes_on_resume_are_told_as_old_and_new() -> None:
    new = [
        "optimizer.learning_rate=1e-4",
        "data.num_workers=2",
        "optimizer.gradient_clip=null",
        "trainer.compile=true",
    ]
    assert resumed([], new) == [
        ("data.num_workers: 8 -> 2", False),
        ("optimizer.learning_rate: 4e-05 -> 0.0001", False),
        ("optimizer.gradient_clip: 1.0 -> null", False),
        ("trainer.compile: false -> true", False),
    ]


@pytest.mark.parametrize(
    ("word", "change"),
    [
        ("seed=1", "seed: 0 -> 1"),
        ("data.enable_segment=false", "data.enable_segment: true -> false"),
        ("data.num_lanes=32", "data.num_lanes: 64 -> 32"),
        ("policy.batch_norm=frozen", "policy.batch_norm: per_rank -> frozen"),
        ("trainer.memory=reset", "trainer.memory: carry -> reset"),
        ("ema.enabled=false", "ema.enabled: true -> false"),
    ],
)
def test_what_would_make_it_another_run_is_refused_on_resume(word: str, change: str) -> None:
    assert (change, True) in resumed([], [word])


def test_objectives_are_compared_part_by_part_on_resume() -> None:
    base = ["objectives=[{name: behavior_cloning, reduction: mean, weight: 1.0}]"]
    assert resumed(base, [*base, "objectives.0.weight=2.0", "objectives.0.reduction=sum"]) == [
        ("objectives.0.weight: 1.0 -> 2.0", False),
        ("objectives.0.reduction: mean -> sum", True),
    ]


def test_settings_that_the_checkpoint_does_not_know_count_as_their_defaults() -> None:
    config = resolve_lanes(load_config("rocket1"), 8)
    saved = config.model_dump()
    del saved["trainer"]["compile"], saved["seed"]
    saved["gone"] = 3
    assert changes_on_resume(saved, config) == []


def test_number_of_gpus_and_all_that_says_where_or_how_fast_is_free() -> None:
    new = ["trainer.devices=1", "run_dir=elsewhere", "data.num_workers=1", "trainer.save_every=7", "log_freq=1"]
    saved = resolve_lanes(load_config("rocket1"), 8).model_dump()
    found = changes_on_resume(saved, resolve_lanes(load_config("rocket1", new), 1))
    assert [str(one) for one in found] == [
        "run_dir: runs/rocket1 -> elsewhere",
        "log_freq: 20 -> 1",
        "data.batch_size: 8 -> 64",
        "data.num_workers: 8 -> 1",
        "trainer.devices: 8 -> 1",
        "trainer.save_every: 2000 -> 7",
    ]


def test_history_keeps_each_change_once_and_the_record_is_todays(tmp_path: Path) -> None:
    rate, warmup = Change("rate", 0.1, 0.2, False), Change("objectives", [{"name": "a"}], None, False)
    for step, changes, date in ((5, [rate], "monday"), (5, [rate], "tuesday"), (9, [rate, warmup], "friday")):
        write_record(tmp_path, load_config("demo", [f"seed={step}", "data.datasets=[]"]), changes, step, date)
    assert read_history(tmp_path) == [
        {"step": 5, "date": "monday", "key": "rate", "old": 0.1, "new": 0.2},
        {"step": 9, "date": "friday", "key": "rate", "old": 0.1, "new": 0.2},
        {"step": 9, "date": "friday", "key": "objectives", "old": [{"name": "a"}], "new": None},
    ]
    assert load_config(str(tmp_path / "config.yaml")).seed == 9


def test_record_that_was_edited_or_lost_gets_one_line(tmp_path: Path) -> None:
    path, config = tmp_path / "config.yaml", load_config("demo", ["data.datasets=[]"])
    assert notes_on_record(tmp_path, [], config) == [
        f"{path}: missing, so it is written again; the checkpoint tells the settings until now."
    ]
    path.write_text("seed: [")
    assert notes_on_record(tmp_path, [], config) == [
        f"{path}: not readable, so it is written again; the checkpoint tells the settings until now."
    ]
    write_record(tmp_path, config, [], 0, "monday")
    assert notes_on_record(tmp_path, [], config) == []
    edited = (
        path.read_text().replace("weight_decay: 0.001", "weight_decay: 0.1").replace("log_freq: 10", "log_freq: 2")
    )
    path.write_text(edited)
    (line,) = notes_on_record(tmp_path, [Change("log_freq", 1, 10, False)], config)
    assert line == (
        f"{path}: is a record that no run reads: optimizer.weight_decay is 0.1 there and 0.001 in this run. "
        "To change the run, add optimizer.weight_decay=0.1"
    )
