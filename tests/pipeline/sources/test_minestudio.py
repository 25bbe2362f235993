"""MineStudio's intermediate files, written as its own program writes them."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.recording import CarryState, Recording
from pipeline.rejection import SourceError
from shards.action_space import ACTION_SPACE
from tests.pipeline.recordings import load_log, measure

BUTTONS = ACTION_SPACE.buttons

# The order that the program's dict has, once its three other buttons are taken out.
MINESTUDIO_KEYS = (
    *("back", "drop", "forward"),
    *(f"hotbar.{slot}" for slot in range(1, 10)),
    *("inventory", "jump", "left", "right", "sneak", "sprint", "camera", "attack", "use"),
)


def arrays(num_frames: int, **pressed: list[int]) -> dict[str, np.ndarray]:
    """The dict of a recording: int64 buttons, float64 camera."""
    made = {}
    for key in MINESTUDIO_KEYS:
        made[key] = np.zeros((num_frames, 2)) if key == "camera" else np.zeros(num_frames, np.int64)
    for name, frames in pressed.items():
        made[name.replace("_", ".")][frames] = 1
    return made


def write(tmp_path: Path, value: Any, infos: Any = None) -> Recording:
    path = tmp_path / "actions" / "a.pkl"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(pickle.dumps(value))
    info = None
    if infos is not None:
        info = tmp_path / "infos.pkl"
        info.write_bytes(infos if isinstance(infos, bytes) else pickle.dumps(infos))
    return Recording("a", "minestudio", tmp_path / "videos" / "a.mp4", path, info=info)


def test_arrays_become_columns_and_the_buttons_that_minestudio_drops_are_up(tmp_path: Path) -> None:
    value = arrays(4, forward=[0, 1], attack=[1], hotbar_3=[3])
    value["camera"][2] = [-0.45, 12.75]
    recording = write(tmp_path, value)
    content = load_log(recording)
    assert [[name for name, down in zip(BUTTONS, row, strict=True) if down] for row in content.buttons] == [
        ["forward"],
        ["attack", "forward"],
        [],
        ["hotbar.3"],
    ]
    assert content.camera.tolist() == [[0, 0], [0, 0], [-0.45, 12.75], [0, 0]]
    assert content.keep.tolist() == [True] * 4
    assert content.cursor_at(0, 640, 360) is None
    assert content.cursor_window_px is None
    assert content.state == CarryState(attack_stuck=False, hotbar=2)
    assert measure(recording).num_frames == 4


def test_movement_that_adds_up_to_nothing_is_no_noop(tmp_path: Path) -> None:
    value = arrays(2)
    value["camera"][0] = [3.0, -3.0]
    assert load_log(write(tmp_path, value)).keep.tolist() == [True, False]


def test_slot_that_was_selected_already_is_not_pressed_at_the_start_of_a_later_recording(tmp_path: Path) -> None:
    recording = write(tmp_path, arrays(3, hotbar_5=[0, 2]))
    column = BUTTONS.index("hotbar.5")
    later = CarryState(attack_stuck=False, hotbar=4)
    assert load_log(recording, later).buttons[:, column].tolist() == [0, 0, 1]
    # At an episode's start, after another slot, and as MineStudio has it, the press stays.
    assert load_log(recording).buttons[:, column].tolist() == [1, 0, 1]
    assert load_log(recording, CarryState(False, 3)).buttons[:, column].tolist() == [1, 0, 1]
    assert load_log(recording, later, compat="minestudio").buttons[:, column].tolist() == [1, 0, 1]


@pytest.mark.parametrize(
    ("infos", "expected"),
    [
        ([{"isGuiOpen": True}, {"isGuiOpen": False}, {"isGuiOpen": True}], [True, False, True]),
        (
            [{"cursor_x": 3, "cursor_y": 0}, {"cursor_x": 0, "cursor_y": 0}, {"cursor_x": 0, "cursor_y": 9}],
            [True, False, True],
        ),
        ([{"isGuiOpen": True}], None),
        ([{}, {}, {}], None),
        ("x", None),
        (b"cos\nsystem\n.", None),
        (None, None),
    ],
)
def test_open_menus_are_told_by_the_privileged_infos(
    tmp_path: Path, infos: Any, expected: list[bool] | None
) -> None:
    content = load_log(write(tmp_path, arrays(3), infos))
    assert content.gui.tolist() == (expected or [False] * 3)


def test_arrays_of_different_lengths_are_used_as_far_as_all_reach(tmp_path: Path) -> None:
    value = arrays(5)
    value["use"] = value["use"][:3]
    content = load_log(write(tmp_path, value))
    assert (content.num_frames, content.num_lines) == (3, 5)
    assert content.breakage is not None
    assert (content.breakage.first_frame, content.breakage.reason) == (3, "lengths_differ")


def test_camera_that_is_no_number_ends_the_usable_part(tmp_path: Path) -> None:
    value = arrays(5)
    value["camera"][2, 1] = np.nan
    content = load_log(write(tmp_path, value))
    assert (content.num_frames, content.num_lines) == (2, 5)
    assert content.breakage is not None
    assert (content.breakage.first_frame, content.breakage.reason) == (2, "wrong_schema")


def test_recording_of_no_frames_says_so(tmp_path: Path) -> None:
    content = load_log(write(tmp_path, arrays(0)))
    assert content.breakage is not None
    assert content.breakage.reason == "empty_log"


def _without(key: str) -> dict[str, np.ndarray]:
    return {name: array for name, array in arrays(2).items() if name != key}


@pytest.mark.parametrize(
    ("value", "got"),
    [
        ([1, 2], "got a list, expected a dict of arrays"),
        (_without("camera"), "got camera missing, expected the 20 buttons and the camera"),
        (_without("hotbar.7"), "got hotbar.7 missing"),
        ({**arrays(2), "fly": np.zeros(2)}, "got unknown 'fly'"),
        ({**arrays(2), "use": [0, 1]}, "got use of another kind"),
        ({**arrays(2), "use": np.zeros((2, 1))}, "got use of another kind"),
        ({**arrays(2), "use": np.array(3)}, "got use of another kind"),
        ({**arrays(2), "camera": np.zeros(2)}, "got camera of another kind"),
    ],
)
def test_actions_of_another_layout_are_refused_by_name(tmp_path: Path, value: Any, got: str) -> None:
    recording = write(tmp_path, value)
    for read in (load_log, measure):
        with pytest.raises(SourceError, match=rf"a\.pkl: not MineStudio's actions, {got}") as caught:
            read(recording)
        assert caught.value.reason == "wrong_schema"


def test_actions_that_run_code_are_refused(tmp_path: Path) -> None:
    recording = write(tmp_path, None)
    recording.actions.write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(SourceError, match=r"a\.pkl: not a pickle of plain data"):
        load_log(recording)
