"""The format on disk: what is written is what is read, and what any tar reader finds."""

import gc
import gzip
import json
import subprocess
import tarfile
import zlib
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import safetensors.numpy
import webdataset
from hypothesis import given, settings
from hypothesis import strategies as st

from shards import DamagedClip, DatasetError, open_dataset
from shards.clip import Clip, ClipArrays
from shards.manifest import RecordingRow
from shards.masks import decode_runs, encode_runs, runs_to_packed_bits
from shards.video import decode_yuv
from shards.writer import PartWriter, join_parts
from tests import synthetic
from tests.synthetic import make_clip, make_dataset


def test_mask_runs_follow_the_documented_table():
    mask = np.array([[0, 0, 1], [1, 0, 0]], bool)
    assert encode_runs(mask).tolist() == [2, 2, 2, 0]
    assert encode_runs(np.ones((1, 3), bool)).tolist() == [0, 3]
    assert encode_runs(np.zeros((1, 3), bool)).tolist() == [3, 0]


@given(st.integers(1, 9), st.integers(1, 9), st.data())
@settings(max_examples=50, deadline=None)
def test_mask_runs_come_back_as_the_mask(height, width, data):
    bits = data.draw(st.lists(st.booleans(), min_size=height * width, max_size=height * width))
    mask = np.array(bits, bool).reshape(height, width)
    runs = encode_runs(mask)
    assert (decode_runs(runs, height, width) == mask).all()
    packed = runs_to_packed_bits([runs, encode_runs(~mask)], height, width)
    slow = [
        [int("".join(map(str, row[at : at + 8])).ljust(8, "0"), 2) for at in range(0, len(row), 8)]
        for row in (mask.astype(int).ravel().tolist(), (~mask).astype(int).ravel().tolist())
    ]
    assert packed.tolist() == slow


@pytest.mark.parametrize("runs", [[3], [1, 1], [2**32 - 1, 2**32 - 1], []])
def test_mask_runs_of_another_size_are_refused_before_allocation(runs):
    with pytest.raises(ValueError, match=r"add up to \d+ pixels, expected 6"):
        decode_runs(np.array(runs, np.uint32), 2, 3)


def test_clip_members_come_back_as_the_clip():
    clip = make_clip(3, "ep003", 1, 16, 40)
    again = Clip.from_members(clip.members())
    for name in ClipArrays.__dataclass_fields__:
        assert (getattr(again.arrays, name) == getattr(clip.arrays, name)).all(), name
    assert (again.info, again.video, again.log) == (clip.info, clip.video, clip.log)
    assert clip.members() == make_clip(3, "ep003", 1, 16, 40).members()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"camera": np.zeros((8, 3))}, r"camera: float64 \(8, 3\), expected float64 \(8, 2\)"),
        ({"gui": np.zeros(8)}, r"gui: float64 \(8,\), expected uint8"),
        ({"event_count": np.zeros(2, np.int64)}, r"event_count: int64 \(2,\), expected int64 \(3,\)"),
        ({"mask_offsets": np.array([5], np.int64)}, "mask_offsets: does not rise from 0"),
    ],
)
def test_clip_arrays_of_another_form_are_refused(change, message):
    arrays = vars(make_clip(0, "ep", 0, 16, 1).arrays)
    good = {
        name: np.repeat(array, 8, axis=0)
        for name, array in arrays.items()
        if name in ("buttons", "camera", "recording", "source_frame", "dropped_before", "gui")
    }
    good |= {
        "candidate_offsets": np.zeros(9, np.int32),
        "candidate_interaction": np.zeros(0, np.int32),
        "candidate_point": np.zeros((0, 2), np.float32),
        "mask_offsets": np.zeros(1, np.int64),
        "mask_runs": np.zeros(0, np.uint32),
        "event_frame": np.array([2, 2, 7], np.int32),
        "event_name": np.array([0, 1, 0], np.int32),
        "event_count": np.array([1, 5, 1]),
    }
    ClipArrays(**good)
    with pytest.raises(ValueError, match=message):
        ClipArrays(**{**good, **change})


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "arrays member: .*incomplete"),
        (gzip.compress(b"{}"), "arrays member"),
        (gzip.compress(safetensors.numpy.save({"buttons": np.zeros((2, 23), np.uint8)})), "missing 13 required"),
    ],
    ids=["nothing", "no safetensors", "arrays missing"],
)
def test_bytes_that_are_no_arrays_are_refused(data, message):
    with pytest.raises(ValueError, match=message):
        ClipArrays.from_bytes(data)


