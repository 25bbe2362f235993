"""Recorder logs: every rule with a value from the recorder's documentation, a literal table or a slow version."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.recording import Breakage, CarryState, Extent, LogMark, Recording, RecordingContent
from pipeline.rejection import SourceError
from shards.action_space import ACTION_SPACE
from tests.pipeline.recordings import load_log, measure

BUTTONS = ACTION_SPACE.buttons

# The example of the recorder's documentation (a second recording of its session), as it stands there.
DOCUMENTED = (
    '{"mouse":{"x":274.0,"y":338.0,"dx":0.0,"dy":0.0,"scaledX":-366.0,"scaledY":-22.0,"dwheel":0.0,"buttons":[],'
    '"newButtons":[]},"keyboard":{"keys":["key.keyboard.a","key.keyboard.s"],"newKeys":[],"chars":""},'
    '"isGuiOpen":false,"isGuiInventory":false,"hotbar":4,"yaw":-112.35006,"pitch":8.099996,"xpos":841.364694513396,'
    '"ypos":63.0,"zpos":24.956354839537802,"tick":0,"milli":1649575088006,"inventory":[{"type":"oak_door",'
    '"quantity":3},{"type":"oak_planks","quantity":59}],"serverTick":6001,"serverTickDurationMs":36.3466,'
    '"stats":{"minecraft.custom:minecraft.jump":4,"minecraft.use_item:minecraft.oak_planks":5}}'
)


def line(**changes: Any) -> dict[str, Any]:
    """A line in which nothing happens, with dotted fields changed: `line(mouse__dx=3.0)`."""
    made = json.loads(DOCUMENTED)
    made["keyboard"]["keys"] = []
    made["hotbar"] = 0
    for name, value in changes.items():
        *path, last = name.split("__")
        target = made
        for part in path:
            target = target[part]
        target[last] = value
    return made


def write(path: Path, lines: list[Any]) -> Recording:
    for number, item in enumerate(lines):
        if isinstance(item, dict) and item.get("tick") == 0:
            lines[number] = {**item, "tick": number}
    text = "".join((item if isinstance(item, str) else json.dumps(item)) + "\n" for item in lines)
    path.write_text(text, encoding="utf-8")
    return Recording(path.stem, "contractor", path.with_suffix(".mp4"), path)


def read(tmp_path: Path, *lines: Any, state: CarryState | None = None, **options: Any) -> RecordingContent:
    recording = write(tmp_path / "log.jsonl", list(lines))
    return load_log(recording, state or CarryState(), **options)


def pressed(content: RecordingContent) -> list[list[str]]:
    """The names of each frame's buttons."""
    return [[name for name, down in zip(BUTTONS, row, strict=True) if down] for row in content.buttons]


def test_documented_line_presses_left_back_and_the_slot_that_the_episode_did_not_start_with(
    tmp_path: Path,
) -> None:
    content = read(tmp_path, DOCUMENTED)
    assert pressed(content) == [["back", "left", "hotbar.5"]]
    assert content.camera.tolist() == [[0.0, 0.0]]
    assert content.gui.tolist() == [False]
    assert content.keep.tolist() == [True]
    assert content.breakage is None
    assert content.state == CarryState(attack_stuck=False, hotbar=4)


@pytest.mark.parametrize(
    ("key", "button"),
    [
        ("escape", "ESC"),
        ("s", "back"),
        ("q", "drop"),
        ("w", "forward"),
        ("1", "hotbar.1"),
        ("9", "hotbar.9"),
        ("e", "inventory"),
        ("space", "jump"),
        ("a", "left"),
        ("d", "right"),
        ("left.shift", "sneak"),
        ("left.control", "sprint"),
        ("f", "swapHands"),
    ],
)
def test_key_presses_its_button(tmp_path: Path, key: str, button: str) -> None:
    assert pressed(read(tmp_path, line(keyboard__keys=[f"key.keyboard.{key}"]))) == [[button]]


def test_other_keys_and_mouse_buttons_beyond_the_third_mean_nothing(tmp_path: Path) -> None:
    content = read(tmp_path, line(keyboard__keys=["key.keyboard.tab", "key.keyboard.0"], mouse__buttons=[3, 4]))
    assert pressed(content) == [[]]
    assert content.keep.tolist() == [False]


