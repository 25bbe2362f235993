"""The policy's action space, against tables from its definition and a slow version in plain loops."""

import numpy as np
import pytest

from shards.action_space import ACTION_SPACE
from shards.errors import RocketError
from tests.trainer.slow import COMBINATIONS, slow_to_policy
from trainer.data.actions import (
    camera_bins,
    camera_degrees,
    to_env,
    to_policy,
)

BUTTONS = ACTION_SPACE.buttons
POLICY_BUTTONS = ACTION_SPACE.policy_buttons

CENTRES = [0.0, 0.6154, 1.6095, 3.2154, 5.8095, 10.0]
"""Degrees of the bins 5 .. 10, as measured."""
EDGES = [0.271, 1.0531, 2.3166, 4.3577, 7.6547]
"""Degrees between the bins 5 .. 10, as measured."""


def pressed(*names):
    buttons = np.zeros(23, np.uint8)
    for name in names:
        buttons[BUTTONS.index(name)] = 1
    return buttons


def action_of(*names, camera=(0.0, 0.0)):
    button_action, camera_action = to_policy(pressed(*names)[None], np.array([camera]))
    return int(button_action[0]), int(camera_action[0])


def test_sizes_and_null_actions_are_those_of_the_definition():
    assert (ACTION_SPACE.num_button_actions, ACTION_SPACE.num_camera_actions) == (8641, 121)
    assert (ACTION_SPACE.exclusive_action, ACTION_SPACE.null_camera_action) == (8640, 60)
    assert (ACTION_SPACE.num_camera_bins, ACTION_SPACE.null_camera_bin) == (11, 5)
    assert len(COMBINATIONS) == 8641
    assert action_of() == (0, 60)
    assert action_of("inventory") == (8640, 60)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["jump"], 2),
        (["attack"], 4),
        (["drop"], 8),
        (["use"], 16),
        (["sprint"], 32),
        (["sneak"], 64),
        (["left"], 96),
        (["right"], 192),
        (["forward"], 288),
        (["back"], 576),
        (["hotbar.1"], 864),
        (["hotbar.9"], 9 * 864),
        (["forward", "sprint", "jump", "attack"], 288 + 32 + 2 + 4),
        (["forward", "back"], 0),
        (["left", "right", "use"], 16),
        (["sprint", "sneak"], 64),
        (["hotbar.2", "hotbar.7"], 7 * 864),
        (["ESC", "pickItem", "swapHands"], 0),
        (["inventory", "forward", "attack", "hotbar.3"], 8640),
    ],
)
def test_buttons_map_to_their_place_in_the_product(names, expected):
    assert action_of(*names) == (expected, 60)


def test_camera_is_pitch_times_eleven_plus_yaw_and_sets_the_meta_button():
    assert action_of(camera=(10.0, 0.0)) == (1, 10 * 11 + 5)
    assert action_of(camera=(0.0, 10.0)) == (1, 5 * 11 + 10)
    assert action_of("jump", camera=(-10.0, 0.7)) == (3, 0 * 11 + 6)
    assert action_of(camera=(0.15, -0.15)) == (0, 60), "one pixel is rest"
    assert action_of("inventory", camera=(10.0, 10.0)) == (8640, 60)


@pytest.mark.parametrize("sign", [1, -1])
def test_camera_bins_have_the_measured_centres_and_edges(sign):
    for step, centre in enumerate(CENTRES):
        assert camera_bins(np.array(sign * centre)) == 5 + sign * step
        assert float(camera_degrees(np.array(5 + sign * step))) == pytest.approx(sign * centre, abs=5e-5)
    for step, edge in enumerate(EDGES):
        assert camera_bins(np.array(sign * (edge - 1e-3))) == 5 + sign * step
        assert camera_bins(np.array(sign * (edge + 1e-3))) == 5 + sign * (step + 1)
    assert camera_bins(np.array(sign * 180.0)) == 5 + sign * 5


