"""MineStudio's LMDB sets, written as its own program writes them: both versions, joined by name, and damaged."""

from __future__ import annotations

import multiprocessing
import pickle
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.recording import Findings
from pipeline.rejection import SourceError
from pipeline.sources import find_recordings, source_of
from pipeline.sources.source import VideoPiece
from shards.action_space import ACTION_SPACE
from tests.pipeline.lmdb_sets import CHUNK, write_environment
from tests.pipeline.recordings import load_log, load_masks, measure

BUTTONS = ACTION_SPACE.buttons
POLICY_BUTTONS = ACTION_SPACE.policy_buttons

pytest.importorskip("lmdb")

STONE = "minecraft.mine_block:minecraft.stone"


def action_chunk(start: int, num_frames: int = CHUNK) -> bytes:
    """Frame i of an episode turns by i degrees; `use` is down in every third."""
    frames = np.arange(start, start + num_frames)
    value = {name: np.zeros(num_frames, np.int64) for name in POLICY_BUTTONS}
    value["use"] = (frames % 3 == 0).astype(np.int64)
    value["camera"] = np.stack([np.zeros(num_frames), frames.astype(float)], axis=1)
    return pickle.dumps(value)


def entry(rle: str, first: int, last: int, **changes: Any) -> dict[str, Any]:
    return {
        "obj_id": 2,
        "rle_mask": rle,
        "event": STONE,
        "point": (3.0, 4.0),
        "ori_frame_id": 0,
        "ori_frame_range": (0, 0),
        "frame_id": 0,
        "frame_range": (first, last),
        **changes,
    }


def chunk_of(start: int, frames: Mapping[int, Any]) -> bytes:
    """A chunk of masks; each entry gets the number of its frame."""
    shown = [(frame, frames.get(frame, {})) for frame in range(start, start + CHUNK)]
    numbered = [
        {
            key: {**entry, "frame_id": frame} if isinstance(entry, dict) and "frame_id" in entry else entry
            for key, entry in entries.items()
        }
        if isinstance(entries, dict)
        else entries
        for frame, entries in shown
    ]
    return pickle.dumps(numbered)


def mp4(name: str, start: int) -> bytes:
    return f"mp4 of {name} from {start}".encode()


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """Two episodes; the environments number them differently, and one lacks the masks of b."""
    root = tmp_path / "dataset_6xx"
    a, b = "a-20220101-100000", "b-20220101-100000"
    write_environment(root / "image" / "part-2", {a: [mp4("a", 0), mp4("a", 32)], b: [mp4("b", 0)]})
    write_environment(root / "action" / "part-1", {b: [action_chunk(0)]})
    write_environment(root / "action" / "part-2", {a: [action_chunk(0), action_chunk(32)]})
    infos = [{"isGuiOpen": frame == 5, "inventory": []} for frame in range(64)]
    write_environment(root / "meta_info" / "part-1", {a: [pickle.dumps(infos[:32]), pickle.dumps(infos[32:])]})
    key = (0, STONE)
    masks = {frame: {key: entry("1 3", 30, 33)} for frame in (30, 31)}
    # Another recording of the episode counts its interactions from 0 again.
    later = {32: {key: entry("2 3", 30, 33)}, 50: {key: entry("4 3", 45, 50, obj_id=1, point=None), "x": 3}}
    write_environment(root / "segmentation" / "part-1", {a: [chunk_of(0, masks), chunk_of(32, later)]})
    (root / "event").mkdir()
    write_environment(root / "motion" / "motion" / "motion-1", {})
    return root


def names(found: Findings) -> list[str]:
    return [recording.name for recording in found.recordings]


def test_modalities_are_joined_by_the_name_of_the_episode(published: Path) -> None:
    found = find_recordings([published])
    assert not found.rejections
    a, b = found.recordings
    assert (a.name, a.source, a.start_time) == ("a-20220101-100000", "lmdb", None)
    assert (a.video, a.actions) == (published / "image" / "part-2", published / "action" / "part-2")
    assert (b.video, b.actions) == (published / "image" / "part-2", published / "action" / "part-1")
    assert (a.masks, b.masks) == (published / "segmentation" / "part-1", None)
    assert load_log(a).cursor_window_px is None
    assert [measure(recording).num_frames for recording in (a, b)] == [64, 32]


