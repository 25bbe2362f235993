"""`compat: minestudio` repeats MineStudio's choices: what it joins, what it loses, what it cuts off."""

import json
from datetime import datetime

import pytest

from pipeline.build.job import build_shards
from shards.reader import open_dataset
from tests.pipeline.inline_engine import InlineEngine
from tests.pipeline.recordings import TINY, TinyRecording, log_line, write_recording

SIZE = (640, 360)
COMPAT = TINY.model_copy(update={"compat": "minestudio"})


def recording(number, time, num_frames, **rest):
    start = datetime.fromisoformat(f"2021-12-31T{time}")
    return TinyRecording(number, num_frames, start=start, size=SIZE, **rest)


def build(tmp_path, *recordings, settings=COMPAT):
    for item in recordings:
        write_recording(tmp_path / "in", item)
    return build_shards([tmp_path / "in"], tmp_path / "out", settings, InlineEngine())


def episodes(out):
    """Episode id -> (number of frames, names of its recordings)."""
    opened = open_dataset(out)
    rows = [opened.episode_row(episode) for episode in range(len(opened.episodes))]
    return {row.episode_id: (row.num_frames, [r.name for r in row.recordings]) for row in rows}


def test_compat_drops_what_is_left_over_of_32_frames(tmp_path):
    first, second = recording(1, "10:00:00", 50), recording(2, "10:00:30", 30)
    report = build(tmp_path, first, second)
    assert episodes(tmp_path / "out") == {first.name: (64, [first.name, second.name])}
    assert report.info.counts["num_frames"] == 64
    opened = open_dataset(tmp_path / "out")
    last = opened.read_clip(0, opened.clip_rows(0)[-1])
    assert last.arrays.source_frame[-1] == 13  # 50 + 14


def test_compat_cuts_at_full_hours_and_joins_over_nine_minutes(tmp_path):
    """HHMMSS are read as decimal numbers: 10:58:00 to 11:00:00 is 4200, 11:00:00 to 11:09:00 is 900."""
    before, after, later = (recording(i, time, 32) for i, time in enumerate(("10:58:00", "11:00:00", "11:09:00")))
    build(tmp_path, before, after, later)
    assert episodes(tmp_path / "out") == {
        before.name: (32, [before.name]),
        after.name: (64, [after.name, later.name]),
    }


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"lines": {20: "{broken"}}, "broken_line"),
        ({"num_video_frames": 45}, "minestudio_rule"),
        ({"num_video_frames": 39}, "minestudio_rule"),
        ({"frames_per_second": "1999/100"}, "minestudio_rule"),
        ({"hotbar_missing": True}, "minestudio_rule"),
    ],
)
def test_compat_loses_a_recording_with_anything_wrong_and_keeps_its_neighbours(tmp_path, changes, reason):
    good = recording(1, "10:00:00", 40)
    if changes.pop("hotbar_missing", False):
        line = log_line(recording(2, "10:01:00", 40), 7)
        del line["hotbar"]
        changes["lines"] = {7: json.dumps(line)}
    bad = recording(2, "10:01:00", 40, **changes)
    report = build(tmp_path, good, bad)
    assert [(row["recording"], row["reason"], row["first_frame"]) for row in report.rejected] == [
        (good.name, "minestudio_rule", 32),  # what is left over of whole chunks
        (bad.name, reason, 0),
    ]
    assert episodes(tmp_path / "out") == {good.name: (32, [good.name])}


def test_compat_accepts_one_frame_more_than_lines(tmp_path):
    item = recording(1, "10:00:00", 32, num_video_frames=33)
    assert build(tmp_path, item).rejected == []
    assert episodes(tmp_path / "out") == {item.name: (32, [item.name])}


def test_without_compat_the_same_recordings_lose_nothing(tmp_path):
    first, second = recording(1, "10:58:00", 50), recording(2, "10:58:03", 30, first_server_tick=50)
    report = build(tmp_path, first, second, settings=TINY)
    assert report.rejected == []
    assert episodes(tmp_path / "out") == {first.name: (80, [first.name, second.name])}
