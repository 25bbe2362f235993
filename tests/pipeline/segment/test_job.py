"""Runs of segment: the same files whatever interrupts them, shares, refusals, and what the last lines say."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.cli import main
from pipeline.segment.choice import TrackerChoice
from pipeline.segment.job import SegmentReport, segment_recordings
from pipeline.segment.summary import summary_lines
from shards.errors import RocketError
from shards.reader import open_dataset
from tests.pipeline.inline_engine import InlineEngine
from tests.pipeline.segment.conftest import COLOUR
from tests.pipeline.segment.painted import HOTBAR_WORDS, SETTINGS

ROOT = Path(__file__).resolve().parents[3]
MODULE = "tests.pipeline.segment.painted:ColourTracker"
WAIT_SECONDS = 120.0


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.masks.jsonl"))}


def test_killed_run_goes_on_to_the_same_files(sample: Path, segmented: SegmentReport, tmp_path: Path) -> None:
    out = tmp_path / "masks"
    command = [sys.executable, "-c", "from pipeline.cli import main; main()", "segment", str(sample)]
    command += ["--out", str(out), "--tracker", MODULE, "--model", "colour", "--workers", "2", *HOTBAR_WORDS]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + WAIT_SECONDS
    while not contents(out) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait(WAIT_SECONDS)
    num_before = len(contents(out))
    assert num_before >= 1
    again = subprocess.run(
        [*command, "--resume"], env=environment, capture_output=True, text=True, timeout=WAIT_SECONDS, check=False
    )
    assert again.returncode == 0, again.stderr
    num_recordings = segmented.num_recordings
    assert f"masks of {num_recordings} recordings, {num_recordings - num_before} of them made now" in again.stdout
    assert contents(out) == contents(segmented.out)
    assert sorted(path.name for path in out.iterdir()) == [*contents(out), "segment.json"]


def test_share_makes_its_files_of_the_whole_run(sample: Path, segmented: SegmentReport, tmp_path: Path) -> None:
    report = segment_recordings([sample], tmp_path, SETTINGS, COLOUR, InlineEngine(), only=(1, 4))
    assert report.num_made == 1
    missing = segmented.num_recordings - 1
    assert f"{missing} recordings without masks yet: run the other shares, or --resume." in summary_lines(
        report, [sample]
    )
    whole = contents(segmented.out)
    assert contents(tmp_path) == {name: whole[name] for name in sorted(whole)[1:2]}


def test_files_say_what_made_them_and_build_shards_takes_them(
    sample: Path, segmented: SegmentReport, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = next(iter(sorted(segmented.out.glob("*.masks.jsonl"))))
    header = json.loads(path.read_text(encoding="utf-8").splitlines()[0])
    assert {key: header[key] for key in ("tracker", "model", "revision", "device", "recording")} == {
        "tracker": MODULE,
        "model": "colour",
        "revision": "",
        "device": "cpu",
        "recording": path.name.removesuffix(".masks.jsonl"),
    }
    assert header["settings"]["hotbar"] == {"first_x": 199.0, "y": 315.0, "pitch": 30.0}
    assert header["made_with"].startswith("rocket-prep ")
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()[1:]]
    assert sum(header["found"].values()) == len(lines)
    assert sum(len(line["frames"]) for line in lines) == header["mask_frames"]

    main_ends(["build-shards", str(sample), str(segmented.out), "--out", str(tmp_path / "data"), "--workers", "1"])
    assert "missing_masks" not in capsys.readouterr().out
    dataset = open_dataset(str(tmp_path / "data"))
    events = {
        interaction.event
        for episode in range(len(dataset.episodes.ids))
        for row in dataset.clip_rows(episode)
        for interaction in dataset.read_clip(episode, row).info.interactions.values()
    }
    assert "custom:bell_ring" in events  # the true masks say minecraft.custom:minecraft.bell_ring
    assert not any("landmark" in event or "minecraft." in event for event in events)


def main_ends(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code in (0, None)


def test_folder_of_another_run_is_refused(sample: Path, segmented: SegmentReport, tmp_path: Path) -> None:
    out = segmented.out
    with pytest.raises(RocketError, match=r"holds masks already, expected an empty folder\. Go on with --resume"):
        segment_recordings([sample], out, SETTINGS, COLOUR, InlineEngine())
    other = SETTINGS.model_copy(update={"min_frames": 4})
    with pytest.raises(RocketError, match=r"cannot be continued, setting min_frames is 4 now, expected 1 as"):
        segment_recordings([sample], out, other, COLOUR, InlineEngine(), resume=True)
    (tmp_path / "letters.txt").write_text("dear")
    with pytest.raises(RocketError, match=r"not empty and not made by segment\. Choose another --out"):
        segment_recordings([sample], tmp_path, SETTINGS, COLOUR, InlineEngine())


def test_recordings_that_cannot_be_read_are_counted_and_tried_again(sample: Path, tmp_path: Path) -> None:
    source, out = tmp_path / "source", tmp_path / "masks"
    source.mkdir()
    logs = sorted(sample.rglob("*.jsonl"))[:2]
    for log, video in zip(logs, (b"no video", None), strict=True):
        (source / log.name).write_bytes(log.read_bytes())
        bytes_of = log.with_suffix(".mp4").read_bytes() if video is None else video
        (source / log.with_suffix(".mp4").name).write_bytes(bytes_of)
    report = segment_recordings([source], out, SETTINGS, COLOUR, InlineEngine())
    assert report.problems == {"video_unreadable": 1}
    assert report.num_made == 2
    lines = summary_lines(report, [source])
    assert any(line.startswith("  1 video_unreadable: the video cannot be opened") for line in lines)
    broken = source / logs[0].with_suffix(".mp4").name
    broken.write_bytes(logs[0].with_suffix(".mp4").read_bytes())
    again = segment_recordings([source], out, SETTINGS, COLOUR, InlineEngine(), resume=True)
    assert (again.num_made, again.problems) == (1, {})


def test_tracker_that_does_not_load_ends_the_run_in_one_line(
    sample: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["segment", str(sample), "--out", str(tmp_path / "a"), "--tracker", "nowhere:Tracker"])
    assert ended.value.code == 1
    assert "--tracker: 'nowhere:Tracker' cannot be loaded" in capsys.readouterr().err
    assert not (tmp_path / "a").exists()
    choice = TrackerChoice("pipeline.segment.sam2:Sam2Tracker", str(tmp_path), "cpu")
    with pytest.raises(RocketError, match=r"--model: .* cannot be loaded"):
        segment_recordings([sample], tmp_path / "b", SETTINGS, choice, InlineEngine(), only=(0, 4))
