"""Sample recordings are what OpenAI and ROCKET-1 publish, oddities included."""

import itertools
import json
import pickle
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.video.frame import PictureType

from pipeline.progress import ProgressReport
from pipeline.sample.make import SampleRecording, SampleSettings, SampleSummary, make_sample
from pipeline.sample.sessions import plan_sessions
from pipeline.sample.story import StorySettings
from shards.errors import RocketError

STEM = re.compile(r"^[A-Za-z0-9-]+-[0-9a-f]{12}-[0-9]{8}-[0-9]{6}$")
FIELDS = [
    "mouse", "keyboard", "isGuiOpen", "isGuiInventory", "hotbar", "yaw", "pitch", "xpos", "ypos", "zpos", "tick",
    "milli", "inventory", "serverTick", "serverTickDurationMs", "stats",
]  # fmt: skip
MOUSE_FIELDS = ["x", "y", "dx", "dy", "scaledX", "scaledY", "dwheel", "buttons", "newButtons"]


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> SampleSummary:
    settings = SampleSettings(
        seed=1,
        num_sessions=5,
        min_recording_frames=110,
        max_recording_frames=170,
        story=StorySettings(idle_chance=1.0, screen_chance=1.0),
    )
    return make_sample(tmp_path_factory.mktemp("made") / "sample", settings)


def video(sample: SampleSummary, recording: SampleRecording) -> Path:
    return sample.out / "data" / recording.version / f"{recording.name}.mp4"


