"""Finding recordings: layouts, doubles, halves, names and the released index files."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from pipeline.recording import Findings
from pipeline.rejection import SourceError
from pipeline.sources import find_recordings
from shards.action_space import ACTION_SPACE
from tests.pipeline.recordings import load_log, load_masks, measure

POLICY_BUTTONS = ACTION_SPACE.policy_buttons

RECORDER = '{"mouse": null, "keyboard": null}\n'
PLAIN = '{"buttons": ["forward"], "camera": [0, 1.5]}\n'
NAME = "bumpy-pumpkin-dunker-5c7c23a408bf-20220104-193828"


def make(root: Path, *paths: str, text: str = RECORDER) -> Path:
    for name in paths:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text if name.endswith(".jsonl") else "")
    return root


def actions(path: Path, num_frames: int = 3) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    value = {name: np.zeros(num_frames, np.int64) for name in POLICY_BUTTONS}
    path.write_bytes(pickle.dumps({**value, "camera": np.zeros((num_frames, 2))}))


def names(findings: Findings) -> list[str]:
    return [recording.name for recording in findings.recordings]


def left_out(findings: Findings) -> list[tuple[str, str]]:
    return [(rejection.recording, rejection.reason) for rejection in findings.rejections]


@pytest.mark.parametrize(
    ("log", "video", "version"),
    [
        ("{}.jsonl", "{}.mp4", None),
        ("data/7.6/{}.jsonl", "data/7.6/{}.mp4", "7.6"),
        ("10.0/deep/er/{}.jsonl", "10.0/deep/er/{}.mp4", "10.0"),
        ("jsonl/{}.jsonl", "mp4/{}.mp4", None),
        ("6.13/jsonl/{}.jsonl", "6.13/mp4/{}.mp4", "6.13"),
        ("logs/{}.jsonl", "films/8.1/{}.mp4", "8.1"),
    ],
)
def test_contractor_layouts_are_recognised(tmp_path: Path, log: str, video: str, version: str | None) -> None:
    make(tmp_path, log.format(NAME), video.format(NAME), f"{Path(log).parent}/{NAME}-options.json")
    found = find_recordings([tmp_path])
    assert not found.rejections
    [recording] = found.recordings
    assert (recording.name, recording.source, recording.version) == (NAME, "contractor", version)
    assert recording.session == "bumpy-pumpkin-dunker-5c7c23a408bf"
    assert recording.start_time == datetime.fromisoformat("2022-01-04T19:38:28")
    assert recording.actions == tmp_path / log.format(NAME)
    assert recording.video == tmp_path / video.format(NAME)


def test_version_folder_may_itself_be_named(tmp_path: Path) -> None:
    make(tmp_path, "3.1/7.2/a.mp4", "3.1/7.2/a.jsonl", "3.1/x/b.mp4", "3.1/x/b.jsonl")
    assert [r.version for r in find_recordings([tmp_path / "3.1" / "7.2"]).recordings] == ["7.2"]
    # A folder above what was named tells nothing.
    assert [r.version for r in find_recordings([tmp_path / "3.1" / "x"]).recordings] == [None]


def test_doubled_recording_is_taken_once_and_the_highest_version_wins(tmp_path: Path) -> None:
    for version in ("8.2", "8.10", "8.9"):
        make(tmp_path, f"{version}/{NAME}.mp4", f"{version}/{NAME}.jsonl")
    found = find_recordings([tmp_path])
    assert [recording.version for recording in found.recordings] == ["8.10"]
    assert [(r.reason, r.path) for r in found.rejections] == [
        ("duplicate", str(tmp_path / "8.2" / f"{NAME}.jsonl")),
        ("duplicate", str(tmp_path / "8.9" / f"{NAME}.jsonl")),
    ]


def test_whole_copy_is_preferred_to_half_of_a_higher_version(tmp_path: Path) -> None:
    make(tmp_path, f"8.0/{NAME}.mp4", f"8.0/{NAME}.jsonl", f"8.2/{NAME}.mp4")
    found = find_recordings([tmp_path])
    assert [recording.version for recording in found.recordings] == ["8.0"]
    assert left_out(found) == [(NAME, "duplicate")]


def test_same_folder_named_twice_is_no_double(tmp_path: Path) -> None:
    make(tmp_path, "sub/a.mp4", "sub/a.jsonl")
    found = find_recordings([tmp_path, tmp_path / "sub", tmp_path / "sub" / "a.mp4"])
    assert (names(found), left_out(found)) == (["a"], [])


def test_missing_halves_are_left_out_with_path_and_remedy(tmp_path: Path) -> None:
    make(tmp_path, "a.mp4", "b.jsonl", "c.mp4", "c.jsonl", "d.rle")
    found = find_recordings([tmp_path])
    assert names(found) == ["c"]
    assert left_out(found) == [("a", "missing_log"), ("b", "missing_video"), ("d", "missing_recording")]
    assert [rejection.path for rejection in found.rejections] == [
        str(tmp_path / x) for x in ("a.mp4", "b.jsonl", "d.rle")
    ]
    assert found.rejections[0].remedy == "Put a.jsonl beside it, or in jsonl beside mp4 or videos."


def test_order_is_by_session_and_start_and_the_same_from_every_folder_order(tmp_path: Path) -> None:
    stems = ("b-20220101-100000", "a-20220102-000100", "a-20220101-235600", "a-20220101-100000", "a")
    for number, name in enumerate(stems):
        make(tmp_path, f"{number}/{name}.mp4", f"{number}/{name}.jsonl")
    expected = ["a", "a-20220101-100000", "a-20220101-235600", "a-20220102-000100", "b-20220101-100000"]
    roots = sorted(tmp_path.iterdir())
    assert names(find_recordings([tmp_path])) == names(find_recordings(roots[::-1])) == expected


@pytest.mark.parametrize(
    "name", ["a.b.c", "with space", "..", "...", "史蒂夫", "-n", "a.mp4", "x.masks", "😀", "a'b\"c"]
)
def test_names_of_every_kind_are_found(tmp_path: Path, name: str) -> None:
    make(tmp_path, f"sub/{name}.mp4", f"sub/{name}.jsonl")
    expected = [] if name in ("..", "...") else [name]  # these files are hidden
    if name == "x.masks":  # x.masks.jsonl is a file of masks
        found = find_recordings([tmp_path])
        assert (names(found), left_out(found)) == ([], [("x", "missing_recording"), ("x.masks", "missing_log")])
        return
    assert names(find_recordings([tmp_path])) == expected


def test_name_that_is_no_text_is_left_out(tmp_path: Path) -> None:
    for extension in (b".mp4", b".jsonl"):
        Path(os.fsdecode(os.fsencode(tmp_path / "a") + b"\xff" + extension)).write_text(RECORDER)
    found = find_recordings([tmp_path])
    assert (names(found), left_out(found)) == ([], [("a\\udcff", "bad_name")])
    assert [rejection.num_frames for rejection in found.rejections] == [1]


def test_lone_file_whose_name_is_no_text_can_be_written_down(tmp_path: Path) -> None:
    """Names, paths and remedies of what is left out go into UTF-8 files."""
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xe9"))
    folder.mkdir()
    for name in (b"a\xff.mp4", b"b\xff.jsonl", b"c\xff.rle", b"d.mp4"):
        Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_text(RECORDER)
    found = find_recordings([tmp_path])
    assert left_out(found) == [
        ("a\\udcff", "missing_log"),
        ("b\\udcff", "missing_video"),
        ("c\\udcff", "missing_recording"),
        ("d", "missing_log"),
    ]
    for rejection in found.rejections:
        "".join(str(value) for value in asdict(rejection).values()).encode("utf-8")


@pytest.mark.parametrize("logs", ["jsonl", "actions", "labels"])
def test_videos_in_a_folder_beside_that_of_the_logs_are_paired_by_name(tmp_path: Path, logs: str) -> None:
    make(tmp_path, f"all_10xx/{logs}/a.jsonl", "all_10xx/videos/a.mp4", f"all_10xx/{logs}/b.jsonl")
    found = find_recordings([tmp_path])
    [recording] = found.recordings
    assert (recording.name, recording.source) == ("a", "contractor")
    assert (recording.video, recording.actions) == (
        tmp_path / "all_10xx" / "videos" / "a.mp4",
        tmp_path / "all_10xx" / logs / "a.jsonl",
    )
    assert [(r.recording, r.reason, r.num_frames) for r in found.rejections] == [("b", "missing_video", 1)]


def test_second_video_of_a_name_is_told(tmp_path: Path) -> None:
    make(tmp_path, "a.jsonl", "a.mkv", "a.mp4")
    found = find_recordings([tmp_path])
    assert [recording.video.name for recording in found.recordings] == ["a.mkv"]
    assert [(r.recording, r.reason, Path(r.path).name) for r in found.rejections] == [("a", "duplicate", "a.mp4")]


def test_hidden_files_and_folders_are_passed_over(tmp_path: Path) -> None:
    make(tmp_path, "._a.mp4", "._a.jsonl", ".cache/b.mp4", ".cache/b.jsonl", "c.mp4", "c.jsonl")
    assert names(find_recordings([tmp_path])) == ["c"]


def test_links_to_folders_are_followed_and_circles_end(tmp_path: Path) -> None:
    make(tmp_path / "elsewhere", "a.mp4", "a.jsonl")
    (tmp_path / "given").mkdir()
    (tmp_path / "given" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "circle").symlink_to(tmp_path / "given")
    assert names(find_recordings([tmp_path / "given"])) == ["a"]


def test_single_video_brings_what_lies_beside_it(tmp_path: Path) -> None:
    make(tmp_path, "a.mp4", "a.jsonl", "a.rle", "ab.mp4", "ab.jsonl", "b.mp4", "b.jsonl")
    found = find_recordings([tmp_path / "a.mp4"])
    assert names(found) == ["a"]
    assert found.recordings[0].masks == tmp_path / "a.rle"
    assert not found.rejections


def test_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"/none: no such file or folder\. Give the folder"):
        find_recordings([tmp_path / "none"])


def test_source_that_does_not_exist_is_refused_with_those_that_do(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="got 'vpt', expected one of contractor, minestudio, lmdb, plain"):
        find_recordings([tmp_path], "vpt")


def test_log_tells_a_plain_recording_from_a_contractor_one(tmp_path: Path) -> None:
    make(tmp_path, "a.mkv", "a.jsonl", text=PLAIN)
    make(tmp_path, "b.mp4", "b.jsonl")
    make(tmp_path, "c.mp4", "c.jsonl", text="rubbish")
    make(tmp_path, "d.mp4", "d.jsonl", text="")
    found = find_recordings([tmp_path])
    assert [(r.name, r.source) for r in found.recordings] == [
        ("a", "plain"),
        ("b", "contractor"),
        ("c", "contractor"),
        ("d", "contractor"),
    ]
    assert [r.source for r in find_recordings([tmp_path], "plain").recordings] == ["plain"] * 4


def test_masks_are_found_beside_and_elsewhere_and_without_a_pickle_first(tmp_path: Path) -> None:
    make(tmp_path, "8.0/a.mp4", "8.0/a.jsonl", "8.0/a.rle", "else/a.rle", "8.0/b.mp4", "8.0/b.jsonl", "else/b.rle")
    make(tmp_path, "8.0/c.mp4", "8.0/c.jsonl", "8.0/c.rle", "8.0/c.masks.jsonl")
    found = find_recordings([tmp_path])
    assert [r.masks for r in found.recordings] == [
        tmp_path / "8.0" / "a.rle",
        tmp_path / "else" / "b.rle",
        tmp_path / "8.0" / "c.masks.jsonl",
    ]
    assert not found.rejections


def test_recording_without_masks_has_none(tmp_path: Path) -> None:
    make(tmp_path, "a.mp4", "a.jsonl")
    assert load_masks(find_recordings([tmp_path]).recordings[0]) is None


def test_masks_that_cannot_be_read_have_a_reason_of_their_own(tmp_path: Path) -> None:
    make(tmp_path, "a.mp4", "a.jsonl", "a.rle")
    with pytest.raises(SourceError, match=r"a\.rle: not a pickle of plain data"):
        load_masks(find_recordings([tmp_path]).recordings[0])


# -- index files ---------------------------------------------------------------------------------------------


def index(path: Path, *relpaths: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"basedir": "https://x/", "relpaths": list(relpaths)}, indent=2))
    return path


def test_index_that_is_named_counts_what_was_not_downloaded(tmp_path: Path) -> None:
    make(tmp_path / "data", "a.mp4", "a.jsonl", "b.mp4")
    path = index(tmp_path / "all.json", "data/8.0/a.mp4", "data/8.2/a.mp4", "8.0/b", "8.0/c", "8.1/c")
    found = find_recordings([tmp_path / "data", path])
    assert left_out(found) == [("b", "missing_log"), ("c", "not_downloaded")]
    # The flat file's version is the highest that the index has for it.
    assert [(r.name, r.version) for r in found.recordings] == [("a", "8.2")]


def test_index_that_lies_in_a_folder_only_tells_versions(tmp_path: Path) -> None:
    make(tmp_path, "a.mp4", "a.jsonl", "7.1/b.mp4", "7.1/b.jsonl")
    index(tmp_path / "all_6xx.json", "data/6.9/a.mp4", "data/6.9/b.mp4", "data/6.9/c.mp4")
    make(tmp_path, "a-options.json", "notes.json")
    found = find_recordings([tmp_path])
    assert left_out(found) == []
    assert [(r.name, r.version) for r in found.recordings] == [("a", "6.9"), ("b", "7.1")]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"relpaths": 3}', '{"relpaths": [3]}', "[" * 100_000])
def test_index_of_another_layout_is_refused_by_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "index.json"
    path.write_text(text)
    with pytest.raises(SourceError, match=r"index\.json: not an index of recordings, got "):
        find_recordings([path])


@pytest.mark.parametrize(
    ("index_name", "num_recordings", "versions"),
    [
        ("7xx_Apr_6", 17_886, {"7.1": 8, "7.2": 389, "7.3": 50, "7.4": 8, "7.5": 36, "7.6": 2006, "7.7": 15_389}),
        # 133 stems are in 8.0 and 8.2, 61 in 8.0 and 8.1: the higher one counts.
        ("8xx_Jun_29", 4_902, {"8.0": 1739 - 133 - 61, "8.1": 1571, "8.2": 1786}),
        ("10xx_Jun_29", 5_661, {"10.0": 5661}),
    ],
)
def test_released_index_names_as_many_recordings_of_each_version_as_were_counted(
    shared: Path, tmp_path: Path, index_name: str, num_recordings: int, versions: Mapping[str, int]
) -> None:
    from pipeline.sources.index import read_index

    path = shared / "data" / "index" / f"all_{index_name}.json"
    counted: dict[str | None, int] = {}
    for version in read_index(path).values():
        counted[version] = counted.get(version, 0) + 1
    assert counted == versions
    found = find_recordings([path])
    assert len(found.rejections) == num_recordings
    assert {rejection.reason for rejection in found.rejections} == {"not_downloaded"}


# -- MineStudio's files --------------------------------------------------------------------------------------


def test_minestudio_files_are_recognised_and_show_their_cursor(tmp_path: Path) -> None:
    actions(tmp_path / "actions" / f"{NAME}.pkl")
    actions(tmp_path / "actions" / "alone.pkl")
    make(tmp_path, f"videos/{NAME}.mp4", "videos/b.mp4", f"privileged_infos/{NAME}.pkl", f"rle/{NAME}.rle")
    found = find_recordings([tmp_path])
    [recording] = found.recordings
    assert (recording.name, recording.source) == (NAME, "minestudio")
    assert recording.masks == tmp_path / "rle" / f"{NAME}.rle"
    assert recording.info == tmp_path / "privileged_infos" / f"{NAME}.pkl"
    assert recording.start_time == datetime.fromisoformat("2022-01-04T19:38:28")
    assert left_out(found) == [("alone", "missing_video"), ("b", "missing_log")]


def test_raw_recording_is_preferred_to_the_one_that_was_encoded_again(tmp_path: Path) -> None:
    make(tmp_path, "mp4/a.mp4", "jsonl/a.jsonl", "videos/a.mp4", "videos/b.mp4")
    actions(tmp_path / "actions" / "a.pkl")
    actions(tmp_path / "actions" / "b.pkl")
    found = find_recordings([tmp_path])
    assert [(r.name, r.source) for r in found.recordings] == [("a", "contractor"), ("b", "minestudio")]
    assert found.recordings[0].video == tmp_path / "mp4" / "a.mp4"
    assert left_out(found) == [("a", "duplicate")]
    converted = find_recordings([tmp_path], "minestudio")
    assert [(r.name, r.video.parent.name) for r in converted.recordings] == [("a", "videos"), ("b", "videos")]


def test_video_with_the_cursor_in_it_never_goes_with_a_recorder_log(tmp_path: Path) -> None:
    make(tmp_path, "jsonl/a.jsonl", "videos/a.mp4", "privileged_infos/a.pkl")
    found = find_recordings([tmp_path])
    assert names(found) == []
    assert left_out(found) == [("a", "missing_log"), ("a", "missing_video")]


def test_lone_actions_and_videos_are_found_anywhere_when_the_source_is_named(tmp_path: Path) -> None:
    actions(tmp_path / "acts" / "a.pkl")
    make(tmp_path, "films/a.mp4")
    assert names(find_recordings([tmp_path])) == []
    assert names(find_recordings([tmp_path], "minestudio")) == ["a"]


def test_every_source_is_measured_and_read_by_its_own_module(tmp_path: Path) -> None:
    make(tmp_path, "raw.mp4", "raw.jsonl", text=RECORDER * 2)
    make(tmp_path, "own.webm", "own.jsonl", text=PLAIN * 4)
    make(tmp_path, "videos/conv.mp4")
    actions(tmp_path / "actions" / "conv.pkl")
    recordings = find_recordings([tmp_path]).recordings
    assert [(r.name, r.source) for r in recordings] == [
        ("conv", "minestudio"),
        ("own", "plain"),
        ("raw", "contractor"),
    ]
    assert [measure(recording).num_frames for recording in recordings] == [3, 4, 2]
    assert [load_log(recording).num_frames for recording in recordings] == [3, 4, 2]