def test_mouse_buttons_attack_use_and_pick(tmp_path: Path) -> None:
    assert pressed(read(tmp_path, line(mouse__buttons=[2, 0, 1]))) == [["attack", "use", "pickItem"]]


@pytest.mark.parametrize(("pixels", "degrees"), [(1, 0.15), (-1, -0.15), (6, 0.9), (2400, 360.0), (-572.0, -85.8)])
def test_camera_is_pitch_then_yaw_in_unrounded_degrees(tmp_path: Path, pixels: float, degrees: float) -> None:
    content = read(tmp_path, line(mouse__dx=pixels), line(mouse__dy=pixels))
    np.testing.assert_allclose(content.camera, [[0, degrees], [degrees, 0]], rtol=1e-12)
    assert content.keep.tolist() == [True, True]


@pytest.mark.parametrize(("version", "factor"), [("6.7", 2), ("6.9", 2), ("6.10", 1), ("5.8", 0.5), ("10.0", 1)])
def test_movement_in_menus_is_scaled_only_when_asked(tmp_path: Path, version: str, factor: float) -> None:
    lines = [line(mouse__dx=10.0, isGuiOpen=True), line(mouse__dx=10.0)]
    recording = write(tmp_path / "log.jsonl", lines)
    recording = Recording("log", "contractor", recording.video, recording.actions, version=version)
    assert load_log(recording).camera[:, 1].tolist() == [1.5, 1.5]
    scaled = load_log(recording, gui_mouse_scaling=True).camera[:, 1]
    assert scaled.tolist() == [1.5 * factor, 1.5]


# -- state ---------------------------------------------------------------------------------------------------


def test_attack_that_the_recorder_holds_down_is_ignored_until_it_is_really_pressed(tmp_path: Path) -> None:
    stuck = line(mouse__buttons=[0, 1])
    content = read(
        tmp_path,
        line(mouse__buttons=[0], mouse__newButtons=[0]),
        stuck,
        line(mouse__buttons=[0], mouse__newButtons=[0]),
        stuck,
    )
    assert pressed(content) == [[], ["use"], ["attack"], ["attack", "use"]]


def test_attack_is_not_stuck_when_two_buttons_are_new_in_the_first_line(tmp_path: Path) -> None:
    assert pressed(read(tmp_path, line(mouse__buttons=[0, 1], mouse__newButtons=[0, 1]))) == [["attack", "use"]]


def test_attack_stays_stuck_over_the_recordings_of_an_episode(tmp_path: Path) -> None:
    first = read(tmp_path, line(mouse__buttons=[0], mouse__newButtons=[0]))
    second = read(
        tmp_path, line(mouse__buttons=[0]), line(mouse__buttons=[0], mouse__newButtons=[0]), state=first.state
    )
    assert pressed(second) == [[], ["attack"]]


def test_genuine_attack_at_the_start_of_a_later_recording_is_kept(tmp_path: Path) -> None:
    first = read(tmp_path, line())
    second = read(
        tmp_path, line(mouse__buttons=[0], mouse__newButtons=[0]), line(mouse__buttons=[0]), state=first.state
    )
    assert pressed(second) == [["attack"], ["attack"]]


def test_slot_is_pressed_when_the_selection_changes_or_its_number_is(tmp_path: Path) -> None:
    content = read(
        tmp_path,
        line(hotbar=0),
        line(hotbar=8),
        line(hotbar=8),
        line(hotbar=8, keyboard__keys=["key.keyboard.2"]),
        line(hotbar=1),
    )
    assert pressed(content) == [[], ["hotbar.9"], [], ["hotbar.2"], ["hotbar.2"]]


def test_turning_the_wheel_alone_is_no_noop(tmp_path: Path) -> None:
    assert read(tmp_path, line(), line(hotbar=3)).keep.tolist() == [False, True]


def test_slot_carries_on_over_the_recordings_of_an_episode(tmp_path: Path) -> None:
    first = read(tmp_path, line(hotbar=5))
    assert pressed(read(tmp_path, line(hotbar=5), line(hotbar=0), state=first.state)) == [[], ["hotbar.1"]]


def test_compat_minestudio_starts_state_anew_in_each_recording(tmp_path: Path) -> None:
    state = CarryState(attack_stuck=False, hotbar=5)
    content = read(
        tmp_path,
        line(hotbar=5, mouse__buttons=[0], mouse__newButtons=[0]),
        line(hotbar=5, mouse__buttons=[0]),
        state=state,
        compat="minestudio",
    )
    assert pressed(content) == [["hotbar.6"], []]


