"""The commands as a user types them: in a narrow terminal, in a pipe, without colours, with bad input."""

import json
import os
import re
import subprocess
import sys

import pytest

from pipeline.cli import main

PROGRAM = (sys.executable, "-m", "pipeline.cli")


def _run(*arguments, **environment):
    return subprocess.run(
        [*PROGRAM, *map(str, arguments)],
        capture_output=True,
        timeout=120,
        check=False,
        env={**os.environ, "COLUMNS": "60", **environment},
    )


def _said(capsys, *words):
    """The exit status of a command in this process, and what it prints."""
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    return ended.value.code or 0, capsys.readouterr().out


def test_inspect_in_a_narrow_ascii_pipe_is_plain(small_dataset):
    run = _run("inspect", small_dataset, LC_ALL="C", PYTHONIOENCODING="ascii")
    assert run.returncode == 0, run.stderr
    text = run.stdout.decode("ascii")
    assert max(map(len, text.splitlines()[1:])) <= 60
    assert "\x1b" not in text
    assert "7 episodes" in text


def test_inspect_reads_the_manifest_only(small_dataset, tmp_path):
    for path in small_dataset.iterdir():
        if path.suffix != ".tar":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    run = _run("inspect", tmp_path, "--json")
    assert run.returncode == 0, run.stderr
    record = json.loads(run.stdout)
    assert (record["num_episodes"], record["num_frames"]) == (7, 192)


def test_inspect_loads_nothing_heavy():
    """What makes it slow to start: torch and Lightning, charts, decoders, readers of YAML."""
    heavy = {
        "torch",
        "lightning",
        "matplotlib",
        "av",
        "omegaconf",
        "webdataset",
        "PIL",
        "jinja2",
        "pandas",
        "ray",
    }
    code = (
        "import sys, pipeline.cli, shards.reader, pipeline.look.overview_text;"
        f"print(sorted({heavy!r} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert run.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["inspect", "NOWHERE"], 1, "NOWHERE: no such folder, expected a dataset."),
        (["preview", "DATASET", "--out", "x.png"], 2, "give either --episode ID or --lane L"),
        (["report", "DATASET", "--out", "x.pdf"], 1, "x.pdf ends in .pdf, expected .html"),
    ],
)
def test_bad_input_is_one_line(small_dataset, tmp_path, arguments, status, message):
    words = [str(small_dataset) if word == "DATASET" else word for word in arguments]
    run = subprocess.run(
        [*PROGRAM, *words],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.getcwd(), "COLUMNS": "200"},
    )
    assert run.returncode == status
    assert run.stdout == ""
    lines = [line for line in run.stderr.splitlines() if message in line]
    assert len(lines) == 1, run.stderr
    if status == 1:
        assert run.stderr.count("\n") == 1
        assert run.stderr.startswith("error: ")
    assert list(tmp_path.iterdir()) == []


def test_verify_exits_1_where_there_is_a_fault(small_dataset, tmp_path, capsys):
    for path in small_dataset.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    assert _said(capsys, "verify", tmp_path, "--workers", 1)[0] == 0
    (tmp_path / "000001.tar").write_bytes(b"")
    status, printed = _said(capsys, "verify", tmp_path, "--workers", 1, "--json")
    assert status == 1
    assert {fault["shard"] for fault in json.loads(printed)["faults"]} == {"000001.tar"}


def test_commands_write_what_they_promise(small_dataset, tmp_path, capsys):
    lanes = ("--lanes", 4, "--ranks", 2, "--window", 16)
    assert _said(capsys, "plan", small_dataset, *lanes, "--out", tmp_path / "lanes.png")[0] == 0
    sheet = _said(capsys, "preview", small_dataset, "--episode", "ep003", "--out", tmp_path / "sheet.jpg")
    assert sheet == (0, f"Wrote {tmp_path / 'sheet.jpg'}: 24 frames\n")
    lane = ("--lane", 1, *lanes, "--steps", "0:2")
    assert _said(capsys, "preview", small_dataset, *lane, "--out", tmp_path / "lane.mp4")[0] == 0
    status, printed = _said(capsys, "preview", small_dataset, *lane, "--out", tmp_path / "lane.html")
    # How many frames two windows of 16 have depends on the order of episodes, which the dataset's bytes draw.
    said = re.fullmatch(rf"Wrote {tmp_path / 'lane.html'}: (\d+) frames\n", printed)
    assert (status, said is not None) == (0, True)
    assert 2 <= int(said[1]) <= 32
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["lane.html", "lane.mp4", "lanes.png", "sheet.jpg"]


def test_report_shows_the_lanes_that_its_options_ask_for(small_dataset, tmp_path, capsys):
    out = tmp_path / "report.html"
    words = ("--lanes", 6, "--ranks", 3, "--window", 8, "--split-ratio", 0.7)
    assert _said(capsys, "report", small_dataset, *words, "--out", out)[0] == 0
    assert "3 ranks x 2 lanes x 8 frames" in out.read_text(encoding="utf-8")
    assert _said(capsys, "report", small_dataset, "--window", 8, "--out", out)[0] == 0
    assert " x 8 frames" in out.read_text(encoding="utf-8")
    assert _said(capsys, "report", small_dataset, "--ranks", 2, "--out", out)[0] == 2
