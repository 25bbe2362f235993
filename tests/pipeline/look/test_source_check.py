"""Comparing a dataset with its recordings: a shift by one frame, or by one line, does not stay hidden."""

import json

import pytest
from typer.testing import CliRunner

from pipeline.build.job import build_shards
from pipeline.cli import app
from pipeline.settings import BuildSettings
from tests.pipeline.inline_engine import InlineEngine
from tests.pipeline.recordings import (
    TINY,
    TINY_SETTINGS,
    TinyRecording,
    coded_frames,
    log_line,
    write_recording,
    write_session,
    write_video,
)


def verify(dataset, *sources):
    """The exit status, and the record that the command prints."""
    words = [word for source in sources for word in ("--sources", str(source))]
    done = CliRunner().invoke(app, ["verify", str(dataset), "--workers", "1", "--json", *words])
    return done.exit_code, json.loads(done.stdout)


def faults(record):
    return [(fault["clip"], fault["problem"]) for fault in record["sources"]["faults"]]


@pytest.fixture
def sources(tmp_path):
    """Two sessions of recordings; with no-ops, a menu and interactions."""
    write_session(tmp_path / "in")
    return tmp_path / "in"


def test_a_dataset_agrees_with_its_recordings(sources, tmp_path):
    build_shards([sources], tmp_path / "out", TINY, InlineEngine())
    status, record = verify(tmp_path / "out", sources)
    assert status == 0
    counts = record["sources"]
    assert (counts["num_actions"], counts["faults"]) == (163, [])
    assert counts["num_pictures"] > 80
    assert counts["num_moving"] == counts["num_right"] == counts["num_pictures"]


def test_the_verdict_is_printed(sources, tmp_path):
    build_shards([sources], tmp_path / "out", TINY, InlineEngine())
    done = CliRunner().invoke(app, ["verify", str(tmp_path / "out"), "--workers", "2", "--sources", str(sources)])
    assert done.exit_code == 0
    line = done.stdout.splitlines()[1]
    assert line.startswith("Against the recordings: actions of 163 frames compared; ")
    assert line.endswith(" are nearest to the source frame of their own number: no fault")


@pytest.mark.parametrize("shift", [-1, 1])
def test_pictures_that_are_shifted_by_one_frame_are_found(tmp_path, shift):
    recording = TinyRecording(1, 60)
    video = write_recording(tmp_path / "in", recording)
    write_recording(tmp_path / "shifted", recording)
    write_video(tmp_path / "shifted" / video.name, coded_frames(1, 62)[1 + shift : 61 + shift])
    write_video(video, coded_frames(1, 62)[1:61])
    build_shards([tmp_path / "shifted"], tmp_path / "out", TINY, InlineEngine())
    assert verify(tmp_path / "out")[0] == 0  # nothing in the dataset itself is wrong
    status, record = verify(tmp_path / "out", tmp_path / "in")
    assert status == 1
    assert [clip for clip, _ in faults(record)] == [0, 1, 2, 3]
    assert all("nearer to another source frame than to its own" in problem for _, problem in faults(record))
    assert record["sources"]["num_right"] < record["sources"]["num_moving"] / 4


def test_actions_that_are_shifted_by_one_line_are_found(tmp_path):
    recording = TinyRecording(1, 60)
    write_recording(tmp_path / "in", recording)
    lines = {frame: json.dumps(log_line(recording, frame - 1) | {"tick": frame}) for frame in range(30, 60)}
    write_recording(tmp_path / "shifted", TinyRecording(1, 60, lines=lines))
    build_shards([tmp_path / "shifted"], tmp_path / "out", TINY, InlineEngine())
    status, record = verify(tmp_path / "out", tmp_path / "in")
    assert status == 1
    problem = "frames have other actions than the log, the first is source frame"
    assert [(clip, text.partition(": ")[2]) for clip, text in faults(record)] == [
        (1, f"2 {problem} 30"),
        (2, f"16 {problem} 32"),
        (3, f"12 {problem} 48"),
    ]


def test_a_recording_that_the_sources_lack_is_named(sources, tmp_path):
    build_shards([sources], tmp_path / "out", TINY, InlineEngine())
    for path in sources.glob("other-red-owl*"):
        path.unlink()
    status, record = verify(tmp_path / "out", sources)
    assert status == 1
    [(_, problem)] = faults(record)
    assert problem.startswith("recording other-red-owl")
    assert problem.endswith("is not among the sources, or cannot be used")


def test_a_dataset_of_a_reduced_rate_agrees_with_its_recordings(tmp_path):
    write_recording(tmp_path / "in", TinyRecording(1, 90, frames_per_second=60))
    settings = BuildSettings(**{**TINY_SETTINGS, "reduce_rate": True})
    build_shards([tmp_path / "in"], tmp_path / "out", settings, InlineEngine())
    status, record = verify(tmp_path / "out", tmp_path / "in")
    assert (status, record["sources"]["num_actions"], faults(record)) == (0, 30, [])
