"""metrics.csv grows by rows and columns, and forgets what a crash undid."""

import csv
from pathlib import Path

from trainer.callbacks.csv_logger import MetricsCsv
from trainer.look.run_folder import read_metrics


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return [{name: value for name, value in row.items() if value} for row in csv.DictReader(file)]


def test_rows_stand_in_the_file_at_once(tmp_path: Path) -> None:
    log = MetricsCsv(tmp_path / "run" / "metrics.csv")
    log.log_metrics({"train/loss": 1.5}, step=1)
    assert read(log.path) == [{"step": "1", "train/loss": "1.5"}]
    log.log_metrics({"train/loss": 1.25}, step=2)
    assert read(log.path) == [{"step": "1", "train/loss": "1.5"}, {"step": "2", "train/loss": "1.25"}]


def test_first_columns_are_the_promised_ones(tmp_path: Path) -> None:
    log = MetricsCsv(tmp_path / "metrics.csv")
    log.log_metrics({"train/entropy": 1.0}, step=1)
    assert log.path.read_text().splitlines()[0] == "step,epoch,train/loss,val/loss,train/entropy"


def test_figures_of_one_step_share_a_row(tmp_path: Path) -> None:
    log = MetricsCsv(tmp_path / "metrics.csv")
    log.log_metrics({"train/loss": 1.0}, step=1)
    log.log_metrics({"train/loss": 2.0}, step=2)
    log.log_metrics({"val/loss": 3.0, "val/new": 4.0}, step=2)
    log.log_metrics({"train/loss": 5.0}, step=3)
    assert read(log.path) == [
        {"step": "1", "train/loss": "1.0"},
        {"step": "2", "train/loss": "2.0", "val/loss": "3.0", "val/new": "4.0"},
        {"step": "3", "train/loss": "5.0"},
    ]


def test_numbers_keep_all_their_digits(tmp_path: Path) -> None:
    log = MetricsCsv(tmp_path / "metrics.csv")
    log.log_metrics({"train/loss": 0.1 + 0.2}, step=1)
    assert read_metrics(log.path) == [{"step": 1.0, "train/loss": 0.30000000000000004}]


def test_resumed_log_drops_rows_behind_the_checkpoint_and_adds_to_its_row(tmp_path: Path) -> None:
    log = MetricsCsv(tmp_path / "metrics.csv")
    for step in range(1, 6):
        log.log_metrics({"train/loss": float(step)}, step=step)
    with log.path.open("a") as file:
        file.write("6,0,half a li")  # a write that a crash cut off
    again = MetricsCsv(log.path, resume_step=3)
    again.log_metrics({"val/loss": 9.0}, step=3)
    again.log_metrics({"train/loss": 40.0}, step=4)
    assert read(log.path) == [
        {"step": "1", "train/loss": "1.0"},
        {"step": "2", "train/loss": "2.0"},
        {"step": "3", "train/loss": "3.0", "val/loss": "9.0"},
        {"step": "4", "train/loss": "40.0"},
    ]


def test_new_run_starts_an_empty_file(tmp_path: Path) -> None:
    MetricsCsv(tmp_path / "metrics.csv").log_metrics({"train/loss": 1.0}, step=7)
    log = MetricsCsv(tmp_path / "metrics.csv")
    log.log_metrics({"train/loss": 2.0}, step=1)
    assert read(log.path) == [{"step": "1", "train/loss": "2.0"}]