def test_packed_members_are_gzip_without_time_name_or_system():
    members = make_clip(3, "ep003", 1, 16, 40).members()
    for name in ("arrays", "log"):
        assert members[name][:10] == bytes([0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 255]), name


@pytest.mark.filterwarnings("ignore:Exception ignored:pytest.PytestUnraisableExceptionWarning")
def test_webdataset_alone_reads_every_clip_in_order(small_dataset):
    urls = [str(path) for path in sorted(small_dataset.glob("*.tar"))]
    samples = list(webdataset.WebDataset(urls, shardshuffle=False))
    lengths = [40, 16, 1, 70, 33, 15, 17]
    expected = [f"ep{e:03d}/{c:06d}" for e, n in enumerate(lengths) for c in range(-(-n // 16))]
    gc.collect()  # webdataset leaves its files to the collector
    assert [sample["__key__"] for sample in samples] == expected
    assert {key for key in samples[0] if not key.startswith("__")} == {"json", "mp4", "safetensors.gz", "jsonl.gz"}
    assert json.loads(samples[1]["json"])["start_frame"] == 16


def test_manifest_offsets_are_those_that_tarfile_finds(small_dataset):
    rows = pq.read_table(small_dataset / "clips.parquet").to_pylist()
    episodes = pq.read_table(small_dataset / "episodes.parquet").to_pylist()
    for row in rows:
        key = f"{episodes[row['episode']]['episode_id']}/{row['clip']:06d}"
        with tarfile.open(small_dataset / f"{row['shard']:06d}.tar") as tar:
            members = {"json": "json", "mp4": "mp4", "arrays": "safetensors.gz", "log": "jsonl.gz"}
            data = {}
            for name, ext in members.items():
                member = tar.getmember(f"{key}.{ext}")
                assert (member.offset_data, member.size) == (row[f"{name}_offset"], row[f"{name}_size"])
                assert (member.mtime, member.uid, member.gid) == (0, 0, 0)
                data[name] = tar.extractfile(member).read()
            assert zlib.crc32(data["json"] + data["mp4"] + data["arrays"]) == row["crc32"]
            assert zlib.crc32(data["log"]) == row["log_crc32"]


def test_an_episode_is_one_contiguous_range_that_holds_its_clips_alone(small_dataset):
    for episode in pq.read_table(small_dataset / "episodes.parquet").to_pylist():
        data = (small_dataset / f"{episode['shard']:06d}.tar").read_bytes()
        piece = data[episode["start_byte"] : episode["stop_byte"]]
        names = subprocess.run(["tar", "-tf", "-"], input=piece + bytes(1024), capture_output=True, check=True)
        clips = {name.rsplit("/", 1)[0] for name in names.stdout.decode().split()}
        assert clips == {episode["episode_id"]}
        assert len(names.stdout.split()) == 4 * episode["num_clips"]


def test_the_same_episodes_give_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        make_dataset(tmp_path / name, [[20, 5], [17]])
    for path in sorted((tmp_path / "a").iterdir()):
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes(), path.name


def test_reader_gives_back_every_clip_and_its_interactions(small_dataset):
    dataset = open_dataset(small_dataset)
    assert dataset.episodes.num_frames.tolist() == [40, 16, 1, 70, 33, 15, 17]
    assert dataset.episodes.shard.tolist() == [0, 0, 1, 1, 1, 2, 2]
    for episode, num_frames in enumerate(dataset.episodes.num_frames):
        assert dataset.interactions(episode) == synthetic.episode_interactions(int(num_frames))
        rows = dataset.clip_rows(episode)
        assert [row.start_frame for row in rows] == list(range(0, num_frames, 16))
        for row in rows:
            expected = make_clip(episode, dataset.episodes.ids[episode], row.clip, 16, int(num_frames))
            assert dataset.read_clip(episode, row).members() == expected.members()


def test_candidate_runs_say_frame_by_frame_what_the_clips_say(small_dataset):
    dataset = open_dataset(small_dataset)
    for episode in range(len(dataset.episodes)):
        from_manifest = {
            frame: run.interactions
            for run in dataset.candidate_runs(episode)
            for frame in range(run.start, run.stop)
        }
        from_clips = {}
        for row in dataset.clip_rows(episode):
            arrays = dataset.read_clip(episode, row).arrays
            for frame in range(arrays.num_frames):
                if len(arrays.candidates(frame)):
                    from_clips[row.start_frame + frame] = tuple(arrays.candidates(frame).tolist())
        assert from_manifest == from_clips


def test_events_are_those_of_the_clips_and_of_the_manifest(small_dataset):
    dataset = open_dataset(small_dataset)
    totals = Counter()
    for episode, num_frames in enumerate(dataset.episodes.num_frames.tolist()):
        expected = [
            (frame, synthetic.EVENT_NAMES[name], count)
            for frame in range(num_frames)
            for name, count in synthetic.events_of(frame)
        ]
        assert [(one.frame, one.name, one.count) for one in dataset.events(episode)] == expected
        row = dataset.episode_row(episode)
        for event in row.events:
            assert event.count == sum(count for _, name, count in expected if name == event.name)
            assert list(event.frames) == [frame for frame, name, _ in expected if name == event.name]
            totals[event.name] += event.count
    assert dataset.info.tally["events"] == totals


def test_frames_of_what_measures_time_or_distance_are_not_listed(tmp_path):
    names = {0: "custom:walk_one_cm", 1: "mine_block:stone"}
    clip = make_clip(0, "ep000", 0, 16, 10)
    with PartWriter(tmp_path / "part") as writer:
        writer.add_clip(replace(clip, info=replace(clip.info, events=names)))
        row = writer.end_episode("ep000", [], [])
    assert [(event.name, event.count, event.frames) for event in row.events] == [
        ("custom:walk_one_cm", 2, ()),
        ("mine_block:stone", 2, (3,)),
    ]


def test_log_lines_come_back_with_their_frames(small_dataset):
    dataset = open_dataset(small_dataset)
    for episode, num_frames in enumerate(dataset.episodes.num_frames.tolist()):
        found = [(line.recording, line.source_frame, line.frame, line.data) for line in dataset.read_log(episode)]
        assert found == [(0, frame, frame, synthetic.log_line(frame)) for frame in range(num_frames)]


def test_a_dataset_without_logs_says_how_to_have_them(tmp_path):
    with PartWriter(tmp_path / "part") as writer:
        writer.add_clip(replace(make_clip(0, "ep000", 0, 16, 10), log=None))
        writer.end_episode(
            "ep000", [RecordingRow("a", "synthetic", 10, 10, 10)], synthetic.episode_interactions(10)
        )
    rows = join_parts([(tmp_path / "part", writer.rows)], tmp_path / "000000.tar")
    synthetic.write_dataset(tmp_path, [rows])
    dataset = open_dataset(tmp_path)
    assert dataset.read_clip(0, dataset.clip_rows(0)[0]).log is None
    with pytest.raises(DatasetError, match="built without logs. Build it again with keep_log=true"):
        list(dataset.read_log(0))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"buttons": ["attack", "jump"]}, r"buttons: got \['attack', 'jump'\], expected \['attack', 'back', "),
        ({"frames_per_second": 10}, "frames_per_second: got 10, expected 20"),
        ({"camera_unit": "pixels"}, "camera_unit: got pixels, expected degrees"),
        ({"camera_axes": ["yaw", "pitch"]}, "camera_axes: got"),
        ({"wheel": True}, "wheel: got True, expected None"),
        ({"interaction_types": {"0": "mine"}}, "interaction_types: got {'0': 'mine'}, expected {'0': 'hunt', "),
    ],
)
def test_another_action_space_or_other_types_are_refused_by_name(small_dataset, tmp_path, change, message):
    folder = _copy(small_dataset, tmp_path / "copy")
    record = json.loads((folder / "dataset.json").read_text())
    types = change.pop("interaction_types", record["interaction_types"])
    record |= {"action_space": {**record["action_space"], **change}, "interaction_types": types}
    (folder / "dataset.json").write_text(json.dumps(record))
    with pytest.raises(DatasetError, match=message):
        open_dataset(folder)