def test_actions_and_menus_of_an_episode_are_those_of_its_chunks(published: Path) -> None:
    a, b = find_recordings([published]).recordings
    content = load_log(a)
    assert content.camera[:, 1].tolist() == [float(frame) for frame in range(64)]
    assert content.buttons[:, BUTTONS.index("use")].tolist() == [int(frame % 3 == 0) for frame in range(64)]
    assert content.buttons.sum() == content.buttons[:, BUTTONS.index("use")].sum()
    assert np.flatnonzero(content.gui).tolist() == [5]
    assert content.cursor_at(5, 224, 224) is None
    assert (content.num_lines, content.breakage) == (64, None)
    assert load_log(b).num_frames == 32


def test_video_comes_as_the_pieces_that_are_stored(published: Path) -> None:
    a, b = find_recordings([published]).recordings
    assert list(source_of(a).pieces(a)) == [
        VideoPiece(0, 32, b"mp4 of a from 0"),
        VideoPiece(32, 32, b"mp4 of a from 32"),
    ]
    assert list(source_of(b).pieces(b)) == [VideoPiece(0, 32, b"mp4 of b from 0")]


def test_masks_of_an_episode_keep_equal_keys_of_its_recordings_apart(published: Path) -> None:
    a, b = find_recordings([published]).recordings
    masks = load_masks(a)
    assert masks is not None
    assert (masks.height, masks.width) == (360, 640)
    assert [(i.type, i.event, i.start, i.stop) for i in masks.interactions] == [
        (2, STONE, 30, 34),
        (3, STONE, 45, 51),
    ]
    shown = {frame: [(c.interaction, c.rle, c.point) for c in cs] for frame, cs in masks.frames.items()}
    point = (3.0, 4.0)
    assert shown == {
        30: [(0, "1 3", point)],
        31: [(0, "1 3", point)],
        32: [(0, "2 3", point)],
        50: [(1, "4 3", None)],
    }
    assert [(problem.reason, problem.first_frame) for problem in masks.problems] == [("mask_entry", 50)]
    assert load_masks(b) is None


def test_older_set_has_other_folders_and_masks_by_type_alone(tmp_path: Path) -> None:
    root = tmp_path / "7xx"
    write_environment(root / "video" / "video-1", {"a": [mp4("a", 0), mp4("a", 32)]})
    write_environment(root / "action" / "action-1", {"a": [action_chunk(0), action_chunk(32)]})
    first = {frame: {2: "1 3"} for frame in (3, 4, 10, 31)}
    first[4] = {2: "2 3", 0: "5 1"}
    write_environment(
        root / "segment" / "segment-1", {"a": [chunk_of(0, first), chunk_of(32, {32: {2: "7 1"}, 33: {9: "1 1"}})]}
    )
    found = find_recordings([root])
    assert not found.rejections
    masks = load_masks(found.recordings[0])
    assert masks is not None
    # Each stretch with one type is an interaction; one goes on over the chunks' border.
    spans = {(i.type, i.start, i.stop) for i in masks.interactions}
    assert spans == {(2, 3, 5), (2, 10, 11), (2, 31, 33), (0, 4, 5)}
    assert list(masks.frames) == [3, 4, 10, 31, 32]
    shown = [(masks.interactions[c.interaction].start, c.rle) for c in masks.frames[32]]
    assert shown == [(31, "7 1")]
    assert [(problem.reason, problem.first_frame) for problem in masks.problems] == [("unknown_interaction", 33)]


def test_episodes_that_lack_video_or_actions_are_left_out(tmp_path: Path) -> None:
    write_environment(tmp_path / "image" / "part-1", {"a": [mp4("a", 0)], "b": [mp4("b", 0)]})
    write_environment(tmp_path / "action" / "part-1", {"b": [action_chunk(0)], "c": [action_chunk(0)]})
    found = find_recordings([tmp_path])
    assert names(found) == ["b"]
    assert [(r.recording, r.reason) for r in found.rejections] == [("a", "missing_log"), ("c", "missing_video")]


