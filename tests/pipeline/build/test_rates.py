"""Videos of 40 and 60 frames per second: one frame in two or three, with the actions of all."""

import json

import numpy as np
import pytest

from pipeline.build.job import build_shards
from pipeline.settings import BuildSettings
from shards.action_space import ACTION_SPACE
from shards.errors import RocketError
from shards.reader import open_dataset
from shards.video import decode_yuv
from tests.pipeline.inline_engine import InlineEngine
from tests.pipeline.recordings import TINY_SETTINGS, TinyRecording, coded_frames, log_line, read_code, write_video

REDUCED = BuildSettings(**{**TINY_SETTINGS, "reduce_rate": True, "noops": "keep"})


def build(source, out, settings=REDUCED):
    return build_shards([source], out, settings, InlineEngine())


def write_pair(folder, rate, num_frames, lines, ending="mp4"):
    folder.mkdir()
    write_video(folder / "a.mp4", coded_frames(1, num_frames), frames_per_second=rate)
    (folder / "a.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def pressed(arrays):
    """By frame, the names of the buttons that are down."""
    return [{ACTION_SPACE.buttons[column] for column in np.flatnonzero(row)} for row in arrays.buttons]


@pytest.mark.parametrize("every", [2, 3])
def test_one_frame_in_two_or_three_gets_the_actions_of_all(tmp_path, every):
    num_frames = 12 * every
    lines = [{"camera": [0.25 * frame, -1.0]} for frame in range(num_frames)]
    lines[3 * every + 1]["attack"] = 1  # a click between two frames that are taken
    lines[5 * every]["use"] = lines[5 * every + every - 1]["jump"] = 1
    write_pair(tmp_path / "in", 20 * every, num_frames, lines)
    report = build(tmp_path / "in", tmp_path / "out")
    dataset = open_dataset(tmp_path / "out")
    clip = dataset.read_clip(0, dataset.clip_rows(0)[0])
    arrays = clip.arrays
    assert arrays.source_frame.tolist() == list(range(0, num_frames, every))
    shown = [read_code(frame)[1] for frame in decode_yuv(clip.video, 0, 12)]
    assert shown == list(range(0, num_frames, every))
    sums = [sum(0.25 * (every * k + i) for i in range(every)) for k in range(12)]
    np.testing.assert_allclose(arrays.camera[:, 0], sums)
    np.testing.assert_allclose(arrays.camera[:, 1], -float(every))
    assert pressed(arrays) == [{3: {"attack"}, 5: {"use", "jump"}}.get(k, set()) for k in range(12)]
    assert [(row["reason"], row["num_frames"]) for row in report.rejected] == [("reduced_rate", 12 * (every - 1))]


def test_turns_of_the_wheel_and_clicks_of_a_recorder_are_kept(tmp_path):
    recording = TinyRecording(1, 60, frames_per_second=60, stem="a")
    lines = [log_line(recording, frame) for frame in range(60)]
    for frame, line in enumerate(lines):
        line["hotbar"] = 0 if frame < 10 else 4 if frame < 32 else 7
    lines[22]["mouse"]["buttons"] = lines[22]["mouse"]["newButtons"] = [1]
    write_pair(tmp_path / "in", 60, 60, lines)
    build(tmp_path / "in", tmp_path / "out")
    dataset = open_dataset(tmp_path / "out")
    arrays = [dataset.read_clip(0, row).arrays for row in dataset.clip_rows(0)]
    found = [buttons - {"forward"} for part in arrays for buttons in pressed(part)]
    assert found == [{3: {"hotbar.5"}, 7: {"use"}, 10: {"hotbar.8"}}.get(k, set()) for k in range(20)]


def test_a_movement_there_and_back_between_two_frames_is_a_no_op(tmp_path):
    lines = [
        {"camera": [1.0 if frame % 3 == 0 else -0.5, 0.0] if frame < 30 else [1.0, 0.0]} for frame in range(60)
    ]
    write_pair(tmp_path / "in", 60, 60, lines)
    build(tmp_path / "in", tmp_path / "out", REDUCED.model_copy(update={"noops": "drop"}))
    dataset = open_dataset(tmp_path / "out")
    frames = [dataset.read_clip(0, row).arrays.source_frame for row in dataset.clip_rows(0)]
    assert np.concatenate(frames).tolist() == list(range(30, 60, 3))


@pytest.mark.parametrize(("rate", "every"), [(40, 2), (60, 3)])
def test_a_fast_video_is_refused_with_the_setting_that_takes_it(tmp_path, rate, every):
    write_pair(tmp_path / "in", rate, 60, [{"camera": [0, 0]}] * 60)
    message = f"has {rate} frames per second, expected 20.*reduce_rate=true: one frame in {every} is taken"
    with pytest.raises(RocketError, match=message):
        build(tmp_path / "in", tmp_path / "out", BuildSettings(**TINY_SETTINGS))


def test_a_log_at_another_rate_than_its_fast_video_is_refused(tmp_path):
    write_pair(tmp_path / "in", 60, 60, [{"camera": [1, 0]}] * 20)
    with pytest.raises(RocketError, match="the log has not the video's rate"):
        build(tmp_path / "in", tmp_path / "out")
