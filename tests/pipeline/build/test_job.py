"""build-shards on tiny recordings: every stored frame shows its own number, and its action tells the same one."""

import json
import re
import shutil
import tarfile

import numpy as np
import pytest
from webdataset.tariterators import group_by_keys, tar_file_expander

from pipeline.build.engines.local import LocalEngine
from pipeline.build.job import BuildReport, build_shards
from pipeline.build.summary import summary_lines
from pipeline.transcode.ffmpeg import Ffmpeg
from shards.errors import RocketError
from shards.masks import decode_runs
from shards.reader import open_dataset
from tests.pipeline.inline_engine import InlineEngine
from tests.pipeline.recordings import (
    TINY,
    TinyRecording,
    file_bytes,
    stored_frames,
    write_recording,
    write_session,
)
from tests.synthetic import candidate_of


def build(source, out, settings=TINY, workers=0, **rest) -> BuildReport:
    """Build in this process, or in worker processes."""
    return build_shards([source], out, settings, LocalEngine(workers) if workers else InlineEngine(), **rest)


def expected_frames(*recordings):
    """Every frame that does something, by a list of numbers."""
    return [
        (recording.number, frame, frame, float(frame + 1))
        for recording in recordings
        for frame in range(recording.num_frames)
        if frame not in recording.noops
    ]


def test_build_pairs_every_frame_with_its_action_and_its_number(session, dataset):
    first, second, third, other = session[1]
    assert stored_frames(dataset[0]) == {
        other.name: expected_frames(other),
        first.name: expected_frames(first, second, third),
    }


def test_build_joins_recordings_over_midnight_into_one_episode(session, dataset):
    first, second, third, _ = session[1]
    assert "20211231" in first.name
    assert "20220101" in second.name
    row = open_dataset(dataset[0]).episode_row(1)
    assert [
        (recording.name, recording.source, recording.num_source_frames, recording.num_frames)
        for recording in row.recordings
    ] == [
        (first.name, "contractor", 45, 40),
        (second.name, "contractor", 40, 40),
        (third.name, "contractor", 33, 30),
    ]


def test_build_keeps_the_tail_and_cuts_clips_at_their_length(dataset):
    opened = open_dataset(dataset[0])
    assert [row.num_frames for row in opened.clip_rows(1)] == [16] * 6 + [14]
    assert [row.start_frame for row in opened.clip_rows(1)] == [0, 16, 32, 48, 64, 80, 96]


def test_build_keeps_all_frames_on_request(session, tmp_path):
    settings = TINY.model_copy(update={"noops": "keep"})
    build(session[0], tmp_path / "dataset", settings)
    first, second, third, _ = session[1]
    frames = stored_frames(tmp_path / "dataset")[first.name]
    assert [frame[:3] for frame in frames] == [
        (recording.number, frame, frame)
        for recording in (first, second, third)
        for frame in range(recording.num_frames)
    ]
    assert [frame[3] for frame in frames[8:16]] == [9.0, 10.0, 0.0, 0.0, 0.0, 0.0, 0.0, 16.0]


def test_build_renumbers_interactions_over_dropped_frames_and_recordings(dataset):
    # The first recording keeps 40 of 45 frames (10 to 14 are no-ops): source 3..29 -> 3..24, then it is 40 on.
    interactions = open_dataset(dataset[0]).interactions(1)
    assert [(item.type, item.event, item.start, item.stop) for item in interactions] == [
        (2, "mine_block:stone", 3, 25),
        (0, "kill", 40, 60),
        (3, "use", 45, 75),
    ]
    runs = open_dataset(dataset[0]).candidate_runs(1)
    assert [(run.start, run.stop, list(run.interactions)) for run in runs] == [
        (3, 25, [0]),
        (40, 45, [1]),
        (45, 60, [1, 2]),
        (60, 75, [2]),
    ]


def test_build_scales_masks_to_the_frames_size(dataset):
    opened = open_dataset(dataset[0])
    clip = opened.read_clip(1, opened.clip_rows(1)[0])
    # Source frame 3: rows 13 to 15 of 360, columns 0 to 29 of 640 -> row floor(r * 11.25), column floor(c * 20).
    expected = np.zeros((32, 32), bool)
    for row in range(32):
        for column in range(32):
            expected[row, column] = 13 <= int(row * 11.25) <= 15 and int(column * 20) < 30
    assert clip.arrays.source_frame[5] == 5
    candidate = candidate_of(clip.arrays, 3, 0)
    np.testing.assert_array_equal(decode_runs(clip.arrays.runs(candidate), 32, 32), expected)
    np.testing.assert_allclose(clip.arrays.candidate_point[candidate], [13 / 360, 15 / 640], rtol=1e-6)