def test_same_episode_in_two_sets_is_taken_once(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_environment(tmp_path / name / "image" / "part-1", {"a": [mp4(name, 0)]})
        write_environment(tmp_path / name / "action" / "part-1", {"a": [action_chunk(0)]})
    found = find_recordings([tmp_path])
    [recording] = found.recordings
    assert recording.video == tmp_path / "one" / "image" / "part-1"
    assert [(r.recording, r.reason) for r in found.rejections] == [("a", "duplicate")]


def test_episode_whose_parts_differ_in_length_is_left_out_with_its_frames(tmp_path: Path) -> None:
    """Nobody knows where the hole is: pairing from the start would give later frames another moment's actions."""
    chunks = {"a": 2, "b": 2, "c": 2, "d": 2}
    write_environment(
        tmp_path / "image" / "part-1", {n: [mp4(n, 32 * i) for i in range(k)] for n, k in chunks.items()}
    )
    actions = chunks | {"a": 1}
    write_environment(
        tmp_path / "action" / "part-1", {n: [action_chunk(32 * i) for i in range(k)] for n, k in actions.items()}
    )
    write_environment(
        tmp_path / "segmentation" / "part-1", {"b": [chunk_of(0, {})], "d": [chunk_of(0, {}), chunk_of(32, {})]}
    )
    infos = pickle.dumps([{"isGuiOpen": False}] * 32)
    write_environment(tmp_path / "meta_info" / "part-1", {"c": [infos] * 3, "d": [infos] * 2})
    found = find_recordings([tmp_path])
    assert [recording.name for recording in found.recordings] == ["d"]
    assert [(r.recording, r.reason, r.num_frames, r.detail) for r in found.rejections] == [
        ("a", "lengths_differ", 64, "image has 64 frames, action has 32 frames"),
        ("b", "lengths_differ", 64, "image has 64 frames, action has 64 frames, segmentation has 32 frames"),
        ("c", "lengths_differ", 64, "image has 64 frames, action has 64 frames, meta_info has 96 frames"),
    ]


def test_mask_of_another_frame_is_not_taken(tmp_path: Path) -> None:
    write_environment(tmp_path / "image" / "part-1", {"a": [mp4("a", 0)]})
    write_environment(tmp_path / "action" / "part-1", {"a": [action_chunk(0)]})
    frames = [{(0, STONE): {**entry("1 3", 0, 9), "frame_id": frame + (frame > 4)}} for frame in range(32)]
    write_environment(tmp_path / "segmentation" / "part-1", {"a": [pickle.dumps(frames)]})
    masks = load_masks(find_recordings([tmp_path]).recordings[0])
    assert list(masks.frames) == [0, 1, 2, 3, 4]
    assert [(p.reason, p.first_frame, p.num_entries) for p in masks.problems] == [("mask_entry", 5, 27)]


def test_truncated_file_is_named_and_costs_only_what_needs_it(published: Path) -> None:
    """To read a page beyond its end would kill the process."""
    file = published / "action" / "part-2" / "data.mdb"  # holds a's actions
    whole = file.stat().st_size
    for num_bytes in (whole - 1, whole // 2, 8192, 100, 0):
        with open(file, "r+b") as opened:
            opened.truncate(num_bytes)
        found = find_recordings([published])
        assert [recording.name[0] for recording in found.recordings] == ["b"]
        reasons = {r.reason: r for r in found.rejections}
        assert set(reasons) == {"unreadable", "missing_log"}
        assert str(file) in reasons["unreadable"].detail
        assert (reasons["missing_log"].recording[0], reasons["missing_log"].num_frames) == ("a", 64)
        if num_bytes >= 8192:
            assert f"truncated, got {num_bytes} bytes, expected {whole}" in reasons["unreadable"].detail


def test_file_that_is_truncated_after_it_was_found_ends_the_reading(published: Path) -> None:
    a, _ = find_recordings([published]).recordings
    file = a.actions / "data.mdb"
    with open(file, "r+b") as opened:
        opened.truncate(file.stat().st_size - 4096)
    with pytest.raises(SourceError, match=r"part-2/data\.mdb: truncated, got \d+ bytes"):
        load_log(a)


def test_two_links_to_one_file_are_one(published: Path) -> None:
    (published / "image" / "part-3").symlink_to(published / "image" / "part-2")
    (published / "action" / "part-9").mkdir()
    (published / "action" / "part-9" / "data.mdb").symlink_to(published / "action" / "part-1" / "data.mdb")
    found = find_recordings([published])
    assert [recording.name[0] for recording in found.recordings] == ["a", "b"]
    assert not found.rejections
    assert [load_log(recording).num_frames for recording in found.recordings] == [64, 32]


def damaged(tmp_path: Path, *chunks: bytes | None) -> Findings:
    write_environment(tmp_path / "image" / "part-1", {"a": [mp4("a", 32 * place) for place in range(len(chunks))]})
    write_environment(tmp_path / "action" / "part-1", {"a": chunks})
    return find_recordings([tmp_path])


@pytest.mark.parametrize(
    ("second", "num_frames", "detail"),
    [
        (None, 32, "chunk 32 is missing"),
        (b"rubbish", 32, "not a pickle of plain data"),
        (b"cos\nsystem\n(S'true'\ntR.", 32, "not a pickle of plain data"),
        (pickle.dumps({}), 32, "camera missing"),
        (action_chunk(32, 20), 52, "chunk 32: 20 good actions, expected 32"),
        (action_chunk(32, 40), 64, "chunk 32: 32 good actions, expected 32"),
        (
            action_chunk(32).replace(np.float64(40).tobytes(), np.float64(np.nan).tobytes()),
            40,
            "the camera is no finite number",
        ),
    ],
)
def test_chunk_that_is_bad_ends_the_usable_part(
    tmp_path: Path, second: bytes | None, num_frames: int, detail: str
) -> None:
    [recording] = damaged(tmp_path, action_chunk(0), second, action_chunk(64)).recordings
    content = load_log(recording)
    assert (content.num_frames, content.num_lines) == (num_frames, 96)
    assert content.camera[:, 1].tolist() == [float(frame) for frame in range(num_frames)]
    assert content.breakage is not None
    assert content.breakage.first_frame == num_frames
    assert detail in content.breakage.detail


def test_chunk_of_the_video_that_is_missing_is_nothing(tmp_path: Path) -> None:
    write_environment(tmp_path / "image" / "part-1", {"a": [None]})
    write_environment(tmp_path / "action" / "part-1", {"a": [action_chunk(0)]})
    recording = find_recordings([tmp_path]).recordings[0]
    assert list(source_of(recording).pieces(recording)) == [VideoPiece(0, 32, None)]


@pytest.mark.parametrize("content", [b"", b"junk" * 3000])
def test_environment_that_is_none_is_left_out_by_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "image" / "part-7" / "data.mdb"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    [rejection] = find_recordings([tmp_path]).rejections
    assert (rejection.recording, rejection.reason) == ("part-7", "unreadable")
    assert "part-7/data.mdb: not an LMDB file" in rejection.detail


@pytest.mark.parametrize(
    "meta",
    [
        {"__chunk_size__": 0},
        {"__chunk_size__": "32"},
        {"__chunk_infos__": {}},
        {"__chunk_infos__": [{"episode": 3}]},
    ],
)
def test_environment_of_another_layout_is_left_out_by_name(tmp_path: Path, meta: dict[str, Any]) -> None:
    write_environment(tmp_path / "image" / "part-1", {"a": [b"x"]}, **meta)
    [rejection] = find_recordings([tmp_path]).rejections
    assert "part-1: not an environment of MineStudio's, got " in rejection.detail


def test_worker_processes_can_read_what_the_parent_found(published: Path) -> None:
    recordings = find_recordings([published]).recordings
    load_log(recordings[0])  # the parent holds a handle now
    for method in ("fork", "spawn"):
        with multiprocessing.get_context(method).Pool(1) as pool:
            [content] = pool.map(load_log, recordings[:1])
            assert content.num_frames == 64


def test_threads_share_one_handle(published: Path) -> None:
    recordings = find_recordings([published]).recordings
    with ThreadPoolExecutor(8) as threads:
        lengths = list(threads.map(lambda number: measure(recordings[number % 2]).num_frames, range(40)))
    assert lengths == [64, 32] * 20


def test_compat_minestudio_changes_nothing_in_an_lmdb_episode(published: Path) -> None:
    recording = find_recordings([published]).recordings[0]
    ours, theirs = load_log(recording), load_log(recording, compat="minestudio")
    np.testing.assert_array_equal(ours.buttons, theirs.buttons)
    np.testing.assert_array_equal(ours.camera, theirs.camera)


def test_episode_that_is_not_there_is_named(published: Path) -> None:
    from dataclasses import replace

    recording = replace(find_recordings([published]).recordings[0], name="other")
    with pytest.raises(SourceError, match="part-2: no episode other"):
        load_log(recording)