def test_log_without_hotbar_presses_slots_by_number_only(tmp_path: Path) -> None:
    early = line(keyboard__keys=["key.keyboard.4"])
    for name in ("hotbar", "milli"):
        del early[name]
    del early["mouse"]["dwheel"]
    content = read(tmp_path, early, early, state=CarryState(False, 6))
    assert pressed(content) == [["hotbar.4"], ["hotbar.4"]]
    assert content.state.hotbar == 6


@pytest.mark.parametrize("button", ["escape", "f"])
def test_frame_with_escape_or_swap_alone_is_kept_but_not_with_compat(tmp_path: Path, button: str) -> None:
    escape = line(keyboard__keys=[f"key.keyboard.{button}"])
    assert read(tmp_path, escape).keep.tolist() == [True]
    assert read(tmp_path, escape, compat="minestudio").keep.tolist() == [False]


# -- the cursor ----------------------------------------------------------------------------------------------


def test_cursor_is_in_menu_frames_only_and_cut_off_at_the_frame_size(tmp_path: Path) -> None:
    lines = [
        line(mouse__x=641.9, mouse__y=361.9),
        line(mouse__x=641.9, mouse__y=363.9, isGuiOpen=True),
        line(mouse__x=-905.0, mouse__y=-1.5, isGuiOpen=True),
        line(mouse__x=2070.0, mouse__y=1257.5, isGuiOpen=True),
    ]
    content = read(tmp_path, *lines)
    tips = [content.cursor_at(frame, 640, 360) for frame in range(4)]
    assert tips == [None, (320, 181), (-452, 0), (1035, 628)]


def test_compat_minestudio_draws_a_cursor_far_left_at_the_right_edge(tmp_path: Path) -> None:
    # frame[y, -100:-84] in numpy is what frame[y, 540:556] is.
    content = read(tmp_path, line(mouse__x=-200.0, isGuiOpen=True), compat="minestudio")
    assert content.cursor_at(0, 640, 360) == (540, 169)


@pytest.mark.parametrize("x", [-2.0, -31.0, -32.0, -1282.0, -1314.0])
def test_compat_minestudio_loses_a_recording_over_a_cursor_that_numpy_cannot_blend(
    tmp_path: Path, x: float
) -> None:
    content = read(tmp_path, line(), line(mouse__x=x, isGuiOpen=True), compat="minestudio")
    assert content.num_frames == 0
    assert content.breakage is not None
    assert (content.breakage.first_frame, content.breakage.reason) == (0, "minestudio_rule")


# -- what is null, absent or broken --------------------------------------------------------------------------


def test_null_mouse_and_keyboard_do_nothing_and_end_nothing(tmp_path: Path) -> None:
    content = read(
        tmp_path,
        line(mouse=None, keyboard__keys=["key.keyboard.w"], isGuiOpen=True),
        line(keyboard=None, mouse__dx=2.0),
        line(mouse=None, keyboard=None),
    )
    assert pressed(content) == [["forward"], [], []]
    assert content.camera[:, 1].tolist() == [0, pytest.approx(0.3), 0]
    assert content.cursor_window_px is not None
    assert np.isnan(content.cursor_window_px).all()
    assert content.breakage is None


@pytest.mark.parametrize("field", ["mouse", "keyboard", "hotbar", "isGuiOpen", "inventory", "yaw"])
def test_compat_minestudio_loses_a_recording_over_an_absent_field(tmp_path: Path, field: str) -> None:
    bare = line()
    del bare[field]
    content = read(tmp_path, line(), bare, compat="minestudio")
    assert content.num_frames == 0
    assert content.breakage is not None
    assert content.breakage.reason == "minestudio_rule"
    assert content.num_lines == 2


