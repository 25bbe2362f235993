"""build-shards on damaged input: what is before the damage is used, the rest is listed, nothing else suffers."""

import json

import av
import numpy as np
import pytest

from pipeline.build.job import build_shards
from pipeline.settings import BuildSettings
from pipeline.sources.mask_files import MaskWriter
from shards.errors import RocketError
from shards.reader import open_dataset
from tests.pipeline.inline_engine import InlineEngine
from tests.pipeline.recordings import (
    TINY,
    TINY_SETTINGS,
    TinyRecording,
    coded_frames,
    file_bytes,
    stored_frames,
    write_recording,
    write_video,
)


def build(source, out, settings=TINY):
    return build_shards([source], out, settings, InlineEngine())


def frames_of(recording, num_frames):
    return [(recording.number, frame, frame, float(frame + 1)) for frame in range(num_frames)]


def account(report):
    return [(row["recording"], row["reason"], row["first_frame"], row["num_frames"]) for row in report.rejected]


def damage_packet(video, index):
    """The bytes of the index-th packet in the file are zeros; returns the frame's place in display order."""
    with av.open(str(video)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    position, size = packets[index].pos, packets[index].size
    data = bytearray(video.read_bytes())
    data[position : position + size] = bytes(size)
    video.write_bytes(data)
    return sorted(packet.pts for packet in packets).index(packets[index].pts)


def test_a_damaged_frame_ends_a_recording_before_it(tmp_path):
    recording = TinyRecording(1, 60)
    video = write_recording(tmp_path / "in", recording)
    damaged = damage_packet(video, 30)
    report = build(tmp_path / "in", tmp_path / "out")
    [(name, reason, first, num_left_out)] = account(report)
    assert (name, reason, first + num_left_out) == (recording.name, "bad_frame", 60)
    # Frames that waited to be put in order when the decoder stopped are lost as well.
    assert damaged - 3 <= first <= damaged
    assert stored_frames(tmp_path / "out") == {recording.name: frames_of(recording, first)}


@pytest.mark.parametrize("num_lost", [1, 5])
def test_a_log_without_its_first_lines_is_not_paired_with_a_video_that_has_their_frames(tmp_path, num_lost):
    recording, other = TinyRecording(1, 40), TinyRecording(2, 30, alias="other-red-owl")
    write_recording(tmp_path / "in", other)
    log = write_recording(tmp_path / "in", recording).with_suffix(".jsonl")
    log.write_text("".join(log.read_text().splitlines(keepends=True)[num_lost:]))
    report = build(tmp_path / "in", tmp_path / "out")
    lost = [row for row in account(report) if row[1] == "counter_jumps"]
    assert lost == [(recording.name, "counter_jumps", 0, 40 - num_lost)]
    assert stored_frames(tmp_path / "out") == {other.name: frames_of(other, 30)}


def test_a_damaged_recording_leaves_its_neighbours_in_their_episode_if_the_hole_is_short(tmp_path):
    first = TinyRecording(1, 60)
    second = first.after(2, 40)
    damage_packet(write_recording(tmp_path / "in", first), 30)
    write_recording(tmp_path / "in", second)
    report = build(tmp_path / "in", tmp_path / "out")
    [(_, _, num_used, _)] = account(report)
    assert stored_frames(tmp_path / "out") == {first.name: frames_of(first, num_used) + frames_of(second, 40)}


def test_a_damaged_recording_ends_its_episode_if_the_hole_is_long(tmp_path):
    first = TinyRecording(1, 60)
    second = first.after(2, 40)
    damage_packet(write_recording(tmp_path / "in", first), 30)
    write_recording(tmp_path / "in", second)
    settings = BuildSettings(**TINY_SETTINGS, max_hole_seconds=2)
    report = build(tmp_path / "in", tmp_path / "out", settings)
    [(_, _, num_used, _)] = account(report)
    assert stored_frames(tmp_path / "out") == {
        first.name: frames_of(first, num_used),
        second.name: frames_of(second, 40),
    }


def test_a_recording_damaged_from_the_start_leaves_a_hole(tmp_path):
    first = TinyRecording(1, 40)
    second = first.after(2, 80)
    third = second.after(3, 40)
    for recording in (first, second, third):
        write_recording(tmp_path / "in", recording)
    damage_packet(tmp_path / "in" / f"{second.name}.mp4", 0)
    settings = BuildSettings(**TINY_SETTINGS, max_hole_seconds=3)
    report = build(tmp_path / "in", tmp_path / "out", settings)
    assert account(report) == [(second.name, "bad_frame", 0, 80)]
    assert stored_frames(tmp_path / "out") == {first.name: frames_of(first, 40), third.name: frames_of(third, 40)}


def test_a_damaged_build_gives_the_same_bytes_again(tmp_path):
    first = TinyRecording(1, 60, interactions=[(2, "mine", 10, 55)])
    damage_packet(write_recording(tmp_path / "in", first), 30)
    for out in ("a", "b"):
        build(tmp_path / "in", tmp_path / out)
    assert file_bytes(tmp_path / "a") == file_bytes(tmp_path / "b")


def test_an_interaction_that_leads_into_the_damage_ends_with_the_episode(tmp_path):
    first = TinyRecording(1, 60, interactions=[(2, "mine", 10, 55)])
    damage_packet(write_recording(tmp_path / "in", first), 30)
    build(tmp_path / "in", tmp_path / "out")
    opened = open_dataset(tmp_path / "out")
    num_frames = int(opened.episodes.num_frames[0])
    assert [(item.start, item.stop) for item in opened.interactions(0)] == [(10, num_frames)]
    infos = [opened.read_clip(0, row).info for row in opened.clip_rows(0)]
    assert [info.interactions[0].stop for info in infos] == [num_frames] * len(infos)


def with_good_neighbour(folder, recording):
    """A good recording of another session, so that there is something to build."""
    other = TinyRecording(9, 24, alias="other-good-cat")
    write_recording(folder, other)
    return other, write_recording(folder, recording)


def test_a_truncated_mp4_without_its_index_costs_only_itself(tmp_path):
    other, video = with_good_neighbour(tmp_path / "in", TinyRecording(1, 60))
    video.write_bytes(video.read_bytes()[: video.stat().st_size // 2])
    report = build(tmp_path / "in", tmp_path / "out")
    assert account(report) == [(TinyRecording(1, 60).name, "video_unreadable", 0, 60)]
    assert report.rejected[0]["path"] == str(video)
    assert report.rejected[0]["remedy"] == "Download the video again."
    assert stored_frames(tmp_path / "out") == {other.name: frames_of(other, 24)}


def test_a_truncated_mp4_with_its_index_in_front_is_used_as_far_as_it_goes(tmp_path):
    recording = TinyRecording(1, 60)
    video = write_recording(tmp_path / "in", recording)
    write_video(video, coded_frames(1, 60), extra=("-movflags", "+faststart"))
    video.write_bytes(video.read_bytes()[:-600])
    report = build(tmp_path / "in", tmp_path / "out")
    [(name, reason, first, num_left_out)] = account(report)
    assert (name, first + num_left_out) == (recording.name, 60)
    assert reason in {"bad_frame", "lengths_differ"}
    assert 10 < first < 60
    assert stored_frames(tmp_path / "out") == {recording.name: frames_of(recording, first)}


@pytest.mark.parametrize("content", [b"", b"not a video", bytes(5000)])
def test_a_file_that_is_no_video_costs_only_itself(tmp_path, content):
    other, video = with_good_neighbour(tmp_path / "in", TinyRecording(1, 60))
    video.write_bytes(content)
    report = build(tmp_path / "in", tmp_path / "out")
    assert account(report) == [(TinyRecording(1, 60).name, "video_unreadable", 0, 60)]
    assert list(stored_frames(tmp_path / "out")) == [other.name]


def test_a_video_at_another_rate_is_left_out(tmp_path):
    other, _ = with_good_neighbour(tmp_path / "in", TinyRecording(1, 60, frames_per_second=30))
    report = build(tmp_path / "in", tmp_path / "out")
    assert account(report) == [(TinyRecording(1, 60).name, "frames_per_second", 0, 60)]
    assert report.rejected[0]["detail"] == "the video has 30 frames per second, expected 20"
    assert report.rejected[0]["remedy"].startswith("Record at 20, 40 or 60 frames per second")
    assert list(stored_frames(tmp_path / "out")) == [other.name]


def test_a_video_that_says_19_99_frames_per_second_is_used(tmp_path):
    recording = TinyRecording(1, 20, frames_per_second="1999/100")
    write_recording(tmp_path / "in", recording)
    report = build(tmp_path / "in", tmp_path / "out")
    assert account(report) == []
    assert stored_frames(tmp_path / "out") == {recording.name: frames_of(recording, 20)}


@pytest.mark.parametrize(
    ("num_lines", "num_video_frames", "num_used", "expected"),
    [
        (40, 40, 40, []),
        (40, 41, 40, []),  # recorders write the frame after the last action
        (40, 42, 40, [("lengths_differ", 40, 2)]),
        (40, 60, 40, [("lengths_differ", 40, 20)]),
        (40, 39, 39, [("lengths_differ", 39, 1)]),
        (40, 20, 20, [("lengths_differ", 20, 20)]),
        (40, 3, 0, [("too_short", 0, 3), ("lengths_differ", 3, 37)]),
        (1, 1, 0, [("too_short", 0, 1)]),
        (40, 1, 0, [("too_short", 0, 1), ("lengths_differ", 1, 39)]),
    ],
)
def test_frames_and_lines_are_paired_as_far_as_both_reach(
    tmp_path, num_lines, num_video_frames, num_used, expected
):
    recording = TinyRecording(1, num_lines, num_video_frames=num_video_frames)
    other, _ = with_good_neighbour(tmp_path / "in", recording)
    report = build(tmp_path / "in", tmp_path / "out")
    assert [(reason, first, count) for _, reason, first, count in account(report)] == expected
    stored = stored_frames(tmp_path / "out")
    assert stored.pop(other.name) == frames_of(other, 24)
    assert stored == ({recording.name: frames_of(recording, num_used)} if num_used else {})


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{not json", "broken_line"),
        ("", "blank_line"),
        ("[1, 2]", "broken_line"),
        ('{"mouse": 3, "keyboard": {}, "tick": 30}', "wrong_schema"),
        ('{"tick": 30}', "wrong_schema"),
    ],
)
def test_a_bad_line_ends_a_recording_before_it(tmp_path, line, reason):
    recording = TinyRecording(1, 50, lines={30: line})
    write_recording(tmp_path / "in", recording)
    report = build(tmp_path / "in", tmp_path / "out")
    assert account(report) == [(recording.name, reason, 30, 20)]
    assert stored_frames(tmp_path / "out") == {recording.name: frames_of(recording, 30)}


@pytest.mark.parametrize("lost", ["mp4", "jsonl"])
def test_a_missing_file_of_a_pair_costs_only_that_recording(tmp_path, lost):
    other, video = with_good_neighbour(tmp_path / "in", TinyRecording(1, 60))
    video.with_suffix(f".{lost}").unlink()
    report = build(tmp_path / "in", tmp_path / "out")
    [row] = report.rejected
    assert row["reason"] == {"mp4": "missing_video", "jsonl": "missing_log"}[lost]
    assert row["path"] == str(video.with_suffix(".jsonl" if lost == "mp4" else ".mp4"))
    assert f"Put {TinyRecording(1, 60).name}.{lost}" in row["remedy"]
    assert list(stored_frames(tmp_path / "out")) == [other.name]


def test_nothing_but_a_video_without_its_log_is_one_clear_line(tmp_path):
    video = write_recording(tmp_path / "in", TinyRecording(1, 20))
    video.with_suffix(".jsonl").unlink()
    message = (
        r"in: nothing usable, got .*\.mp4: missing_log, the video has no log of the same name\. Put .*\.jsonl"
    )
    with pytest.raises(RocketError, match=message):
        build(tmp_path / "in", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("ending", [".rle", ".masks.jsonl"])
def test_masks_that_are_missing_for_one_recording_are_told(tmp_path, ending):
    first = TinyRecording(1, 20, interactions=[(2, "mine", 3, 15)] if ending == ".rle" else [])
    second = TinyRecording(2, 20, alias="without")
    write_recording(tmp_path / "in", first)
    write_recording(tmp_path / "in", second)
    if ending == ".masks.jsonl":
        with MaskWriter(tmp_path / "in" / f"{first.name}{ending}", height=4, width=4) as file:
            file.add("mine", "mine_block:stone", {3: np.ones((4, 4), bool)})
    report = build(tmp_path / "in", tmp_path / "out")
    assert account(report) == [(second.name, "missing_masks", 0, 0)]
    assert report.rejected[0]["remedy"] == f"Put {second.name}{ending} beside it and build again."
    assert len(stored_frames(tmp_path / "out")) == 2


def test_masks_that_cannot_be_read_cost_only_the_masks(tmp_path):
    recording = TinyRecording(1, 20, interactions=[(2, "mine", 3, 15)])
    write_recording(tmp_path / "in", recording).with_suffix(".rle").write_bytes(b"\x80\x04nothing")
    report = build(tmp_path / "in", tmp_path / "out")
    assert [(name, reason) for name, reason, _, _ in account(report)] == [(recording.name, "masks_unreadable")]
    assert stored_frames(tmp_path / "out") == {recording.name: frames_of(recording, 20)}


def test_a_mask_that_does_not_decode_costs_only_itself(tmp_path):
    import pickle

    from tests.pipeline.recordings import masks_of

    recording = TinyRecording(1, 20, interactions=[(2, "mine", 3, 15)])
    masks = masks_of(recording)
    masks["rle_mask_mapping"][0, "mine", 7]["rle_mask"] = "230400 5"
    masks["rle_mask_mapping"][0, "mine", 9]["rle_mask"] = "12 x"
    write_recording(tmp_path / "in", recording).with_suffix(".rle").write_bytes(pickle.dumps(masks))
    report = build(tmp_path / "in", tmp_path / "out")
    assert {reason for _, reason, _, _ in account(report)} == {"mask_entry"}
    runs = open_dataset(tmp_path / "out").candidate_runs(0)
    assert [(run.start, run.stop) for run in runs] == [(3, 7), (8, 9), (10, 15)]


NAMES = [
    "a.b.c",
    "with space",
    "a..b",
    "x..",
    "スティーブ",
    "-dash",
    "100%d",
    "a'b\"c",
    "x:y",
    "ü" * 60,
    "new\nline",
]


def test_names_of_every_kind_become_plain_keys_and_stay_on_record(tmp_path):
    recordings = [TinyRecording(number, 12, stem=name) for number, name in enumerate(NAMES)]
    for recording in recordings:
        write_recording(tmp_path / "in", recording)
    report = build(tmp_path / "in", tmp_path / "out")
    assert account(report) == []
    opened = open_dataset(tmp_path / "out")
    assert len(set(opened.episodes.ids)) == len(NAMES)
    assert all(name.replace("_", "").replace("-", "").isalnum() and name.isascii() for name in opened.episodes.ids)
    found = {opened.episode_row(i).recordings[0].name: name for i, name in enumerate(opened.episodes.ids)}
    assert sorted(found) == sorted(NAMES)
    stored = stored_frames(tmp_path / "out")
    for recording in recordings:
        assert stored[found[recording.name]] == frames_of(recording, 12), recording.name


def test_frames_of_odd_size_and_full_range_are_taken(tmp_path):
    recording = TinyRecording(1, 12, size=(100, 68))
    video = write_recording(tmp_path / "in", recording)
    write_video(
        video, coded_frames(1, 12, (100, 68)), (100, 68), extra=("-pix_fmt", "yuvj420p", "-color_range", "pc")
    )
    build(tmp_path / "in", tmp_path / "out")
    assert stored_frames(tmp_path / "out") == {recording.name: frames_of(recording, 12)}


def test_a_doubled_recording_is_taken_once(tmp_path):
    recording = TinyRecording(1, 20)
    write_recording(tmp_path / "in" / "8.0", recording)
    write_recording(tmp_path / "in" / "8.2", recording)
    report = build(tmp_path / "in", tmp_path / "out")
    assert [row["reason"] for row in report.rejected] == ["duplicate"]
    assert stored_frames(tmp_path / "out") == {recording.name: frames_of(recording, 20)}


def test_rejected_lines_tell_paths_from_the_source_on(tmp_path):
    _, video = with_good_neighbour(tmp_path / "in", TinyRecording(1, 60))
    video.write_bytes(b"")
    build(tmp_path / "in", tmp_path / "out")
    [line] = (tmp_path / "out" / "rejected.jsonl").read_text().splitlines()
    assert json.loads(line)["path"] == video.name
    assert str(tmp_path) not in line
