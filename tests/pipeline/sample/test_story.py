"""The rule of the game: what the player does follows from picture, mask and type, and at bells from memory."""

import itertools

import numpy as np

from pipeline.sample.barcode import FrameMark
from pipeline.sample.player import Player, Tick
from pipeline.sample.render import Renderer
from pipeline.sample.scene import Scene
from pipeline.sample.story import BELL_EVENT, HOTBAR, RECALL_EVENT, Story, StorySettings

NUM_FRAMES = 420


def played(signal_seed: int, render: bool) -> list[tuple[Tick, str, np.ndarray | None]]:
    """The ticks of a session with their lamp's light and picture; only the lamps' colours hang on the seed."""
    scene = Scene(hotbar=list(HOTBAR), scenery_seed=1)
    player = Player(scene, [NUM_FRAMES], np.random.default_rng(1))
    story = Story(player, np.random.default_rng(2), np.random.default_rng(signal_seed), StorySettings())
    renderer = Renderer()
    frames = []
    for index, tick in enumerate(itertools.islice(story.ticks(), NUM_FRAMES)):
        picture = None
        if render:
            picture, _ = renderer.draw(
                scene, [interaction.target for interaction, _ in tick.candidates], FrameMark(0, index)
            )
        frames.append((tick, scene.glow, picture))
    return frames


def test_signal_is_seen_only_while_a_lamp_is_lit() -> None:
    first = played(0, render=True)
    second = played(3, render=True)
    colours = [glow for _, glow, _ in first]
    assert colours != [glow for _, glow, _ in second]
    for index, ((_, glow, picture), (_, other_glow, other_picture)) in enumerate(zip(first, second, strict=True)):
        assert bool(glow) == bool(other_glow)
        assert picture is not None
        assert other_picture is not None
        assert np.array_equal(picture, other_picture) == (glow == other_glow), index


def test_signal_decides_nothing_but_the_button_at_lamps_and_bells() -> None:
    for (tick, _, _), (other, _, _) in zip(played(0, render=False), played(3, render=False), strict=True):
        rung = {"attack", "use"}
        assert (tick.action.dx, tick.action.dy) == (other.action.dx, other.action.dy)
        assert tick.action.buttons - rung == other.action.buttons - rung
        events = [interaction.event for interaction, _ in tick.candidates]
        assert events == [interaction.event for interaction, _ in other.candidates]
        if tick.action.buttons != other.action.buttons:
            assert tick.role in ("signal", "recall") or events == [BELL_EVENT]


def test_bells_are_rung_as_the_last_lamp_said() -> None:
    button = {"amber": "attack", "blue": "use"}
    last, num_recalls = "", 0
    for tick, glow, _ in played(0, render=False):
        last = glow or last
        if tick.role == "recall":
            num_recalls += 1
            assert glow == ""
            assert tick.action.buttons == {button[last]}
            assert [interaction.event for interaction, _ in tick.candidates] == [RECALL_EVENT]
    assert num_recalls > 60


def test_recall_lies_beyond_a_window_and_within_memory() -> None:
    lags, since_signal = [], -1
    for tick, _, _ in played(0, render=False):
        if tick.role == "signal":
            since_signal = 0
        elif not tick.action.is_noop:
            since_signal += 1
        if tick.role == "recall":
            lags.append(since_signal)
    assert min(lags) > 32
    assert max(lags) <= 64


def test_both_colours_are_as_frequent() -> None:
    scene = Scene(hotbar=list(HOTBAR))
    player = Player(scene, [4000], np.random.default_rng(1))
    story = Story(player, np.random.default_rng(2), np.random.default_rng(3), StorySettings())
    colours = [story._next_colour() for _ in range(40)]
    assert [colours[i : i + 4].count("amber") for i in range(0, 40, 4)] == [2] * 10