def test_build_is_plain_webdataset(session, dataset):
    shards = sorted(str(path) for path in dataset[0].glob("*.tar"))
    samples = []
    for shard in shards:
        with open(shard, "rb") as file:
            samples += group_by_keys(tar_file_expander([{"url": shard, "stream": file}]))
    opened = open_dataset(dataset[0])
    keys = [f"{name}/{row.clip:06d}" for i, name in enumerate(opened.episodes.ids) for row in opened.clip_rows(i)]
    assert [sample["__key__"] for sample in samples] == keys
    assert all({"json", "mp4", "safetensors.gz", "jsonl.gz"} <= sample.keys() for sample in samples)
    infos = [json.loads(sample["json"]) for sample in samples]
    assert infos[-1]["recordings"] == [recording.name for recording in session[1][:3]]


def test_build_gives_the_same_bytes_for_any_number_of_workers(session, dataset, tmp_path):
    build(session[0], tmp_path / "two", workers=2)
    assert file_bytes(tmp_path / "two") == file_bytes(dataset[0])


def test_build_fills_shards_by_frames(dataset):
    # 53 frames, then 118 in another group: more than 60 do not fit.
    assert [path.name for path in sorted(dataset[0].glob("*.tar"))] == ["000000.tar", "000001.tar"]
    with tarfile.open(dataset[0] / "000000.tar") as tar:
        assert all(member.mtime == 0 for member in tar)


def test_build_leaves_nothing_of_its_work_behind(dataset):
    assert sorted(path.name for path in dataset[0].iterdir()) == [
        "000000.tar",
        "000001.tar",
        "clips.parquet",
        "dataset.json",
        "episodes.parquet",
        "rejected.jsonl",
    ]


def test_build_records_settings_and_tools(dataset):
    info = open_dataset(dataset[0]).info
    assert info.settings == TINY.model_dump()
    assert {"ffmpeg", "libavcodec", "av", "numpy", "safetensors", "rocket1"} <= info.tools.keys()


def test_build_in_shares_equals_a_build_in_one_go(session, dataset, tmp_path):
    out = tmp_path / "shares"
    for share in (1, 0):
        report = build(session[0], out, only=(share, 2))
        assert report.info is None
        assert not (out / "dataset.json").exists()
    assert build(session[0], out).num_built == 0
    assert file_bytes(out) == file_bytes(dataset[0])


def test_build_shares_are_disjoint(session, tmp_path):
    assert [build(session[0], tmp_path / "out", only=(share, 3)).num_built for share in (0, 1, 2)] == [1, 1, 0]


def test_build_refuses_a_folder_with_other_files(session, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RocketError, match=r"not empty, got notes\.txt, expected an empty folder"):
        build(session[0], tmp_path, resume=True)
    assert file_bytes(tmp_path) == {"notes.txt": b"mine"}


def test_build_refuses_a_finished_dataset_but_resumes_it_without_work(session, dataset):
    with pytest.raises(RocketError, match="holds a finished dataset.*rocket-prep inspect"):
        build(session[0], dataset[0])
    before = file_bytes(dataset[0])
    report = build(session[0], dataset[0], resume=True)
    assert report.num_built == 0
    assert summary_lines(report)[0] == "Built before, from the same recordings and settings: nothing to do."
    assert file_bytes(dataset[0]) == before


def test_build_refuses_to_resume_a_finished_dataset_with_other_recordings(session, dataset, tmp_path):
    before = file_bytes(dataset[0])
    shutil.copytree(session[0], tmp_path / "in")
    added = TinyRecording(40, 40, alias="newcomer")
    write_recording(tmp_path / "in", added)
    with pytest.raises(
        RocketError,
        match=rf"hold recordings that were not there when it was built: {added.name}\. Build those alone into a "
        rf"second dataset and train on both: .* data\.datasets={dataset[0]},{dataset[0]}-2",
    ):
        build(tmp_path / "in", dataset[0], resume=True)
    for path in (tmp_path / "in").glob(f"{session[1][3].name}.*"):
        path.unlink()
    (tmp_path / "in" / f"{added.name}.mp4").unlink()
    (tmp_path / "in" / f"{added.name}.jsonl").unlink()
    with pytest.raises(RocketError, match=rf"lack recordings that it was built from: {session[1][3].name}\. Give"):
        build(tmp_path / "in", dataset[0], resume=True)
    assert file_bytes(dataset[0]) == before


def test_build_refuses_to_finish_with_other_settings(session, dataset):
    settings = TINY.model_copy(update={"crf": 30.0})
    with pytest.raises(RocketError, match=re.escape(f"setting crf is 30.0 now, expected {TINY.crf}")):
        build(session[0], dataset[0], settings, resume=True)


