"""Faults are found and named by shard, episode and clip; repair gives back the first bytes."""

import hashlib
import json
import re
import shutil
import tarfile
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.build.engines.local import LocalEngine
from pipeline.build.job import build_shards
from pipeline.build.repair import repair
from pipeline.look.faults import Fault, fault_lines, summary
from pipeline.look.verify import run_verify, verify
from pipeline.sample.make import SampleSettings, make_sample
from pipeline.settings import BuildSettings
from shards import DamagedClip, DatasetError, open_dataset
from shards.errors import RocketError
from shards.manifest import EventRow, RecordingRow
from shards.manifest_writer import write_manifest
from shards.writer import PartWriter, join_parts
from tests.synthetic import HEIGHT, WIDTH, encode, episode_interactions, frame_yuv, make_clip

SIZE = (WIDTH, HEIGHT)


@pytest.fixture
def copy(small_dataset, tmp_path):
    return shutil.copytree(small_dataset, tmp_path / "copy")


def _faults(folder, **options):
    return verify(open_dataset(folder), **options).faults


def _flip(path, offset):
    with open(path, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 0xFF]))


def _member(path, name):
    with tarfile.open(path) as tar:
        return tar.getmember(name)


def test_verify_of_an_undamaged_dataset_finds_nothing(small_dataset):
    found = verify(open_dataset(small_dataset))
    assert list(found.faults) == []
    assert (found.num_episodes, found.num_clips, found.num_frames) == (7, 16, 192)