def test_pixels_fall_into_the_measured_bins():
    pixels = np.array([0, 1, 2, 7, 8, 15, 16, 29, 30, 51, 52, 2000])
    assert camera_bins(pixels * 0.15).tolist() == [5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10]
    assert camera_bins(-pixels * 0.15).tolist() == [5, 5, 4, 4, 3, 3, 2, 2, 1, 1, 0, 0]


def test_random_actions_equal_the_slow_version():
    random = np.random.default_rng(0)
    buttons = (random.random((1500, 23)) < 0.12).astype(np.uint8)
    camera = random.laplace(0, 2, (1500, 2)) * (random.random((1500, 2)) < 0.6)
    button_action, camera_action = to_policy(buttons, camera)
    for row in range(1500):
        names = [name for name, held in zip(BUTTONS, buttons[row], strict=True) if held]
        assert (int(button_action[row]), int(camera_action[row])) == slow_to_policy(names, camera[row])


def test_every_button_action_comes_back():
    actions = np.arange(ACTION_SPACE.num_button_actions)
    moves = np.full(ACTION_SPACE.num_button_actions, 10 * 11 + 3)
    buttons, camera = to_env(actions, moves)
    again, camera_again = to_policy(buttons, camera)
    assert np.array_equal(again, actions)
    expected = np.where((actions % 2 == 1) & (actions != 8640), 10 * 11 + 3, ACTION_SPACE.null_camera_action)
    assert np.array_equal(camera_again, expected)
    for action in range(0, ACTION_SPACE.num_button_actions, 97):
        names = {name for name, held in zip(BUTTONS, buttons[action], strict=True) if held}
        combination = COMBINATIONS[action]
        expected = {"inventory"} if combination == "inventory" else set(combination) - {"none", "camera"}
        assert names == expected


def test_every_camera_action_comes_back():
    actions = np.arange(ACTION_SPACE.num_camera_actions)
    buttons, camera = to_env(np.ones(ACTION_SPACE.num_camera_actions, int), actions)
    assert not buttons.any()
    assert np.array_equal(to_policy(buttons, camera)[1], actions)
    assert camera[3 * 11 + 10].tolist() == pytest.approx([-1.6095, 10.0], abs=5e-5)


def test_camera_rests_where_the_button_action_says_so():
    buttons, camera = to_env(np.array([2, 3, 8640]), np.array([0, 0, 0]))
    assert camera.tolist() == [[0, 0], [-10, -10], [-10, -10]]
    assert buttons[:, BUTTONS.index("jump")].tolist() == [1, 1, 0]


def test_single_action_needs_no_leading_axis():
    buttons, camera = (
        np.zeros((3, len(BUTTONS)), np.uint8),
        np.array([[0.0, 0.0], [3.0, -1.0], [0.0, 0.0]]),
    )
    buttons[0, BUTTONS.index("forward")] = buttons[0, BUTTONS.index("back")] = 1
    buttons[1, BUTTONS.index("attack")] = buttons[2, BUTTONS.index("inventory")] = 1
    of_all = to_policy(buttons, camera)
    for row in range(3):
        assert [int(action) for action in to_policy(buttons[row], camera[row])] == [int(a[row]) for a in of_all]


def test_leading_axes_are_kept_and_twenty_buttons_are_enough():
    buttons = np.zeros((2, 3, len(POLICY_BUTTONS)), np.uint8)
    buttons[1, 2, POLICY_BUTTONS.index("attack")] = 1
    button_action, camera_action = to_policy(buttons, np.zeros((2, 3, 2), np.float32))
    assert button_action.tolist() == [[0, 0, 0], [0, 0, 4]]
    assert camera_action.shape == (2, 3)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 720.5, -900.0])
def test_angles_that_no_mouse_gives_are_refused(bad):
    camera = np.zeros((4, 2))
    camera[2, 1] = bad
    with pytest.raises(RocketError, match=rf"no angle of a frame at \[2, 1\], got {bad}, expected at most 720"):
        to_policy(np.zeros((4, 23), np.uint8), camera)