def test_every_range_of_frames_decodes_to_the_frames_it_names():
    data = synthetic.encode([synthetic.frame_yuv(0, frame) for frame in range(20)])
    whole = decode_yuv(data, 0, 20)
    assert [synthetic.frame_number(yuv) for yuv in whole] == list(range(20))
    for start in range(20):
        for stop in (start + 1, 20):
            assert (decode_yuv(data, start, stop) == whole[start:stop]).all()


@pytest.mark.parametrize(
    ("damage", "message"),
    [(lambda d: d[:100], "video"), (lambda d: b"", "video"), (lambda d: d[:-200] + bytes(200), "video")],
)
def test_a_broken_video_is_a_value_error(damage, message):
    data = synthetic.encode([synthetic.frame_yuv(0, frame) for frame in range(20)])
    with pytest.raises(ValueError, match=message):
        decode_yuv(damage(data), 0, 20)


def test_frames_past_the_end_are_refused():
    data = synthetic.encode([synthetic.frame_yuv(0, frame) for frame in range(4)])
    with pytest.raises(ValueError, match="ends before frame 4"):
        decode_yuv(data, 0, 5)


def _copy(source: Path, target: Path) -> Path:
    target.mkdir()
    for path in source.iterdir():
        (target / path.name).write_bytes(path.read_bytes())
    return target


