"""Which events become stretches, and what bounds them: hand-made plays with literal answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from pipeline.recording import RecordingContent
from pipeline.segment.settings import SegmentSettings
from pipeline.segment.stretches import Play, Stretch, find_stretches
from shards.action_space import ACTION_SPACE
from shards.errors import SettingsError
from shards.settings import load_settings

N = 100
DEFAULTS = SegmentSettings()


def play(
    events: Mapping[int, str],
    *,
    down: Mapping[str, Sequence[int]] | None = None,
    gui: Sequence[int] = (),
    cursor: tuple[float, float] | None = None,
    new_world_at: int = N,
    has_statistics: bool = True,
) -> Play:
    """N frames: what happens by frame, when buttons are down, when a menu is open, where the cursor is."""
    buttons = np.zeros((N, len(ACTION_SPACE.buttons)), np.uint8)
    for name, frames in (down or {}).items():
        buttons[list(frames), ACTION_SPACE.buttons.index(name)] = 1
    menu = np.zeros(N, bool)
    menu[list(gui)] = True
    cursors = None if cursor is None else np.tile(np.array(cursor), (N, 1))
    return Play(
        RecordingContent(buttons, np.zeros((N, 2)), menu, cursors, np.ones(N, bool), N),
        events=[{events[frame]: 1} if frame in events else {} for frame in range(N)],
        worlds=(np.arange(N) >= new_world_at).astype(np.int64),
        has_statistics=has_statistics,
    )


def find(played: Play, settings: SegmentSettings = DEFAULTS) -> list[Stretch]:
    stretches, skipped = find_stretches(played, settings)
    assert not skipped
    return stretches


def test_mined_block_is_prompted_at_the_crosshair_where_attack_was_last_down_two_frames_before() -> None:
    stretches = find(play({60: "mine_block:stone"}, down={"attack": range(50, 60)}))
    assert stretches == [Stretch("mine", "mine_block:stone", 0, 58, 60, (0.5, 0.5))]
    late = find(play({60: "mine_block:stone"}, down={"attack": range(50, 56)}))
    assert [stretch.prompt for stretch in late] == [55]


@pytest.mark.parametrize(
    ("event", "button", "kind", "prompt"),
    [
        ("kill_entity:pig", "attack", "hunt", 59),
        ("use_item:bone_meal", "use", "interact", 59),
        ("custom:open_chest", "jump", "interact", 59),
        ("custom:interact_with_crafting_table", "use", "interact", 59),
    ],
)
def test_deeds_in_the_world_are_prompted_in_the_frame_before(
    event: str, button: str, kind: str, prompt: int
) -> None:
    assert find(play({60: event}, down={button: [59]})) == [Stretch(kind, event, 0, prompt, 60, (0.5, 0.5))]


def test_menu_bounds_the_stretch_of_what_opens_it_and_of_what_is_crafted_in_it() -> None:
    chest = find(play({60: "custom:open_chest"}, gui=[*range(30), *range(60, 80)], down={"use": [59]}))
    assert chest == [Stretch("interact", "custom:open_chest", 30, 59, 60, (0.5, 0.5))]
    craft = find(
        play({60: "craft_item:torch"}, gui=range(40, 80), down={"attack": [59]}, cursor=(320.0, 540.0)),
    )
    assert craft == [Stretch("craft", "craft_item:torch", 40, 59, 60, (0.25, 0.75))]


def test_stretch_begins_after_the_last_event_in_the_same_world_and_within_reach() -> None:
    events = {20: "mine_block:stone", 40: "mine_block:dirt", 60: "mine_block:stone"}
    twice = find(play(events, down={"attack": range(60)}))
    assert [(s.event, s.first, s.prompt) for s in twice] == [
        ("mine_block:stone", 0, 18),
        ("mine_block:dirt", 20, 38),
        ("mine_block:stone", 40, 58),
    ]
    same = load_settings(SegmentSettings, None, ["starts_after=same"])
    assert [s.first for s in find(play(events, down={"attack": range(60)}), same)] == [0, 0, 20]
    world = find(play({60: "kill_entity:pig"}, down={"attack": [59]}, new_world_at=33))
    assert [s.first for s in world] == [33]
    short = load_settings(SegmentSettings, None, ["hunt.max_frames=10"])
    assert [s.first for s in find(play({60: "kill_entity:pig"}, down={"attack": [59]}), short)] == [50]


def test_hotbar_slot_that_is_kept_is_prompted_where_it_is_drawn() -> None:
    down = {"hotbar.2": [40], "hotbar.3": [43], "hotbar.9": [70], "hotbar.1": [75]}
    # Slot 2 was only passed; slot 3 is kept. Nine gives way after five frames; one stays to the end.
    stretches = find(play({}, down=down))
    assert [(s.kind, s.event, s.first, s.prompt, s.event_frame) for s in stretches] == [
        ("switch", "switch:hotbar.3", 34, 43, 44),
        ("switch", "switch:hotbar.1", 66, 75, 76),
    ]
    assert [s.point for s in stretches] == [(280 / 640, 349 / 360), (240 / 640, 349 / 360)]


@pytest.mark.parametrize(
    ("played", "reason"),
    [
        (play({60: "mine_block:stone"}), "no_aim"),
        (play({60: "mine_block:stone"}, down={"attack": range(45, 50)}), "no_aim"),
        (play({60: "kill_entity:pig"}, down={"attack": [59]}, gui=range(50, 61)), "no_aim"),
        (play({60: "craft_item:torch"}, down={"attack": [59]}, gui=range(40, 80)), "no_cursor"),
        (
            play({60: "craft_item:torch"}, down={"attack": [59]}, gui=range(40, 80), cursor=(-3.0, 9.0)),
            "no_cursor",
        ),
        (play({0: "kill_entity:pig"}, down={"attack": [0]}), "no_aim"),
    ],
)
def test_event_without_an_aim_is_counted_by_reason(played: Play, reason: str) -> None:
    assert find_stretches(played, DEFAULTS) == ([], Counter({reason: 1}))


def test_stretch_of_fewer_frames_than_asked_for_is_counted() -> None:
    played = play({60: "kill_entity:pig"}, down={"attack": [59]}, new_world_at=58)
    assert [(s.first, s.prompt) for s in find(played)] == [(58, 59)]
    settings = load_settings(SegmentSettings, None, ["min_frames=3"])
    assert find_stretches(played, settings) == ([], Counter({"short": 1}))


def test_switch_ends_no_other_stretch_and_ends_where_something_was_done() -> None:
    down = {"attack": range(40, 60), "hotbar.2": [35]}
    stretches = find(play({30: "mine_block:dirt", 60: "mine_block:stone"}, down=down | {"attack": range(20, 60)}))
    assert [(s.event, s.first, s.prompt) for s in stretches] == [
        ("mine_block:dirt", 0, 28),
        ("switch:hotbar.2", 30, 35),
        ("mine_block:stone", 30, 58),
    ]


def test_tools_food_measures_and_pickups_give_no_interaction() -> None:
    for event in ("use_item:iron_pickaxe", "use_item:cooked_beef", "custom:walk_one_cm", "pickup:dirt"):
        assert find(play({60: event}, down={"use": range(60), "attack": range(60)})) == []


def test_event_after_the_last_frame_ends_in_the_last_frame() -> None:
    played = play({}, down={"attack": range(90, 100)})
    played.events.append({"mine_block:stone": 1})  # type: ignore[attr-defined]
    assert find(played) == [Stretch("mine", "mine_block:stone", 0, 98, 99, (0.5, 0.5))]


def test_buttons_tell_events_only_where_nothing_is_counted() -> None:
    down = {"attack": range(40, 50), "use": [70]}
    assert [s.event for s in find(play({}, down=down, has_statistics=False))] == ["hold:attack", "press:use"]
    assert find(play({}, down=down)) == []
    silent = load_settings(SegmentSettings, None, ["from_buttons=false"])
    assert find(play({}, down=down, has_statistics=False), silent) == []


def test_rules_are_changed_by_words_and_files(tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text("approach:\n  events: ['pickup:*']\nmine:\n  frames_before: 4\n")
    settings = load_settings(SegmentSettings, file, ["mine.never=[mine_block:grass]", "hotbar.pitch=30"])
    events = {50: "pickup:dirt", 60: "mine_block:stone", 80: "mine_block:grass"}
    stretches = find(play(events, down={"attack": range(80)}), settings)
    assert [(s.kind, s.event, s.prompt) for s in stretches] == [
        ("approach", "pickup:dirt", 49),
        ("mine", "mine_block:stone", 56),
    ]
    assert settings.mine.events == ["mine_block:*", "hold:attack"]
    with pytest.raises(SettingsError, match=r"unknown setting `mine.max_frame`, did you mean `mine.max_frames`"):
        load_settings(SegmentSettings, None, ["mine.max_frame=3"])
