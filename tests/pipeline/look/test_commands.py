"""The commands as a user types them: in a narrow terminal, in a pipe, without colours, with bad input."""

import json
import os
import re
import subprocess
import sys

import pytest

PROGRAM = (sys.executable, "-m", "pipeline.cli")


def _run(*arguments, **environment):
    return subprocess.run(
        [*PROGRAM, *map(str, arguments)],
        capture_output=True,
        timeout=120,
        check=False,
        env={**os.environ, "COLUMNS": "60", **environment},
    )


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


def test_verify_exits_1_where_there_is_a_fault(small_dataset, tmp_path):
    for path in small_dataset.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    assert _run("verify", tmp_path, "--workers", "1").returncode == 0
    (tmp_path / "000001.tar").write_bytes(b"")
    run = _run("verify", tmp_path, "--workers", "1", "--json")
    assert run.returncode == 1
    assert {fault["shard"] for fault in json.loads(run.stdout)["faults"]} == {"000001.tar"}


def test_commands_write_what_they_promise(small_dataset, tmp_path):
    plan = _run("plan", small_dataset, "--lanes", 4, "--ranks", 2, "--window", 16, "--out", tmp_path / "lanes.png")
    assert plan.returncode == 0, plan.stderr
    sheet = _run("preview", small_dataset, "--episode", "ep003", "--out", tmp_path / "sheet.jpg")
    assert sheet.stdout.decode() == f"Wrote {tmp_path / 'sheet.jpg'}: 24 frames\n"
    lane = ("--lane", 1, "--lanes", 4, "--ranks", 2, "--window", 16, "--steps", "0:2")
    film = _run("preview", small_dataset, *lane, "--out", tmp_path / "lane.mp4")
    assert film.returncode == 0, film.stderr
    player = _run("preview", small_dataset, *lane, "--out", tmp_path / "lane.html")
    # How many frames two windows of 16 have depends on the order of episodes, which the dataset's bytes draw.
    said = re.fullmatch(rf"Wrote {tmp_path / 'lane.html'}: (\d+) frames\n", player.stdout.decode())
    assert said is not None
    assert 2 <= int(said[1]) <= 32
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["lane.html", "lane.mp4", "lanes.png", "sheet.jpg"]
