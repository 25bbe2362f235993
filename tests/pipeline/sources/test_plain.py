"""Plain recordings: the documented line in both forms, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.recording import CarryState, Recording, RecordingContent
from shards.action_space import ACTION_SPACE
from tests.pipeline.recordings import load_log, measure

BUTTONS = ACTION_SPACE.buttons


def read(tmp_path: Path, *lines: Any) -> RecordingContent:
    path = tmp_path / "own.jsonl"
    path.write_text("".join((item if isinstance(item, str) else json.dumps(item)) + "\n" for item in lines))
    recording = Recording("own", "plain", path.with_suffix(".mkv"), path)
    assert measure(recording).num_frames == len(lines)
    return load_log(recording)


def pressed(content: RecordingContent) -> list[list[str]]:
    return [[name for name, down in zip(BUTTONS, row, strict=True) if down] for row in content.buttons]


def test_both_documented_forms_say_the_same(tmp_path: Path) -> None:
    content = read(
        tmp_path,
        '{"buttons": ["forward", "attack"], "camera": [-1.5, 12.0], "gui": false}',
        '{"forward": 1, "attack": 1, "camera": [-1.5, 12.0]}',
    )
    assert pressed(content) == [["attack", "forward"]] * 2
    assert content.camera.tolist() == [[-1.5, 12.0]] * 2
    assert content.cursor_window_px is None
    assert content.breakage is None


def test_all_23_buttons_have_their_place(tmp_path: Path) -> None:
    assert pressed(read(tmp_path, *({"buttons": [name]} for name in BUTTONS))) == [[name] for name in BUTTONS]


def test_what_is_not_named_is_not_pressed_and_the_camera_stands(tmp_path: Path) -> None:
    content = read(tmp_path, {}, {"buttons": []}, {"attack": 0, "use": False}, {"use": True, "gui": True})
    assert pressed(content) == [[], [], [], ["use"]]
    assert content.camera.tolist() == [[0, 0]] * 4
    assert content.keep.tolist() == [False, False, False, True]
    assert content.gui.tolist() == [False, False, False, True]


@pytest.mark.parametrize(
    ("bad", "detail"),
    [
        ({"buttons": ["foward"]}, "'foward' is no button"),
        ({"foward": 1}, "'foward' is no button, did you mean 'forward'"),
        ({"hotbar.10": 1}, "'hotbar.10' is no button, did you mean 'hotbar.1'"),
        ({"buttons": "forward"}, "buttons is 'forward', expected a list"),
        ({"buttons": [], "attack": 1}, "'attack' beside buttons"),
        ({"attack": 2}, "attack is 2, expected 0 or 1"),
        ({"attack": "1"}, "attack is '1', expected 0 or 1"),
        ({"attack": None}, "attack is None, expected 0 or 1"),
        ({"camera": [1]}, r"camera is \[1\], expected"),
        ({"camera": None}, "camera is None, expected"),
        ({"camera": [1, "2"]}, "camera is .*, expected"),
        ('{"camera": [1, NaN]}', "not JSON"),
        ('{"camera": [1, 1e999]}', "camera is .*inf.*, expected"),
        ({"gui": 1}, "gui is 1, expected true or false"),
        ("", "line 2 is blank"),
    ],
)
def test_line_that_is_no_action_ends_the_usable_part(tmp_path: Path, bad: Any, detail: str) -> None:
    content = read(tmp_path, {"attack": 1}, bad, {"attack": 1})
    assert content.num_frames == 1
    assert content.num_lines == 3
    assert content.breakage is not None
    assert content.breakage.first_frame == 1
    with pytest.raises(AssertionError, match=detail):
        raise AssertionError(content.breakage.detail)


def test_slot_that_was_pressed_last_is_carried_on(tmp_path: Path) -> None:
    assert read(tmp_path, {"hotbar.4": 1}, {"use": 1}).state == CarryState(attack_stuck=False, hotbar=3)


@pytest.mark.parametrize(
    "name",
    [
        "Player729-f153ac423f61-20210806-224813.chunk_000",
        "snippy-chartreuse-mastiff-f79998db196d-20220401-224517.chunk_001",
        "treechop-f153ac423f61-20210916-183423.chunk_000",
    ],
)
def test_real_environment_actions_are_read_as_they_are(shared: Path, tmp_path: Path, name: str) -> None:
    actions = json.loads((shared / "data" / "actions" / f"{name}.actions.json").read_text())
    content = read(tmp_path, *actions)
    assert content.num_frames == 1200
    for column, button in enumerate(BUTTONS):
        np.testing.assert_array_equal(content.buttons[:, column], [action[button] for action in actions])
    np.testing.assert_array_equal(content.camera, [action["camera"] for action in actions])