@pytest.mark.parametrize("ext", ["json", "mp4", "safetensors.gz", "jsonl.gz"])
def test_verify_names_the_clip_whose_bytes_have_changed(copy, ext):
    member = _member(copy / "000001.tar", f"ep003/000002.{ext}")
    _flip(copy / "000001.tar", member.offset_data + member.size // 2)
    (fault,) = _faults(copy)
    assert (fault.shard, fault.episode_id, fault.clip) == ("000001.tar", "ep003", 2)
    assert fault.problem.startswith("checksum ")


def test_verify_names_the_clip_whose_tar_header_has_changed(copy):
    _flip(copy / "000001.tar", _member(copy / "000001.tar", "ep003/000002.mp4").offset + 3)
    (fault,) = _faults(copy)
    assert (fault.episode_id, fault.clip) == ("ep003", 2)
    assert fault.problem.startswith("tar: ")


def test_verify_finds_bytes_between_members(copy):
    member = _member(copy / "000001.tar", "ep003/000002.mp4")
    _flip(copy / "000001.tar", member.offset_data + member.size)
    (fault,) = _faults(copy)
    assert (fault.episode_id, fault.clip) == ("ep003", 2)
    assert fault.problem == f"tar: bytes other than zero behind the member at {member.offset_data}"


def test_verify_names_every_clip_that_a_cut_shard_lost(copy):
    path = copy / "000001.tar"
    stop = _member(path, "ep004/000001.json").offset
    with open(path, "r+b") as file:
        file.truncate(stop)
    size = (open_dataset(copy).info.files["shard_bytes"])[1]
    faults = _faults(copy)
    assert faults[0] == Fault(f"{stop} bytes, expected {size}", "000001.tar")
    assert [(fault.episode_id, fault.clip) for fault in faults[1:]] == [("ep004", 1), ("ep004", 2)]


def test_verify_names_missing_and_surplus_shards(copy):
    (copy / "000002.tar").rename(copy / "000007.tar")
    faults = _faults(copy)
    assert faults[:2] == [
        Fault("the shard is missing", "000002.tar"),
        Fault("the manifest does not know this shard", "000007.tar"),
    ]
    assert [fault.episode_id for fault in faults[2:]] == ["ep005", "ep006", "ep006"]


def test_verify_finds_content_behind_the_last_episode(copy):
    path = copy / "000000.tar"
    _flip(path, path.stat().st_size - 1)
    assert _faults(copy) == [Fault("bytes other than zero behind the last episode", "000000.tar")]


def test_verify_finds_the_same_faults_with_several_processes(copy):
    for name in ("ep003/000000.mp4", "ep003/000004.safetensors.gz", "ep004/000001.json"):
        member = _member(copy / "000001.tar", name)
        _flip(copy / "000001.tar", member.offset_data)
    alone = _faults(copy)
    assert len(alone) == 3
    assert _faults(copy, num_workers=2) == alone


def test_verify_finds_a_changed_list_of_rejections(copy):
    (copy / "rejected.jsonl").write_text("{}\n")
    (fault,) = _faults(copy)
    assert fault.where() == "manifest"
    assert fault.problem.startswith("rejected.jsonl: sha256 ")


def test_verify_finds_sums_that_are_not_those_of_the_episodes(copy):
    info = json.loads((copy / "dataset.json").read_text())
    info["tally"]["num_camera_frames"] += 1
    info["tally"]["buttons"]["attack"] += 1
    (copy / "dataset.json").write_text(json.dumps(info))
    assert [fault.problem for fault in _faults(copy)] == [
        "dataset.json: tally.buttons is not the sum over episodes.parquet",
        "dataset.json: tally.num_camera_frames is not the sum over episodes.parquet",
    ]


def test_a_half_copied_dataset_is_refused_by_name(copy):
    (copy / "episodes.parquet").write_bytes((copy / "episodes.parquet").read_bytes()[:-100])
    with pytest.raises(DatasetError, match="episodes.parquet: sha256 .*, expected .*. Copy the file again"):
        open_dataset(copy)
    (copy / "dataset.json").unlink()
    with pytest.raises(DatasetError, match="shards, but no dataset.json, so the copy is not whole"):
        open_dataset(copy)


def _dataset_of(folder, clip, **changes):
    """A dataset of one clip, its row changed; checksums are right."""
    folder.mkdir()
    with PartWriter(folder / "part") as writer:
        writer.add_clip(clip)
        recordings = [RecordingRow("ep000-recording", "synthetic", 16, 16, 16)]
        writer.end_episode("ep000", recordings, episode_interactions(16))
    rows = [replace(row, **changes) for row in join_parts([(folder / "part", writer.rows)], folder / "000000.tar")]
    (folder / "part").unlink()
    write_manifest(
        folder,
        [rows],
        [],
        frame_size_px=SIZE,
        clip_frames=16,
        keyframe_interval=8,
        codec={},
        tools={},
        settings={},
    )
    return folder


def _arrays(**changes):
    clip = make_clip(0, "ep000", 0, 16, 16)
    return replace(
        clip,
        arrays=replace(
            clip.arrays, **{name: change(getattr(clip.arrays, name).copy()) for name, change in changes.items()}
        ),
    )


def _set(place, value):
    def change(array):
        array[place] = value
        return array

    return change


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"buttons": _set((3, 0), 2)}, "arrays: a button of 2, expected 0 or 1"),
        ({"gui": _set(3, 7)}, "arrays: a gui flag of 7, expected 0 or 1"),
        ({"camera": _set((3, 1), np.nan)}, "arrays: the camera is not a number somewhere"),
        (
            {"camera": _set((3, 1), 5000)},
            "arrays: the camera turns by 5000 degrees in a frame, expected at most 720",
        ),
        ({"recording": _set(15, 1)}, "arrays: recording 1, expected less than 1"),
        ({"source_frame": _set(15, 16)}, "arrays: a source frame that its recording does not have"),
        ({"source_frame": _set(5, 4)}, "arrays: source frames are not in order"),
        ({"candidate_point": _set(0, 1.5)}, "arrays: a point outside its frame"),
        ({"mask_runs": _set(0, 1)}, "arrays: mask 0 has "),
    ],
)
def test_verify_finds_content_that_cannot_be(tmp_path, change, problem):
    faults = _faults(_dataset_of(tmp_path / "dataset", _arrays(**change)))
    assert faults[0].clip == 0
    assert [fault.problem for fault in faults if fault.problem.startswith(problem)], faults


def test_verify_finds_candidates_of_interactions_that_are_not_there(tmp_path):
    clip = _arrays(candidate_interaction=_set(0, 9))
    faults = _faults(_dataset_of(tmp_path / "dataset", clip, candidate_runs=[]))
    assert "arrays: interaction 9, expected 0 to 0" in [fault.problem for fault in faults]


