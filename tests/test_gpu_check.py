"""The GPU check: its parts that a CPU can do, and a table that no failing check hides."""

import os
import signal
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from benchmarks.gpu_check.__main__ import make_bench, make_page
from benchmarks.gpu_check.bench import Bench, Check, Found
from benchmarks.gpu_check.processes import run_checks


def test_parts_that_a_cpu_can_do_are_good(tmp_path) -> None:
    rows = list(run_checks(make_bench("cpu", tmp_path)))
    assert [(row.check.name, row.result, row.found) for row in rows if row.result != "ok"] == [
        ("peak memory", "not run", "no GPU"),
        ("NVDEC", "not run", "torchcodec is not installed"),
        ("compiled layers", "not run", "no GPU"),
    ]
    assert len(rows) == 12
    page = make_page(rows, "cpu", datetime(2026, 11, 25, tzinfo=UTC), 0.0)
    assert " batches equal to the bit, without pinning: no GPU |" in page
    assert "no GPU was used, nothing here is measured on one" in page


def good(bench: Bench) -> Found:
    return Found("as it should be")


def bad(bench: Bench) -> Found:
    return Found("off by one", good=False)


def raising(bench: Bench) -> Found:
    raise ValueError("no such thing\nand more")


def crashing(bench: Bench) -> Found:
    os.kill(os.getpid(), signal.SIGSEGV)
    raise AssertionError


def hanging(bench: Bench) -> Found:
    time.sleep(1000)
    raise AssertionError


@pytest.mark.parametrize(
    ("seconds", "checks", "expected"),
    [
        (
            250,
            (bad, raising, crashing, good),
            [
                ("bad", "FAIL", "off by one"),
                ("raising", "FAIL", "ValueError: no such thing"),
                ("crashing", "FAIL", "its process ended: killed by SIGSEGV"),
                ("good", "ok", "as it should be"),
            ],
        ),
        (
            0.5,
            (hanging, good),
            [
                ("hanging", "FAIL", "not done in the 0 s that were left"),
                ("good", "not run", "the 0 s for all checks were over"),
            ],
        ),
    ],
)
def test_check_that_fails_costs_its_own_row(tmp_path, capfd, seconds, checks, expected) -> None:
    bench = Bench("cpu", Path("none"), tmp_path, (), (), 1, 1)
    rows = list(run_checks(bench, tuple(Check(check.__name__, "", check) for check in checks), seconds))
    assert [(row.check.name, row.result, row.found) for row in rows] == expected
    assert ("Traceback" in capfd.readouterr().err) == (raising in checks)
