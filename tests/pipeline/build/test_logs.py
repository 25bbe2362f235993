"""The log's lines travel along: what goes into a dataset comes out of it, byte for byte, and with its frames."""

import gzip
import json
import pickle
import tarfile
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from pipeline import cli
from pipeline.build.job import build_shards
from pipeline.cli import app
from pipeline.look.export_logs import export_logs
from pipeline.look.verify import verify
from shards.action_space import ACTION_SPACE
from shards.reader import open_dataset
from tests.pipeline.inline_engine import InlineEngine
from tests.pipeline.recordings import (
    TINY,
    TinyRecording,
    coded_frames,
    file_bytes,
    log_line,
    write_recording,
    write_video,
)


def build(source, out, settings=TINY):
    build_shards([source], out, settings, InlineEngine())
    return open_dataset(out)


def lines_of(path):
    return path.read_bytes().splitlines(keepends=True)


@pytest.fixture
def dataset(dataset):
    return open_dataset(dataset[0])


def test_exported_logs_of_joined_recordings_are_the_sources(session, dataset, tmp_path):
    assert export_logs(dataset, tmp_path / "logs") == (4, 171)
    assert file_bytes(tmp_path / "logs") == {
        f"{recording.name}.jsonl": (session[0] / f"{recording.name}.jsonl").read_bytes()
        for recording in sorted(session[1], key=lambda one: one.name)
    }


def test_export_logs_command_writes_the_sources_logs(session, dataset, tmp_path):
    done = CliRunner().invoke(app, ["export-logs", dataset.path, "--out", str(tmp_path / "logs")])
    assert (done.exit_code, done.stdout) == (0, f"Wrote 4 logs into {tmp_path / 'logs'}: 171 lines\n")
    for recording in session[1]:
        name = f"{recording.name}.jsonl"
        assert (tmp_path / "logs" / name).read_bytes() == (session[0] / name).read_bytes()


def test_export_logs_command_refuses_a_dataset_without_logs_in_one_line(session, tmp_path, capsys):
    dataset = build(session[0], tmp_path / "bare", TINY.model_copy(update={"keep_log": False}))
    with pytest.raises(SystemExit) as ending:
        cli.main(["export-logs", dataset.path, "--out", str(tmp_path / "logs")])
    assert ending.value.code == 1
    assert capsys.readouterr().err.splitlines() == [
        f"error: {dataset.path}: built without logs. Build it again with keep_log=true to have them."
    ]
    assert list((tmp_path / "logs").glob("*")) == []


def test_lines_say_which_frames_they_belong_to(session, dataset):
    """Frames 10 to 14 of the first recording and 0, 1, 32 of the third are dropped."""
    first, second, third, _ = session[1]
    expected, frame = [], 0
    for number, recording in enumerate((first, second, third)):
        for line, data in enumerate(lines_of(session[0] / f"{recording.name}.jsonl")):
            kept = line not in recording.noops
            expected.append((number, line, frame if kept else None, data))
            frame += kept
    assert [(line.recording, line.source_frame, line.frame, line.data) for line in dataset.read_log(1)] == expected


def test_a_clips_log_member_is_lines_of_its_frames_and_of_dropped_ones_before(session, dataset):
    source = lines_of(session[0] / f"{session[1][0].name}.jsonl")
    row = dataset.clip_rows(1)[0]
    shard = f"{dataset.path}/{dataset.episodes.shard[1]:06d}.tar"
    with tarfile.open(shard) as tar:
        member = tar.extractfile(f"{dataset.episodes.ids[1]}/000000.jsonl.gz").read()
    assert gzip.decompress(member) == b"".join(source[:21])
    clip = dataset.read_clip(1, row)
    assert clip.arrays.dropped_before.tolist() == [0] * 10 + [5] + [0] * 5
    assert dataset.read_clip(1, dataset.clip_rows(1)[5]).arrays.dropped_before.tolist()[-1:] == [0]


def test_line_ends_survive(tmp_path):
    """Of Windows, with blanks, a mark at the beginning, and a last line without an end, with a log after it."""
    first = TinyRecording(1, 20, noops=[3, 19])
    for recording in (first, first.after(2, 18, noops=[0, 17])):
        write_recording(tmp_path / "in", recording)
        path = tmp_path / "in" / f"{recording.name}.jsonl"
        lines = path.read_text(encoding="utf-8").splitlines()
        ends = ["\r\n", "\n", " \n"]
        text = "".join(line + ends[place % 3] for place, line in enumerate(lines[:-1])) + lines[-1]
        path.write_bytes(b"\xef\xbb\xbf" * (recording.number == 1) + text.encode())
    dataset = build(tmp_path / "in", tmp_path / "dataset")
    export_logs(dataset, tmp_path / "logs")
    for path in sorted((tmp_path / "in").glob("*.jsonl")):
        assert (tmp_path / "logs" / path.name).read_bytes() == path.read_bytes()
    assert not verify(dataset).faults