def lines(sample: SampleSummary, recording: SampleRecording) -> list[dict[str, Any]]:
    with open(video(sample, recording).with_suffix(".jsonl"), encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def masks(sample: SampleSummary, recording: SampleRecording) -> dict[str, Any]:
    with open(sample.out / "segmentation" / f"{recording.name}.rle", "rb") as file:
        return pickle.load(file)


def decoded(text: str) -> np.ndarray:
    """A mask of 360x640 from "start length ..." with starts from 1, the slow and obvious way."""
    flat = [0] * (360 * 640)
    numbers = [int(word) for word in text.split()]
    for start, length in zip(numbers[::2], numbers[1::2], strict=True):
        flat[start - 1 : start - 1 + length] = [1] * length
    return np.array(flat, bool).reshape(360, 640)


def sessions(sample: SampleSummary) -> list[list[SampleRecording]]:
    grouped = itertools.groupby(sample.recordings, key=lambda recording: recording.session)
    return [list(recordings) for _, recordings in grouped]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_same_seed_gives_the_same_bytes_and_another_seed_does_not(tmp_path: Path) -> None:
    made = []
    for name, seed in (("a", 7), ("b", 7), ("c", 8)):
        settings = SampleSettings(seed=seed, num_sessions=1, min_recording_frames=20, max_recording_frames=40)
        made.append(contents(make_sample(tmp_path / name, settings).out))
    assert made[0] == made[1]
    assert made[0] != made[2]


def test_files_lie_as_openai_lists_them(sample: SampleSummary) -> None:
    listed: list[str] = []
    for index in sorted((sample.out / "index").iterdir()):
        listed += json.loads(index.read_text(encoding="utf-8"))["relpaths"]
    assert sorted(listed) == sorted(str(p.relative_to(sample.out)) for p in sample.out.rglob("*.mp4"))
    assert {Path(path).parent.as_posix() for path in listed} == {"data/6.9", "data/7.7", "data/8.2", "data/10.0"}
    for recording in sample.recordings:
        assert STEM.match(recording.name), recording.name
        assert video(sample, recording).with_suffix(".jsonl").is_file()
        assert (sample.out / "segmentation" / f"{recording.name}.rle").is_file()


def test_video_is_h264_high_with_b_frames(sample: SampleSummary) -> None:
    for recording in sample.recordings:
        with av.open(str(video(sample, recording))) as container:
            stream = container.streams.video[0]
            frames = list(container.decode(stream))
            assert (stream.codec_context.name, stream.profile) == ("h264", "High")
            assert (stream.width, stream.height, stream.pix_fmt) == (640, 360, "yuv420p")
            assert stream.average_rate == 20
            assert len(frames) == stream.frames == recording.num_video_frames
            if len(frames) > 10:
                assert PictureType.B in {frame.pict_type for frame in frames}


def test_some_videos_have_one_frame_more_than_log_lines(sample: SampleSummary) -> None:
    more = []
    for recording in sample.recordings:
        assert len(lines(sample, recording)) == recording.num_frames
        more.append(recording.num_video_frames - recording.num_frames)
    assert set(more) == {0, 1}


def test_lines_have_every_field_of_the_recorder(sample: SampleSummary) -> None:
    for recording in sample.recordings:
        old = recording.version == "6.9"
        for line in lines(sample, recording):
            assert list(line) == [name for name in FIELDS if not (old and name in ("hotbar", "milli"))]
            if line["mouse"] is not None:
                assert list(line["mouse"]) == [name for name in MOUSE_FIELDS if not (old and name == "dwheel")]
            if line["keyboard"] is not None:
                assert list(line["keyboard"]) == ["keys", "newKeys", "chars"]


def test_old_recorder_leaves_nulls_where_nothing_happens(sample: SampleSummary) -> None:
    found = {"mouse": 0, "keyboard": 0}
    for recording in sample.recordings:
        for line in lines(sample, recording):
            for name in found:
                if line[name] is None:
                    assert recording.version == "6.9"
                    found[name] += 1
    assert min(found.values()) > 0


def test_counters_go_on_over_the_recordings_of_a_session(sample: SampleSummary) -> None:
    for recordings in sessions(sample):
        seen = [lines(sample, recording) for recording in recordings]
        assert [line["tick"] for part in seen for line in part] == [i for part in seen for i in range(len(part))]
        joined = [line for part in seen for line in part]
        first = joined[0]["serverTick"]
        assert [line["serverTick"] for line in joined] == list(range(first, first + len(joined)))
        played = [line["stats"].get("minecraft.custom:minecraft.play_one_minute", 0) for line in joined]
        assert played == list(range(len(joined)))
        for before, after in itertools.pairwise(joined):
            assert all(after["stats"][name] >= count for name, count in before["stats"].items())


def test_pose_follows_the_mouse_at_the_documented_rate(sample: SampleSummary) -> None:
    joined = lines(sample, sample.recordings[0])
    for before, after in itertools.pairwise(joined):
        if not before["isGuiOpen"]:
            assert after["yaw"] - before["yaw"] == pytest.approx(before["mouse"]["dx"] * 0.15, abs=1e-4)
            assert after["pitch"] - before["pitch"] == pytest.approx(before["mouse"]["dy"] * 0.15, abs=1e-4)


def test_first_session_crosses_a_full_hour_without_a_gap(sample: SampleSummary) -> None:
    before, after = (recording.name[-6:] for recording in sessions(sample)[0])
    assert before[:2] == "09"
    assert after[:3] == "100"
    assert int(after) - int(before) >= 1000  # what MineStudio's rule cuts at
    gap = datetime.strptime(after, "%H%M%S") - datetime.strptime(before, "%H%M%S")  # noqa: DTZ007
    assert gap.total_seconds() == pytest.approx(sessions(sample)[0][0].num_frames / 20, abs=2)


def test_one_session_crosses_midnight_and_ends_in_a_single_frame(sample: SampleSummary) -> None:
    names = [recording.name for recording in sessions(sample)[3]]
    assert [name[-15:-7] for name in names] == ["20220502", "20220503", "20220503"]
    assert sessions(sample)[3][-1].num_frames == 1


def test_a_new_world_begins_minutes_after_the_first_session_under_the_same_name(sample: SampleSummary) -> None:
    first, again = sessions(sample)[0][-1], sessions(sample)[4][0]
    assert first.name[:-6] == again.name[:-6]
    assert 0 < int(again.name[-6:]) - int(first.name[-6:]) < 1000
    assert lines(sample, again)[0]["stats"] == {}
    assert lines(sample, again)[0]["serverTick"] < lines(sample, first)[-1]["serverTick"] or (
        lines(sample, again)[0]["xpos"] != lines(sample, first)[-1]["xpos"]
    )


def test_many_sessions_have_names_of_their_own() -> None:
    plans = plan_sessions(60, 20, 40, np.random.default_rng(0))
    names = [plan.stem(plan.start) for plan in plans]
    assert len(set(names)) == 60
    assert len(plans[0].lengths) > 1


def test_lengths_are_uneven(sample: SampleSummary) -> None:
    lengths = [recording.num_frames for recording in sample.recordings]
    assert len(set(lengths)) > len(lengths) // 2
    assert all(length % 32 for length in lengths[:3])


def test_screens_have_a_cursor_that_also_visits_the_edges(sample: SampleSummary) -> None:
    cursors = [
        (line["mouse"]["x"], line["mouse"]["y"])
        for recording in sample.recordings
        for line in lines(sample, recording)
        if line["isGuiOpen"] and line["mouse"]
    ]
    assert (640.0, 360.0) in cursors
    assert any(x < 16 or x > 1264 or y < 16 or y > 704 for x, y in cursors)
    assert all(-10 < x < 1281 and -10 < y < 721 for x, y in cursors)


def test_cursor_is_not_in_the_video(sample: SampleSummary) -> None:
    recording = sample.recordings[0]
    log = lines(sample, recording)
    with av.open(str(video(sample, recording))) as container:
        frames = [frame.to_ndarray(format="gray")[:330].astype(int) for frame in container.decode(video=0)]
    moved = [
        index
        for index in range(1, len(log))
        if log[index]["isGuiOpen"] and log[index - 1]["isGuiOpen"] and log[index - 1]["mouse"]["dx"]
    ]
    assert len(moved) > 5
    for index in moved:
        assert np.abs(frames[index] - frames[index - 1]).mean() < 2
        assert np.abs(frames[index] - frames[index - 1]).max() < 120


def test_movement_on_old_screens_is_recorded_by_half(sample: SampleSummary) -> None:
    compared = 0
    for recording in sample.recordings:
        scaler = 2 if recording.version == "6.9" else 1
        for before, after in itertools.pairwise(lines(sample, recording)):
            if before["isGuiOpen"] and after["isGuiOpen"] and before["mouse"] and after["mouse"]:
                compared += 1
                assert after["mouse"]["x"] - before["mouse"]["x"] == scaler * before["mouse"]["dx"]
    assert compared > 50


def test_attack_is_stuck_at_the_start_of_a_recording(sample: SampleSummary) -> None:
    stuck = 0
    for recording in sample.recordings:
        log = lines(sample, recording)
        if log[0]["mouse"] and log[0]["mouse"]["newButtons"] == [0]:
            stuck += 1
            freed = next(i for i, line in enumerate(log) if i and 0 in line["mouse"]["newButtons"])
            assert all(0 in line["mouse"]["buttons"] for line in log[:freed])
            assert any(0 not in line["mouse"]["buttons"] for line in log[freed:])
    assert stuck > 0


def test_wheel_changes_the_hotbar_without_a_key(sample: SampleSummary) -> None:
    by_wheel = by_key = 0
    for recording in sample.recordings:
        for before, after in itertools.pairwise(lines(sample, recording)):
            if "hotbar" in after and after["hotbar"] != before["hotbar"]:
                key = f"key.keyboard.{after['hotbar'] + 1}" in after["keyboard"]["keys"]
                assert key != (after["mouse"]["dwheel"] != 0)
                by_wheel += not key
                by_key += key
    assert by_wheel > 0
    assert by_key > 0


def test_noops_come_in_stretches(sample: SampleSummary) -> None:
    assert sample.num_noops > 0.05 * sample.num_frames
    quiet = [
        not (line["mouse"] and (line["mouse"]["buttons"] or line["mouse"]["dx"] or line["mouse"]["dy"]))
        and not (line["keyboard"] and line["keyboard"]["keys"])
        for line in lines(sample, sample.recordings[0])
    ]
    assert max(len(list(run)) for value, run in itertools.groupby(quiet) if value) >= 5


def test_masks_have_rocket1s_layout(sample: SampleSummary) -> None:
    ids, num_empty, num_overlapping = set(), 0, 0
    for recording in sample.recordings:
        notes = masks(sample, recording)
        assert set(notes) == {"video_annos", "rle_mask_mapping"}
        named = [key for frame in notes["video_annos"] for key in notes["video_annos"][frame]]
        assert len(named) == len(set(named)) == len(notes["rle_mask_mapping"])
        for frame, keys in notes["video_annos"].items():
            assert 0 <= frame < recording.num_frames
            num_overlapping += len(keys) > 1
            assert len({key[:2] for key in keys}) == len(keys)
            for key in keys:
                note = notes["rle_mask_mapping"][key]
                assert set(note) == {"obj_id", "rle_mask", "event", "point", "frame_range"}
                assert note["event"] == key[1]
                assert note["frame_range"][0] <= frame <= note["frame_range"][1]
                assert (note["rle_mask"] == "") == (note["point"] is None)
                ids.add(note["obj_id"])
                num_empty += note["rle_mask"] == ""
    assert ids == {0, 1, 2, 3, 4, 5, 6}
    assert num_empty > 0
    assert num_overlapping > 20


def test_ranges_end_with_a_mask_at_the_event(sample: SampleSummary) -> None:
    for recording in sample.recordings:
        notes = masks(sample, recording)
        known = {key: note for key, note in notes["rle_mask_mapping"].items() if note["frame_range"][1] == key[2]}
        for note in notes["rle_mask_mapping"].values():
            assert any(other["frame_range"] == note["frame_range"] for other in known.values())


def test_masks_lie_on_what_the_frame_shows(sample: SampleSummary) -> None:
    checked = 0
    for recording in sample.recordings[:2]:
        notes = masks(sample, recording)
        with av.open(str(video(sample, recording))) as container:
            frames = [frame.to_ndarray(format="rgb24").astype(int) for frame in container.decode(video=0)]
        for key, note in itertools.islice(notes["rle_mask_mapping"].items(), 0, None, 5):
            if "bell_ring" not in note["event"] or not note["rle_mask"]:
                continue
            mask = decoded(note["rle_mask"])
            yellow = frames[key[2]][..., 0] - frames[key[2]][..., 2]
            assert yellow[mask].mean() > 45 > yellow[~mask].mean()
            rows, columns = np.nonzero(mask)
            assert note["point"] == pytest.approx((rows.mean(), columns.mean()), abs=0.01)
            assert mask[int(note["point"][0]), int(note["point"][1])]
            checked += 1
    assert checked > 10


def test_recall_frames_are_those_of_the_recall_event(sample: SampleSummary) -> None:
    truth = json.loads((sample.out / "sample.json").read_text(encoding="utf-8"))
    for recording, told in zip(sample.recordings, truth["recordings"], strict=True):
        notes = masks(sample, recording)
        frames = [
            f for f, keys in notes["video_annos"].items() if truth["recall_event"] in {key[1] for key in keys}
        ]
        assert frames == [frame for start, stop in told["recall_frames"] for frame in range(start, stop)]
    num_recall = sum(stop - start for one in sample.recordings for start, stop in one.recall_frames)
    assert 0.1 < num_recall / (sample.num_frames - sample.num_noops) < 0.3


def test_folder_with_content_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("kept", encoding="utf-8")
    with pytest.raises(RocketError, match=f"{tmp_path}: not empty, expected a new or empty folder"):
        make_sample(tmp_path, SampleSettings(num_sessions=1))
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_empty_folder_is_filled(tmp_path: Path) -> None:
    settings = SampleSettings(num_sessions=1, min_recording_frames=1, max_recording_frames=1)
    assert make_sample(tmp_path, settings).num_frames == 2
    assert (tmp_path / "sample.json").is_file()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (SampleSettings(num_sessions=0), "num_sessions = 0, expected 1 to 682"),
        (SampleSettings(min_recording_frames=9, max_recording_frames=8), "recordings of 9 to 8 frames"),
        (SampleSettings(max_recording_frames=6000), "expected 1 <= shortest <= longest <= 5500"),
    ],
)
def test_senseless_settings_are_refused(tmp_path: Path, settings: SampleSettings, message: str) -> None:
    with pytest.raises(RocketError, match=message):
        make_sample(tmp_path / "sample", settings)


def test_nothing_is_left_of_a_try_that_fails(tmp_path: Path) -> None:
    class Stop(ProgressReport):
        def advance(self, count: int) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_sample(tmp_path / "sample", SampleSettings(num_sessions=1), Stop())
    assert list(tmp_path.iterdir()) == []


def test_failing_encoder_is_reported_with_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "ffmpeg"
    program.write_text("#!/bin/sh\necho no space left >&2\nexit 3\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setattr("pipeline.sample.recorder.ffmpeg_program", lambda: str(program))
    with pytest.raises(RocketError, match=r"\.mp4: ffmpeg ended early with status 3: no space left\. Put another"):
        make_sample(tmp_path / "sample", SampleSettings(num_sessions=1))
    assert not (tmp_path / "sample").exists()