def test_verify_finds_runs_of_interactions_that_are_not_there(copy):
    """As a program that is not ours may have written them, with checksums that are right."""
    path, info_path = copy / "episodes.parquet", copy / "dataset.json"
    table = pq.read_table(path)
    column = table.schema.get_field_index("interactions")
    empty = pa.array([[]] * len(table), table.schema.field(column).type)
    pq.write_table(table.set_column(column, table.schema.field(column), empty), path)
    info = json.loads(info_path.read_text())
    info["files"]["sha256"]["episodes.parquet"] = hashlib.sha256(path.read_bytes()).hexdigest()
    info_path.write_text(json.dumps(info))
    (fault, *_) = [fault for fault in _faults(copy) if fault.clip is None]
    assert fault.where() == "manifest"
    assert fault.problem == (
        "episodes.parquet: candidate_runs: got interaction 0, expected one of the 0 that its episode has. "
        "Copy the dataset again or build it again from its sources."
    )


@pytest.mark.parametrize(
    ("num_frames", "problem"),
    [(15, "video: 15 frames, expected 16"), (17, "video: 17 frames, expected 16")],
)
def test_verify_counts_the_frames_of_each_video(tmp_path, num_frames, problem):
    clip = replace(
        make_clip(0, "ep000", 0, 16, 16), video=encode([frame_yuv(0, frame) for frame in range(num_frames)])
    )
    assert [fault.problem for fault in _faults(_dataset_of(tmp_path / "dataset", clip))] == [problem]


def test_verify_finds_a_video_that_does_not_decode(tmp_path):
    clip = make_clip(0, "ep000", 0, 16, 16)
    (fault,) = _faults(_dataset_of(tmp_path / "dataset", replace(clip, video=clip.video[:200])))
    assert fault.problem.startswith("video: ")


def test_verify_without_decoding_leaves_videos_alone(tmp_path):
    clip = make_clip(0, "ep000", 0, 16, 16)
    folder = _dataset_of(tmp_path / "dataset", replace(clip, video=clip.video[:200]))
    assert _faults(folder, decode=False) == []


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"num_gui_frames": 3}, "num_gui_frames add up to 0, expected 3"),
        ({"candidate_runs": []}, r"candidate_runs add up to \[CandidateRun\(start=4, .*, expected \[\]"),
        (
            {"events": [EventRow("custom:jump", 9, (0, 7, 14)), EventRow("mine_block:stone", 4, (3, 13))]},
            r"events add up to \[EventRow\(name='custom:jump', count=3, .*, expected .*count=9, ",
        ),
    ],
)
def test_verify_holds_the_clips_sums_against_the_manifest(tmp_path, changes, problem):
    folder = _dataset_of(tmp_path / "dataset", make_clip(0, "ep000", 0, 16, 16), **changes)
    (fault,) = _faults(folder)
    assert (fault.shard, fault.episode_id, fault.clip) == ("000000.tar", "ep000", None)
    assert re.match(problem, fault.problem), fault.problem


