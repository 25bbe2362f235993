"""Both layouts of mask files."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.rejection import SourceError
from pipeline.sources.mask_files import MaskWriter, load_masks_file
from pipeline.sources.masks import Candidate, MaskError, decode_rle
from shards.clip import Interaction

STONE, CHEST = "minecraft.mine_block:minecraft.stone", "minecraft.custom:minecraft.open_chest"


def entry(**changes: Any) -> dict[str, Any]:
    return {
        "obj_id": 2,
        "rle_mask": "1 3",
        "event": STONE,
        "point": (10.5, 20.0),
        "frame_range": (4, 6),
        **changes,
    }


def annotations() -> dict[str, Any]:
    """As the annotation tool writes it: keys of interaction, event and frame."""
    chest = {"obj_id": 1, "event": CHEST, "point": None, "frame_range": (5, 9), "rle_mask": ""}
    return {
        "video_annos": {6: [(0, STONE, 6)], 4: [(0, STONE, 4)], 5: [(1, CHEST, 5), (0, STONE, 5)]},
        "rle_mask_mapping": {
            (0, STONE, 4): entry(),
            (0, STONE, 5): entry(rle_mask="2 3"),
            (0, STONE, 6): entry(rle_mask="3 3"),
            (1, CHEST, 5): entry(**chest),
        },
    }


def write(path: Path, value: Any) -> Path:
    path.write_bytes(pickle.dumps(value))
    return path


def test_rle_file_gives_every_candidate_of_every_frame(tmp_path: Path) -> None:
    masks = load_masks_file(write(tmp_path / "a.rle", annotations()))
    assert (masks.height, masks.width) == (360, 640)
    assert list(masks.interactions) == [
        Interaction(2, STONE, 4, 7),
        Interaction(3, CHEST, 5, 10),
    ]
    assert {frame: list(candidates) for frame, candidates in masks.frames.items()} == {
        4: [Candidate(0, "1 3", (10.5, 20.0))],
        5: [Candidate(1, "", None), Candidate(0, "2 3", (10.5, 20.0))],
        6: [Candidate(0, "3 3", (10.5, 20.0))],
    }
    assert list(masks.frames) == [4, 5, 6]
    assert not masks.problems


def test_rle_file_without_annotations_has_no_frames(tmp_path: Path) -> None:
    masks = load_masks_file(write(tmp_path / "a.rle", {"video_annos": {}, "rle_mask_mapping": {}}))
    assert not masks.frames
    assert not masks.interactions


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"obj_id": 9}, "unknown_interaction"),
        ({"obj_id": None}, "unknown_interaction"),
        ({"rle_mask": b"1 3"}, "mask_entry"),
    ],
)
def test_bad_entry_of_an_rle_file_costs_only_itself(tmp_path: Path, change: dict[str, Any], reason: str) -> None:
    value = annotations()
    value["rle_mask_mapping"][0, STONE, 4].update(change)
    masks = load_masks_file(write(tmp_path / "a.rle", value))
    assert list(masks.frames) == [5, 6]
    assert [(problem.reason, problem.first_frame, problem.num_entries) for problem in masks.problems] == [
        (reason, 4, 1)
    ]


@pytest.mark.parametrize(
    ("change", "candidate", "interactions"),
    [
        ({"frame_range": 5}, Candidate(0, "1 3", (10.5, 20.0)), [(STONE, 4, 7), (CHEST, 5, 10)]),
        ({"frame_range": (1, 2, 3)}, Candidate(0, "1 3", (10.5, 20.0)), [(STONE, 4, 7), (CHEST, 5, 10)]),
        ({"event": None}, Candidate(0, "1 3", (10.5, 20.0)), [("", 4, 7), (CHEST, 5, 10), (STONE, 4, 7)]),
        ({"point": (1, "b")}, Candidate(0, "1 3", None), [(STONE, 4, 7), (CHEST, 5, 10)]),
        ({"point": (360.0, 3)}, Candidate(0, "1 3", None), [(STONE, 4, 7), (CHEST, 5, 10)]),
        ({"point": (3, -1.0)}, Candidate(0, "1 3", None), [(STONE, 4, 7), (CHEST, 5, 10)]),
    ],
)
def test_bad_field_of_an_rle_file_costs_only_the_field(
    tmp_path: Path, change: dict[str, Any], candidate: Candidate, interactions: list[tuple[str, int, int]]
) -> None:
    value = annotations()
    value["rle_mask_mapping"][0, STONE, 4].update(change)
    masks = load_masks_file(write(tmp_path / "a.rle", value))
    assert masks.frames[4] == (candidate,)
    assert [(i.event, i.start, i.stop) for i in masks.interactions] == interactions
    assert [(p.reason, p.first_frame, p.num_entries) for p in masks.problems] == [("mask_field", 4, 1)]


@pytest.mark.parametrize(
    "change",
    [
        {"point": (float("nan"), float("nan"))},  # the centroid of an empty mask
        {"point": np.array([np.nan, np.nan])},
        {"frame_range": np.array([4, 6]), "point": None},
        {"frame_range": [4, 6], "point": None},
    ],
)
def test_unknown_points_and_ranges_of_any_kind_are_no_problem(tmp_path: Path, change: dict[str, Any]) -> None:
    value = annotations()
    value["rle_mask_mapping"][0, STONE, 4].update(change)
    masks = load_masks_file(write(tmp_path / "a.rle", value))
    assert masks.frames[4] == (Candidate(0, "1 3", None),)
    assert [(i.start, i.stop) for i in masks.interactions] == [(4, 7), (5, 10)]
    assert not masks.problems


def test_candidate_without_an_entry_and_frames_without_a_number_are_counted(tmp_path: Path) -> None:
    value = annotations()
    value["video_annos"].update({7: [(0, STONE, 7), "x", ([],)], "8": [], 9: 3})
    masks = load_masks_file(write(tmp_path / "a.rle", value))
    assert list(masks.frames) == [4, 5, 6]
    assert sorted((problem.first_frame, problem.num_entries) for problem in masks.problems) == [
        (0, 1),
        (7, 3),
        (9, 1),
    ]


@pytest.mark.parametrize("value", [None, [], {}, {"video_annos": []}, {"video_annos": {}, "rle_mask_mapping": 3}])
def test_rle_file_of_another_layout_is_refused_by_name(tmp_path: Path, value: object) -> None:
    with pytest.raises(SourceError, match=r"a\.rle: not a file of masks, got \w+, expected a dict"):
        load_masks_file(write(tmp_path / "a.rle", value))


def test_rle_file_that_runs_code_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.rle").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(SourceError, match=r"a\.rle: not a pickle of plain data, got .*os\.system"):
        load_masks_file(tmp_path / "a.rle")


# -- our own layout ------------------------------------------------------------------------------------------

DOCUMENTED = """\
{"format": "rocket-masks", "version": 1, "height": 360, "width": 640}
{"type": "mine", "event": "mine_block:stone", "start": 534, "stop": 614, "frames": \
[{"frame": 534, "rle": "41201 12 41840 14", "point": [64.5, 240.0]}, {"frame": 535, "rle": ""}]}
"""


def test_documented_masks_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.masks.jsonl"
    path.write_text(DOCUMENTED)
    masks = load_masks_file(path)
    [interaction] = masks.interactions
    assert (interaction.type, interaction.event) == (2, "mine_block:stone")
    assert (interaction.start, interaction.stop) == (534, 614)
    assert dict(masks.frames) == {
        534: (Candidate(0, "41201 12 41840 14", (64.5, 240.0)),),
        535: (Candidate(0, "", None),),
    }


def test_masks_of_boolean_arrays_are_read_again(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    stone = {frame: rng.random((36, 64)) < 0.3 for frame in (534, 535, 537)}
    slot = np.zeros((36, 64), bool)
    slot[10:12, 20:24] = True
    path = tmp_path / "a.masks.jsonl"
    with MaskWriter(path, height=36, width=64, model="somebody's") as file:
        file.add("mine", "mine_block:stone", stone, confidences={534: 0.25}, stop=541)
        file.add("craft", "craft_item:torch", {3: np.zeros((36, 64), bool), 4: slot})
        assert list(tmp_path.iterdir()) == []
    assert json.loads(path.read_text().splitlines()[0]) == {
        "format": "rocket-masks",
        "version": 1,
        "height": 36,
        "width": 64,
        "model": "somebody's",
    }
    masks = load_masks_file(path)
    assert [(i.type, i.event, i.start, i.stop) for i in masks.interactions] == [
        (4, "craft_item:torch", 3, 5),
        (2, "mine_block:stone", 534, 541),
    ]
    assert list(masks.frames) == [3, 4, 534, 535, 537]
    for frame, mask in stone.items():
        [candidate] = masks.frames[frame]
        np.testing.assert_array_equal(decode_rle(candidate.rle, 36, 64), mask)
        assert candidate.confidence == (0.25 if frame == 534 else None)
    assert masks.frames[3] == (Candidate(0, "", None),)
    assert masks.frames[4] == (Candidate(0, "661 4 725 4", (10.5, 21.5)),)
    assert list(tmp_path.iterdir()) == [path]


def test_mask_writer_leaves_nothing_after_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.masks.jsonl"
    good = {0: np.ones((36, 64), bool)}
    for kind, masks, problem in (
        (
            "mine",
            {0: np.ones((64, 36), bool)},
            r"masks of \[\(64, 36\)\] for e, expected one or more of \(36, 64\)",
        ),
        ("mine", {}, r"masks of \[\] for e"),
        (
            "mime",
            good,
            "type 'mime' for e, expected hunt, mine, interact, craft, switch, approach. Did you mean mine",
        ),
    ):
        with pytest.raises(MaskError, match=problem), MaskWriter(path, height=36, width=64) as file:
            file.add("mine", "e", good)
            file.add(kind, "e", masks)
        assert list(tmp_path.iterdir()) == []


def test_two_interactions_alike_stay_two(tmp_path: Path) -> None:
    path = tmp_path / "a.masks.jsonl"
    lines = DOCUMENTED.splitlines()
    path.write_text("\n".join([*lines, lines[1], ""]))
    assert [c.interaction for c in load_masks_file(path).frames[534]] == [0, 1]


@pytest.mark.parametrize(
    ("line", "detail"),
    [
        ("{", "line 2: not JSON"),
        ("[]", "line 2: a JSON list"),
        ('{"type": "mine"}', "line 2: no event"),
        ('{"type": "mine", "event": "e", "start": 1.5, "stop": 3, "frames": []}', "line 2: no start"),
        (
            '{"type": "mine", "event": "e", "start": 1, "stop": 3, "frames": [{"rle": ""}]}',
            "line 2: a frame without",
        ),
    ],
)
def test_bad_line_of_a_masks_file_costs_only_itself(tmp_path: Path, line: str, detail: str) -> None:
    path = tmp_path / "a.masks.jsonl"
    header, good = DOCUMENTED.splitlines()
    path.write_text("\n".join([header, line, good]))
    masks = load_masks_file(path)
    assert list(masks.frames) == [534, 535]
    [problem] = masks.problems
    assert problem.reason == "mask_entry"
    assert problem.detail.startswith(detail)


def test_type_of_a_masks_file_that_is_not_known_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.masks.jsonl"
    path.write_text(DOCUMENTED.replace('"mine"', '"mime"'))
    [problem] = load_masks_file(path).problems
    assert (problem.reason, problem.num_entries) == ("unknown_interaction", 2)
    assert problem.detail.startswith("type 'mime', expected 0 to 6, did you mean mine?")


@pytest.mark.parametrize(
    ("header", "problem"),
    [
        ("", "empty, expected a header"),
        ("x", "the first line is no header"),
        ("{}", "format None version None, expected 'rocket-masks' version 1"),
        ({"version": 2}, "format 'rocket-masks' version 2, expected 'rocket-masks' version 1"),
        ({"height": 0}, "masks of 0 x 640 pixels"),
        ({"width": 10**9}, "masks of 360 x 1000000000 pixels"),
    ],
)
def test_masks_file_with_a_bad_header_is_refused(tmp_path: Path, header: Any, problem: str) -> None:
    path = tmp_path / "a.masks.jsonl"
    if isinstance(header, dict):
        header = json.dumps(json.loads(DOCUMENTED.splitlines()[0]) | header)
    path.write_text(header and header + "\n")
    with pytest.raises(SourceError, match=rf"a\.masks\.jsonl: {problem}") as caught:
        load_masks_file(path)
    assert caught.value.reason == "masks_unreadable"