BROKEN = {
    "cut off": ('{"mouse":{"x":27', "broken_line"),
    "no JSON": ("NaN", "broken_line"),
    "a list": ("[1, 2]", "broken_line"),
    "two objects": ("{} {}", "broken_line"),
    "zero bytes": ("\0" * 100, "broken_line"),
    "blank": ("", "blank_line"),
    "spaces": ("   ", "blank_line"),
    "deep": ("[" * 100_000, "broken_line"),
    "no action": ('{"tick": 2}', "wrong_schema"),
    "mouse of another type": (line(mouse=3), "wrong_schema"),
    "keys of another type": (line(keyboard__keys="key.keyboard.w"), "wrong_schema"),
    "no movement": (line(mouse__dx=None), "wrong_schema"),
    "movement without end": (
        json.dumps(line(mouse__dx=0, tick=2)).replace('"dx": 0', '"dx": 1e999'),
        "wrong_schema",
    ),
    "movement true": (line(mouse__dy=True), "wrong_schema"),
    "movement huge": (line(mouse__dy=10**400), "wrong_schema"),
    "slot 9": (line(hotbar=9), "wrong_schema"),
    "slot true": (line(hotbar=True), "wrong_schema"),
    "menu of another type": (line(isGuiOpen="yes"), "wrong_schema"),
}


@pytest.mark.parametrize(
    ("ticks", "num_usable", "detail"),
    [
        ([0, 1, 2, 4, 5], 3, "line 4: tick 4 after 2, expected 3"),  # a line is missing
        ([0, 1, 1, 2, 3], 2, "line 3: tick 1 after 1, expected 2"),  # a line is doubled
        ([7, 8, 9, 0, 1], 3, "line 4: tick 0 after 9, expected 10"),  # another recording
        ([7, 8, 9, 10], 4, None),
        ([None, None, None], 3, None),  # a recorder that does not count
        ([0, 1, None, 4], 2, "line 3: no tick after 1, expected 2"),  # a line may be missing beside it
    ],
)
def test_counter_that_jumps_ends_the_usable_part(
    tmp_path: Path, ticks, num_usable: int, detail: str | None
) -> None:
    content = read(tmp_path, *(json.dumps(line(tick=tick)) for tick in ticks))
    assert (content.num_frames, content.num_lines) == (num_usable, len(ticks))
    if detail is None:
        assert content.breakage is None
    else:
        assert content.breakage == Breakage(num_usable, "counter_jumps", detail)


@pytest.mark.parametrize("tick", ["1", 1.0, -1, True])
def test_counter_that_is_no_whole_number_cannot_be_followed(tmp_path: Path, tick: Any) -> None:
    content = read(tmp_path, line(), line(tick=tick))
    assert content.breakage == Breakage(1, "wrong_schema", f"line 2: tick is {tick!r}, expected a whole number")


@pytest.mark.parametrize(
    ("change", "usable"),
    [
        ({"mouse__dx": 4800.0}, True),  # 720 degrees
        ({"mouse__dx": 4801.0}, False),
        ({"mouse__dy": -6000.0}, False),  # 900 degrees
        ({"mouse__dy": 1e308}, False),
        ({"isGuiOpen": True, "mouse__x": -905.0, "mouse__y": 485.0}, True),  # as in a real log
        ({"isGuiOpen": True, "mouse__x": 1e6}, False),
        ({"isGuiOpen": False, "mouse__x": 1e6}, True),  # means nothing without a menu
    ],
)
def test_value_that_no_mouse_gives_ends_the_usable_part(tmp_path: Path, change: dict, usable: bool) -> None:
    content = read(tmp_path, line(), line(**change), line())
    assert content.num_frames == (3 if usable else 1)
    assert (content.breakage is None) == usable
    if content.breakage is not None:
        assert (content.breakage.first_frame, content.breakage.reason) == (1, "out_of_range")


@pytest.mark.parametrize("kind", BROKEN)
def test_bad_line_ends_the_usable_part_and_all_before_it_stays(tmp_path: Path, kind: str) -> None:
    bad, reason = BROKEN[kind]
    forward = line(keyboard__keys=["key.keyboard.w"])
    content = read(tmp_path, forward, line(hotbar=2), bad, forward, forward)
    assert pressed(content) == [["forward"], ["hotbar.3"]]
    assert content.breakage is not None
    assert (content.breakage.first_frame, content.breakage.reason) == (2, reason)
    assert content.breakage.detail.startswith("line 3")
    assert content.num_lines == 5
    assert content.state.hotbar == 2
    lost = read(tmp_path, forward, line(hotbar=2), bad, forward, forward, compat="minestudio")
    assert lost.num_frames == 0


def test_line_longer_than_any_real_one_ends_the_usable_part(tmp_path: Path) -> None:
    content = read(tmp_path, line(), line(padding="x" * (5 << 20)), line())
    assert content.num_frames == 1
    assert content.num_lines == 3
    assert content.breakage is not None
    assert content.breakage.reason == "line_too_long"