@pytest.fixture
def half_built(session, tmp_path):
    out = tmp_path / "half"
    build(session[0], out, only=(0, 2))
    return out


def test_build_does_not_build_finished_groups_again(session, dataset, half_built):
    before = (half_built / ".build/parts/000000.tar").stat().st_ino
    assert build(session[0], half_built, resume=True).num_built == 1
    assert file_bytes(half_built) == file_bytes(dataset[0])
    assert before > 0


def test_build_refuses_to_go_on_with_other_settings(session, half_built):
    settings = TINY.model_copy(update={"noops": "keep", "crf": 20.0})
    problem = f"cannot be continued, setting crf is 20.0 now, expected {TINY.crf}"
    with pytest.raises(RocketError, match=re.escape(problem)):
        build(session[0], half_built, settings, resume=True)


def test_build_refuses_to_go_on_with_another_ffmpeg(session, half_built, monkeypatch):
    monkeypatch.setattr("pipeline.transcode.ffmpeg.find_ffmpeg", lambda: Ffmpeg("ffmpeg", "4.2"))
    with pytest.raises(RocketError, match="tool ffmpeg is '4.2' now, expected"):
        build(session[0], half_built, resume=True)


def test_build_refuses_to_go_on_with_changed_sources(half_built, tmp_path):
    source = tmp_path / "source"
    recordings = write_session(source)
    log = source / f"{recordings[3].name}.jsonl"
    log.write_text(log.read_text()[:-1] + " \n")
    with pytest.raises(RocketError, match=f"recording {recordings[3].name} has changed since it began"):
        build(source, half_built, resume=True)
    log.unlink()
    with pytest.raises(RocketError, match=f"recording {recordings[3].name} is not in the sources any more"):
        build(source, half_built, resume=True)


def test_build_goes_on_from_a_copy_of_the_sources_elsewhere(session, dataset, half_built, tmp_path):
    write_session(tmp_path / "copy")
    build(tmp_path / "copy", half_built, resume=True)
    assert file_bytes(half_built) == file_bytes(dataset[0])


def test_build_refuses_a_second_build_in_the_same_folder(session, half_built):
    from pipeline.build.folder import BuildFolder

    with (
        BuildFolder(half_built).locked(shared=False),
        pytest.raises(RocketError, match="another build is at work here"),
    ):
        build(session[0], half_built, resume=True)


def test_build_leaves_out_episodes_that_are_too_short(tmp_path):
    write_recording(tmp_path / "in", TinyRecording(1, 3))
    write_recording(tmp_path / "in", TinyRecording(2, 20, alias="long"))
    report = build(tmp_path / "in", tmp_path / "out")
    assert [(row["recording"], row["reason"], row["num_frames"]) for row in report.rejected] == [
        (TinyRecording(1, 3).name, "too_short", 3)
    ]
    assert list(stored_frames(tmp_path / "out")) == [TinyRecording(2, 20, alias="long").name]


def test_build_of_nothing_but_no_ops_says_so_and_leaves_nothing(tmp_path):
    write_recording(tmp_path / "in", TinyRecording(1, 30, noops=range(30)))
    with pytest.raises(RocketError, match="too_short, the episode has 0 frames that do something"):
        build(tmp_path / "in", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_build_of_an_empty_folder_says_so_and_leaves_nothing(tmp_path):
    (tmp_path / "in").mkdir()
    with pytest.raises(
        RocketError, match="nothing to build, got no recording, expected videos with logs of the same name"
    ):
        build(tmp_path / "in", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_build_draws_the_cursor_at_source_size_in_menus_only(tmp_path):
    from shards.video import decode_yuv

    recording = TinyRecording(1, 12, gui=(4, 8))
    write_recording(tmp_path / "in", recording)
    settings = TINY.model_copy(update={"frame_width": 96, "frame_height": 64, "crf": 1})
    build(tmp_path / "in", tmp_path / "out", settings)
    opened = open_dataset(tmp_path / "out")
    clip = opened.read_clip(0, opened.clip_rows(0)[0])
    luma = decode_yuv(clip.video, 0, 12)[:, :64].astype(int)
    assert clip.arrays.gui.tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0]
    for frame in range(12):
        # x = 644 to 647, y = 360 in a window of 720 rows: the tip is at (57, 32) of 96 x 64.
        rim = luma[frame, 32:47, 57]
        block = luma[frame, 32:47, 50]
        assert (np.abs(rim - 16).max() < 25) == (4 <= frame < 8), frame
        if not 4 <= frame < 8:
            assert np.abs(rim - block).max() < 25