def test_every_flipped_byte_of_a_clip_is_found_and_named(small_dataset, tmp_path):
    folder = _copy(small_dataset, tmp_path / "copy")
    dataset = open_dataset(folder)
    row = dataset.clip_rows(3)[2]
    shard = folder / "000001.tar"
    good = shard.read_bytes()
    middle_of_log = row.log_offset + row.log_size // 2
    for at in (row.json_offset, row.mp4_offset + row.mp4_size // 2, row.core[1] - 1, middle_of_log):
        shard.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
        with pytest.raises(DamagedClip, match=r"000001\.tar: episode ep003, clip 2: checksum"):
            dataset.read_clip(3, row)
    shard.write_bytes(good[:middle_of_log] + b"?" + good[middle_of_log + 1 :])
    assert set(dataset.read_members(3, row, ("mp4", "arrays"))) == {"mp4", "arrays"}, "the log is not asked for"
    shard.write_bytes(good[: row.arrays_offset])
    with pytest.raises(DamagedClip, match=r"ep003, clip 2: \d+ bytes, expected"):
        dataset.read_clip(3, row)
    with pytest.raises(DatasetError, match=r"000001\.tar: \d+ bytes, expected"):
        dataset.check_shards([0, 1, 2])
    shard.unlink()
    with pytest.raises(DatasetError, match=r"000001\.tar: the shard is missing"):
        dataset.check_shards([0, 1, 2])


def test_a_folder_without_its_description_is_no_dataset(tmp_path):
    with pytest.raises(DatasetError, match=r"no dataset\.json.* build-shards SOURCE --out .*-shards$"):
        open_dataset(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("dataset.json", b"{}", "not a dataset's description"),
        ("dataset.json", b'{"format_version": 99}', r"format version 99, expected 2\. Build the dataset again"),
        ("dataset.json", b"\xff", "not a dataset's description"),
        ("clips.parquet", b"PAR1", r"clips\.parquet: sha256 .* Copy the file again"),
        ("episodes.parquet", b"", r"episodes\.parquet: sha256"),
    ],
)
def test_a_damaged_manifest_is_named(small_dataset, tmp_path, name, content, message):
    folder = _copy(small_dataset, tmp_path / "copy")
    (folder / name).write_bytes(content)
    with pytest.raises(DatasetError, match=message):
        dataset = open_dataset(folder)
        dataset.clip_rows(0)


def test_an_unknown_episode_is_refused_with_the_nearest_name(small_dataset):
    dataset = open_dataset(small_dataset)
    assert dataset.index_of("ep004") == 4
    with pytest.raises(DatasetError, match=r"no episode ep04.*ep00"):
        dataset.index_of("ep04")


def test_a_crash_while_joining_leaves_no_shard(tmp_path, small_dataset):
    with PartWriter(tmp_path / "part") as writer:
        writer.add_clip(make_clip(0, "ep000", 0, 16, 10))
        writer.end_episode("ep000", [], [])
    (tmp_path / "part").write_bytes((tmp_path / "part").read_bytes()[:700])
    with pytest.raises(OSError, match=r"ends .* bytes early"):
        join_parts([(tmp_path / "part", writer.rows)], tmp_path / "000000.tar")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["part"]