def test_last_line_without_line_end_counts_and_blank_lines_after_it_do_not(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    recording = write(path, [line(), line()])
    whole = path.read_bytes()
    for ending in (whole[:-1], whole + b"\n \r\n\n", whole.replace(b"\n", b"\r\n"), b"\xef\xbb\xbf" + whole):
        path.write_bytes(ending)
        content = load_log(recording)
        assert (content.num_frames, content.num_lines, content.breakage) == (2, 2, None)


@pytest.mark.parametrize("text", ["", "\n\n", "  "])
def test_empty_log_has_no_frames_and_says_so(tmp_path: Path, text: str) -> None:
    recording = write(tmp_path / "log.jsonl", [])
    recording.actions.write_text(text)
    content = load_log(recording)
    assert content.num_frames == content.num_lines == 0
    assert content.breakage is not None
    assert content.breakage.reason == "empty_log"


def test_log_of_one_line_is_one_frame(tmp_path: Path) -> None:
    assert read(tmp_path, line()).num_frames == 1


def test_log_that_is_a_folder_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"log\.jsonl: cannot be read, got Is a directory"):
        load_log(Recording("log", "contractor", tmp_path / "log.mp4", _folder(tmp_path / "log.jsonl")))


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_log_never_changes_what_stands_before_the_damage(tmp_path: Path, data: st.DataObject) -> None:
    lines = [line(hotbar=frame % 9, mouse__dx=float(frame)) for frame in range(6)]
    recording = write(tmp_path / "log.jsonl", lines)
    whole = recording.actions.read_bytes()
    start = data.draw(st.integers(0, len(whole) - 1))
    stop = data.draw(st.integers(start, min(len(whole), start + 40)))
    damaged = whole[:start] + data.draw(st.binary(max_size=12)) + whole[stop:]
    good = load_log(recording)
    recording.actions.write_bytes(damaged)
    content = load_log(recording)
    untouched = whole[:start].count(b"\n")
    assert content.num_frames >= untouched
    assert content.num_lines >= content.num_frames
    np.testing.assert_array_equal(content.buttons[:untouched], good.buttons[:untouched])
    np.testing.assert_array_equal(content.camera[:untouched], good.camera[:untouched])


# -- a slow version of the rules, one dict a line -------------------------------------------------------------


def slowly(lines: list[dict[str, Any]], stuck: bool | None, slot: int) -> list[tuple[set[str], float, float]]:
    keys = {"w": "forward", "s": "back", "e": "inventory", "escape": "ESC", "3": "hotbar.3", "f": "swapHands"}
    frames = []
    for original in lines:
        item = copy.deepcopy(original)
        new = item["mouse"]["newButtons"]
        if stuck is None:
            stuck = new == [0]
        elif stuck and 0 in new:
            stuck = False
        if stuck:
            item["mouse"]["buttons"] = [button for button in item["mouse"]["buttons"] if button != 0]
        down = {keys[key.removeprefix("key.keyboard.")] for key in item["keyboard"]["keys"]}
        down |= {("attack", "use", "pickItem")[button] for button in item["mouse"]["buttons"] if button < 3}
        if item["hotbar"] != slot:
            down.add(f"hotbar.{item['hotbar'] + 1}")
            slot = item["hotbar"]
        frames.append((down, item["mouse"]["dy"] * 360 / 2400, item["mouse"]["dx"] * 360 / 2400))
    return frames


@st.composite
def recorder_lines(draw: st.DrawFn) -> dict[str, Any]:
    buttons = draw(st.lists(st.integers(0, 4), unique=True, max_size=3))
    return line(
        mouse__buttons=buttons,
        mouse__newButtons=draw(st.sampled_from([[], [], [0], buttons])),
        mouse__dx=draw(st.sampled_from([0.0, 1.0, -37.0])),
        mouse__dy=draw(st.sampled_from([0.0, 2.0, -400.0])),
        keyboard__keys=[
            f"key.keyboard.{key}"
            for key in draw(
                st.lists(st.sampled_from(["w", "s", "e", "escape", "3", "f"]), unique=True, max_size=2)
            )
        ],
        hotbar=draw(st.sampled_from([0, 0, 0, 4, 8])),
    )


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines=st.lists(recorder_lines(), min_size=1, max_size=12), cut=st.integers(0, 12))
def test_recordings_read_one_after_the_other_equal_one_long_log_read_slowly(
    tmp_path: Path, lines: list[dict[str, Any]], cut: int
) -> None:
    parts = [part for part in (lines[:cut], lines[cut:]) if part]
    state = CarryState()
    frames: list[tuple[set[str], float, float]] = []
    keep: list[bool] = []
    for part in parts:
        content = read(tmp_path, *part, state=state)
        state = content.state
        keep += content.keep.tolist()
        frames += [
            (set(names), *camera) for names, camera in zip(pressed(content), content.camera.tolist(), strict=True)
        ]
    expected = slowly(lines, None, 0)
    assert [frame[0] for frame in frames] == [frame[0] for frame in expected]
    np.testing.assert_allclose([frame[1:] for frame in frames], [frame[1:] for frame in expected], rtol=1e-12)
    assert keep == [bool(down) or pitch != 0 or yaw != 0 for down, pitch, yaw in expected]