def test_faults_are_listed_within_the_terminal_where_names_allow():
    faults = [Fault("checksum 12345678, expected 12345679", "000001.tar", "ep003", 2), Fault("x" * 200)]
    lines = fault_lines(faults, 60)
    assert lines[0] == "  000001.tar, episode ep003, clip 2:"
    assert lines[1] == "    checksum 12345678, expected 12345679"
    assert len(lines[2]) == 60
    assert summary(faults) == "2 faults in 1 episode and 1 shard"


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Sample recordings and the dataset that they give: three shards of one episode."""
    folder = tmp_path_factory.mktemp("built")
    make_sample(
        folder / "sample", SampleSettings(num_sessions=3, min_recording_frames=40, max_recording_frames=60)
    )
    settings = BuildSettings(
        frame_width=64, frame_height=64, clip_frames=32, keyframe_interval=16, min_frames=8, shard_frames=100
    )
    build_shards([folder / "sample"], folder / "dataset", settings, LocalEngine(1))
    return folder


def _hashes(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def test_repair_gives_back_the_first_bytes(built, tmp_path):
    dataset = shutil.copytree(built / "dataset", tmp_path / "dataset")
    before = _hashes(dataset)
    _flip(dataset / "000000.tar", 3000)
    (dataset / "000001.tar").unlink()
    with open(dataset / "000002.tar", "r+b") as file:
        file.truncate(9000)
    faults = _faults(dataset)
    assert {fault.shard for fault in faults} == {"000000.tar", "000001.tar", "000002.tar"}
    opened = open_dataset(dataset)
    done = repair(opened, faults, [built / "sample"])
    assert list(done.episodes) == opened.episodes.ids
    assert list(done.failures) == []
    assert _hashes(dataset) == before


@pytest.mark.parametrize("ext", ["jsonl.gz", "safetensors.gz"])
def test_repair_gives_back_the_first_log_and_events(built, tmp_path, ext):
    dataset = shutil.copytree(built / "dataset", tmp_path / "dataset")
    before = _hashes(dataset)
    opened = open_dataset(dataset)
    events, lines = list(opened.events(0)), [line.data for line in opened.read_log(0)]
    assert events
    member = _member(dataset / "000000.tar", f"{opened.episodes.ids[0]}/000000.{ext}")
    _flip(dataset / "000000.tar", member.offset_data + member.size // 2)
    with pytest.raises(DamagedClip, match="clip 0.* checksum"):
        list(opened.read_log(0))
    faults = _faults(dataset)
    assert [(fault.episode_id, fault.clip) for fault in faults] == [(opened.episodes.ids[0], 0)]
    done = repair(opened, faults, [built / "sample"])
    assert (list(done.shards), list(done.failures)) == (["000000.tar"], [])
    assert _hashes(dataset) == before
    again = open_dataset(dataset)
    assert (list(again.events(0)), [line.data for line in again.read_log(0)]) == (events, lines)


def test_repair_leaves_the_shard_alone_where_the_recordings_have_changed(built, tmp_path):
    dataset = shutil.copytree(built / "dataset", tmp_path / "dataset")
    sample = shutil.copytree(built / "sample", tmp_path / "sample")
    _flip(dataset / "000000.tar", 3000)
    damaged = _hashes(dataset)
    faults = _faults(dataset)
    episode = faults[0].episode_id
    (log,) = sample.rglob(f"{episode}.jsonl")
    lines = log.read_text().splitlines()
    record = json.loads(lines[20])
    record["mouse"]["dx"] = 400.0
    lines[20] = json.dumps(record)
    log.write_text("\n".join(lines) + "\n")
    done = repair(open_dataset(dataset), faults, [sample])
    assert list(done.episodes) == []
    assert done.failures[0].problem.startswith("built again, clip 0 has checksum ")
    assert done.failures[0].problem.endswith("build the dataset again")
    assert _hashes(dataset)["000000.tar"] == damaged["000000.tar"]


def test_repair_names_the_recording_that_the_source_lacks(built, tmp_path):
    dataset = shutil.copytree(built / "dataset", tmp_path / "dataset")
    sample = shutil.copytree(built / "sample", tmp_path / "sample")
    _flip(dataset / "000000.tar", 3000)
    faults = _faults(dataset)
    for path in sample.rglob(f"{faults[0].episode_id}.*"):
        path.unlink()
    with pytest.raises(RocketError, match=f"no usable recording {faults[0].episode_id}.* Give the source"):
        repair(open_dataset(dataset), faults, [sample])
    assert not (dataset / ".repair").exists()


def test_verify_command_repairs_and_says_so(built, tmp_path, capsys):
    dataset = shutil.copytree(built / "dataset", tmp_path / "dataset")
    _flip(dataset / "000000.tar", 3000)
    assert run_verify(str(dataset), 1, decode=False, as_json=False) == 1
    out = capsys.readouterr().out
    assert "1 fault in 1 episode and 1 shard" in out
    assert f"rocket-prep verify {dataset} --repair SOURCE" in out
    assert run_verify(str(dataset), 1, decode=False, repair_from=[built / "sample"], as_json=True) == 0
    record = json.loads(capsys.readouterr().out)
    assert len(record["faults"]) == 1
    assert record["faults_left"] == []
    assert record["repair"]["shards"] == ["000000.tar"]
    assert run_verify(str(dataset), 1, decode=True, as_json=False) == 0
    assert "no fault" in capsys.readouterr().out