def test_only_the_lines_that_are_used_are_kept(tmp_path):
    """A broken line ends the first recording, a short video the second; a third one goes on after both holes."""
    broken = TinyRecording(1, 40, lines={25: "{"}, noops=[24])
    short = broken.after(2, 40, num_video_frames=30)
    whole = short.after(3, 20, hole_seconds=8.0)
    for recording in (broken, short, whole):
        write_recording(tmp_path / "in", recording)
    dataset = build(tmp_path / "in", tmp_path / "dataset")
    export_logs(dataset, tmp_path / "logs")
    assert [row.num_log_lines for row in dataset.episode_row(0).recordings] == [25, 30, 20]
    for recording, num_lines in ((broken, 25), (short, 30), (whole, 20)):
        source = lines_of(tmp_path / "in" / f"{recording.name}.jsonl")
        assert (tmp_path / "logs" / f"{recording.name}.jsonl").read_bytes() == b"".join(source[:num_lines])


def test_logs_are_left_out_on_request_and_nothing_else_changes(session, dataset, tmp_path):
    bare = build(session[0], tmp_path / "bare", TINY.model_copy(update={"keep_log": False}))
    for episode in range(len(dataset.episodes)):
        for row, other in zip(dataset.clip_rows(episode), bare.clip_rows(episode), strict=True):
            assert (other.crc32, other.log_size) == (row.crc32, 0)
            assert bare.read_clip(episode, other).log is None
    assert list(bare.events(1)) == list(dataset.events(1))
    assert not verify(bare).faults


def test_events_are_told_over_recordings_and_dropped_frames(tmp_path):
    """Nothing at the first line and where a world begins; what is dropped counts for the next frame."""
    first = TinyRecording(1, 20, noops=[5, 6, 18, 19])
    second = first.after(2, 16, noops=[0, 14, 15])
    stats = {1: {0: 3, 4: 4, 6: 7, 19: 8}, 2: {1: 10, 8: 2, 9: 3, 15: 5}}
    for recording in (first, second):
        value, lines = 3, {}
        for frame in range(recording.num_frames):
            value = stats[recording.number].get(frame, value if frame or recording.number == 1 else 8)
            line = {**log_line(recording, frame), "stats": {"minecraft.mine_block:minecraft.stone": value}}
            lines[frame] = json.dumps(line)
        write_recording(tmp_path / "in", replace(recording, lines=lines))
    dataset = build(tmp_path / "in", tmp_path / "dataset")
    # Kept: 0 to 4, 7 to 17 | 1 to 13 -> frame 16 is the second recording's line 1, and the last one is 28.
    assert [(event.frame, event.name, event.count) for event in dataset.events(0)] == [
        (4, "mine_block:stone", 1),
        (5, "mine_block:stone", 3),
        (16, "mine_block:stone", 1 + 2),
        (24, "mine_block:stone", 1),
        (28, "mine_block:stone", 2),
    ]
    (row,) = dataset.episode_row(0).events
    assert (row.name, row.count, row.frames) == ("mine_block:stone", 10, (4, 5, 16, 24, 28))
    assert dataset.info.tally["events"] == {"mine_block:stone": 10}
    assert not verify(dataset).faults


def test_lines_of_minestudios_files_are_what_their_infos_say(tmp_path):
    """Of a dropped frame, too, whose events count for the next one; nothing after the last info."""
    num_frames, still = 24, 5
    for folder in ("videos", "actions", "privileged_infos"):
        (tmp_path / "in" / folder).mkdir(parents=True)
    write_video(tmp_path / "in" / "videos" / "a.mp4", coded_frames(1, num_frames))
    actions = {name: np.zeros(num_frames, np.int64) for name in ACTION_SPACE.policy_buttons}
    actions["camera"] = np.stack([np.zeros(num_frames), np.arange(num_frames) + 1.0], axis=1)
    actions["camera"][still] = 0
    (tmp_path / "in" / "actions" / "a.pkl").write_bytes(pickle.dumps(actions))
    infos = [{"health": np.float32(20), "inventory": {frame: "é"}, "far": np.inf} for frame in range(20)]
    infos[still]["delta_mine_block"] = {"stone": 1}
    (tmp_path / "in" / "privileged_infos" / "a.pkl").write_bytes(pickle.dumps(infos))
    dataset = build(tmp_path / "in", tmp_path / "dataset")
    export_logs(dataset, tmp_path / "logs")
    expected = [f'{{"health":20.0,"inventory":{{"{frame}":"é"}},"far":null}}' for frame in range(20)] + ["{}"] * 4
    expected[still] = expected[still][:-1] + ',"delta_mine_block":{"stone":1}}'
    assert (tmp_path / "logs" / "a.jsonl").read_text(encoding="utf-8").splitlines() == expected
    assert [line.frame for line in dataset.read_log(0)][4:7] == [4, None, 5]
    assert [(event.frame, event.name, event.count) for event in dataset.events(0)] == [(5, "mine_block:stone", 1)]
    assert not verify(dataset).faults


@pytest.mark.parametrize("place", range(3))
def test_real_logs_come_back_byte_for_byte(shared, tmp_path, place):
    log = sorted((shared / "data" / "contractor_jsonl").glob("*.jsonl"))[place]
    data = log.read_bytes()
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / log.name).write_bytes(data)
    write_video(tmp_path / "in" / f"{log.stem}.mp4", coded_frames(1, data.count(b"\n"), (16, 16)), (16, 16))
    dataset = build(tmp_path / "in", tmp_path / "dataset", TINY.model_copy(update={"clip_frames": 128}))
    export_logs(dataset, tmp_path / "logs")
    assert (tmp_path / "logs" / log.name).read_bytes() == data
    assert b'"stats": {}' in data
    assert list(dataset.events(0)) == []