# -- real logs; the numbers are what MineStudio's process_all_openai.py and gen_frame_skip_flags gave -------------

REAL = {
    "FIA_fearless-timber-seeker-5c42a54ff0a0-20250106-122038": (
        1646,
        1378,
        {"back": 1, "forward": 140, "hotbar.3": 1, "inventory": 5, "jump": 1, "attack": 951, "use": 19},
        1486.2,
        [-18.15, -53.55],
    ),
    "FIA_fearless-timber-seeker-85764ebf8b74-20250106-130005": (
        1898,
        1698,
        {
            "back": 8,
            "forward": 454,
            "hotbar.3": 1,
            "hotbar.5": 1,
            "inventory": 6,
            "jump": 34,
            "left": 10,
            "attack": 963,
            "use": 66,
        },
        2230.8,
        [-39.75, -145.95],
    ),
    "FIA_fearless-timber-seeker-b3dc6bfb097d-20250106-123412": (
        1833,
        1579,
        {
            "back": 8,
            "forward": 126,
            "hotbar.2": 1,
            "hotbar.3": 1,
            "inventory": 6,
            "jump": 1,
            "left": 9,
            "attack": 1018,
            "use": 71,
        },
        1328.55,
        [-28.2, -23.85],
    ),
}


@pytest.mark.parametrize("name", REAL)
@pytest.mark.parametrize("compat", [None, "minestudio"])
def test_real_log_gives_the_actions_that_minestudio_gives(shared: Path, name: str, compat: str | None) -> None:
    path = shared / "data" / "contractor_jsonl" / f"{name}.jsonl"
    content = load_log(
        Recording(name, "contractor", path.with_suffix(".mp4"), path),
        compat=compat,
    )
    num_lines, num_kept, counts, distance, way = REAL[name]
    assert content.num_frames == num_lines
    assert int(content.keep.sum()) == num_kept
    totals = zip(BUTTONS, content.buttons.sum(axis=0).tolist(), strict=True)
    assert {button: total for button, total in totals if total} == counts
    assert np.abs(content.camera).sum() == pytest.approx(distance)
    assert content.camera.sum(axis=0) == pytest.approx(way)
    assert measure(Recording(name, "contractor", path, path)).num_frames == num_lines


# -- measuring -----------------------------------------------------------------------------------------------


def test_measure_tells_length_and_age_of_the_world_by_the_ends(tmp_path: Path) -> None:
    stats = {"minecraft.custom:minecraft.play_one_minute": 5000, "minecraft.custom:minecraft.jump": 7}
    last = line(tick=5999, serverTick=12000, stats=stats)
    # What lies between is not looked at.
    recording = write(tmp_path / "log.jsonl", [DOCUMENTED, "rubbish", last])
    assert measure(recording) == Extent(
        num_frames=6000,
        first=LogMark(tick=0, server_tick=6001, play_ticks=None, stats_total=9),
        last=LogMark(tick=5999, server_tick=12000, play_ticks=5000, stats_total=5007),
    )


def test_measure_counts_lines_where_the_last_one_is_broken(tmp_path: Path) -> None:
    recording = write(tmp_path / "log.jsonl", [line(), line(), '{"mouse"'])
    extent = measure(recording)
    assert (extent.num_frames, extent.last) == (3, None)


def test_measure_of_an_empty_log_is_nothing(tmp_path: Path) -> None:
    recording = write(tmp_path / "log.jsonl", [])
    assert measure(recording) == Extent(0, None, None)
