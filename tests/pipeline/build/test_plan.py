"""The plan of a build: groups and shards from names, logs and headers alone."""

import pytest

from pipeline.build.plan import make_plan
from pipeline.settings import BuildSettings
from pipeline.sources import find_recordings
from tests.pipeline.recordings import TINY, TINY_SETTINGS, TinyRecording, write_recording


@pytest.fixture(scope="module")
def five(tmp_path_factory):
    """Sessions a (20 + 30 frames, then a hole of a minute, 25) and b (10), c (70)."""
    folder = tmp_path_factory.mktemp("five")
    a1 = TinyRecording(1, 20, alias="a")
    a2 = a1.after(2, 30)
    a3 = a2.after(3, 25, hole_seconds=60)
    b, c = TinyRecording(4, 10, alias="b"), TinyRecording(5, 70, alias="c")
    for recording in (a1, a2, a3, b, c):
        write_recording(folder, recording)
    return folder, (a1, a2, a3, b, c)


def names_of(plan):
    return [[planned.recording.name for planned in group.recordings] for group in plan.groups]


def test_plan_cuts_sessions_at_long_holes(five):
    folder, (a1, a2, a3, b, c) = five
    plan = make_plan(find_recordings([folder]), TINY)
    assert names_of(plan) == [[a1.name, a2.name], [a3.name], [b.name], [c.name]]
    assert [group.num_frames for group in plan.groups] == [50, 25, 10, 70]


def test_plan_joins_over_holes_that_the_setting_allows(five):
    folder, (a1, a2, a3, b, c) = five
    plan = make_plan(find_recordings([folder]), BuildSettings(**TINY_SETTINGS, max_hole_seconds=90))
    assert names_of(plan) == [[a1.name, a2.name, a3.name], [b.name], [c.name]]


@pytest.mark.parametrize(
    ("shard_frames", "expected"),
    [
        (1, [0, 1, 2, 3]),
        (50, [0, 1, 1, 2]),  # 50 | 25 + 10 | 70, which alone is too much
        (75, [0, 0, 1, 2]),
        (85, [0, 0, 0, 1]),
        (1000, [0, 0, 0, 0]),
    ],
)
def test_plan_fills_shards_with_whole_groups_in_order(five, shard_frames, expected):
    settings = TINY.model_copy(update={"shard_frames": shard_frames})
    plan = make_plan(find_recordings([five[0]]), settings)
    assert [group.shard for group in plan.groups] == expected
    assert len(plan.shards) == expected[-1] + 1


def test_plan_stamps_change_with_the_files(five, tmp_path):
    recording = TinyRecording(4, 10, alias="b")
    video = write_recording(tmp_path, recording)
    plan = make_plan(find_recordings([tmp_path]), TINY)
    [again] = [
        g for g in make_plan(find_recordings([five[0]]), TINY).groups if "b-" in g.recordings[0].recording.name
    ]
    assert plan.groups[0].recordings[0].stamp == again.recordings[0].stamp
    with open(video, "r+b") as file:
        file.seek(100)
        file.write(b"changed")
    changed = make_plan(find_recordings([tmp_path]), TINY)
    assert changed.groups[0].recordings[0].stamp != plan.groups[0].recordings[0].stamp


def test_plan_leaves_out_what_cannot_be_opened_and_keeps_the_rest(five, tmp_path):
    good, bad = TinyRecording(1, 10, alias="good"), TinyRecording(2, 10, alias="bad")
    write_recording(tmp_path, good)
    write_recording(tmp_path, bad).write_bytes(b"no video")
    looked_at = []
    plan = make_plan(find_recordings([tmp_path]), TINY, looked_at.append)
    assert names_of(plan) == [[good.name]]
    assert [(r.recording, r.reason, r.num_frames) for r in plan.rejections] == [(bad.name, "video_unreadable", 10)]
    assert sum(looked_at) == 2


def test_plan_like_minestudio_drops_the_episode_of_a_frame_size_that_it_does_not_know(five):
    settings = TINY.model_copy(update={"compat": "minestudio"})
    plan = make_plan(find_recordings([five[0]]), settings)
    assert plan.groups == ()
    assert {rejection.reason for rejection in plan.rejections} == {"minestudio_rule"}
    assert "is not 640x360, which empties MineStudio's whole episode" in plan.rejections[0].detail
