"""Recorded actions (23 buttons, camera in degrees) <-> the policy's two choices (8641 buttons, 121 camera).

Buttons: the product of eight groups of buttons that exclude each other, times "does the camera move", plus one
action for `inventory` alone. Camera: mu-law bins of pitch and yaw. Source: openai/Video-Pre-Training,
lib/action_mapping.py and lib/actions.py, with MineStudio's settings.
"""

import numpy as np
from numpy.typing import NDArray

from shards.action_space import ACTION_SPACE
from shards.errors import RocketError


def to_policy(
    buttons: NDArray[np.uint8], camera: NDArray[np.floating]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The button and camera actions (...,) of recorded buttons (..., 23 or 20) and camera (..., 2) degrees.

    `inventory` excludes everything else, the camera too.

    Raises:
        RocketError: a camera angle is no number, or more than a mouse can turn the camera by in a frame.
    """
    bins = camera_bins(camera)
    action = np.zeros(buttons.shape[:-1], np.int64)
    for group in ACTION_SPACE.button_groups:
        pressed = buttons[..., [ACTION_SPACE.column[name] for name in group]] != 0
        digit = (pressed * np.arange(1, len(group) + 1)).max(axis=-1)
        if group in ACTION_SPACE.cancelling_groups:
            digit = np.where(pressed.all(axis=-1), 0, digit)
        action = action * (len(group) + 1) + digit
    action = action * 2 + (bins != ACTION_SPACE.null_camera_bin).any(axis=-1)
    camera_action = bins[..., 0] * ACTION_SPACE.num_camera_bins + bins[..., 1]

    alone = buttons[..., ACTION_SPACE.column[ACTION_SPACE.exclusive_button]] != 0
    return (
        np.where(alone, ACTION_SPACE.exclusive_action, action),
        np.where(alone, ACTION_SPACE.null_camera_action, camera_action),
    )


def to_env(
    button_action: NDArray[np.integer], camera_action: NDArray[np.integer]
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Buttons (..., 23) and camera (..., 2) degrees (bin centres) that the actions (...,) stand for.

    The camera rests where the button action says so. As in MineStudio `inventory` does not say so: a policy that
    samples it with a camera movement gets both.
    """
    button_action, camera_action = np.asarray(button_action), np.asarray(camera_action)
    buttons = _BUTTONS_OF_ACTION[button_action]
    bins = np.stack(np.divmod(camera_action, ACTION_SPACE.num_camera_bins), axis=-1)
    moves = (button_action % 2 == 1) | (button_action == ACTION_SPACE.exclusive_action)
    return buttons, camera_degrees(np.where(moves[..., None], bins, ACTION_SPACE.null_camera_bin))


def camera_bins(camera: NDArray[np.floating]) -> NDArray[np.int64]:
    """Bins 0..10 of angles in degrees, 5 for rest; finer near rest, everything beyond 10 degrees clipped.

    Raises:
        RocketError: an angle is no number, or more than a mouse can turn the camera by in a frame.
    """
    degrees = np.asarray(camera, np.float64)
    turns = np.abs(degrees) <= ACTION_SPACE.max_turn_degrees  # false for NaN
    if not turns.all():
        where = np.argwhere(~turns)[0].tolist()
        raise RocketError(
            f"camera: no angle of a frame at {where}, got {degrees[tuple(where)]}, expected at most "
            f"{ACTION_SPACE.max_turn_degrees:g} degrees. Run: rocket-prep verify DATASET"
        )
    limit, mu = ACTION_SPACE.camera_limit_degrees, ACTION_SPACE.camera_mu
    share = np.clip(degrees, -limit, limit) / limit
    encoded = np.sign(share) * (np.log(1.0 + mu * np.abs(share)) / np.log(1.0 + mu))
    encoded *= limit
    bins: NDArray[np.int64] = np.round((encoded + limit) / ACTION_SPACE.camera_bin_degrees).astype(np.int64)
    return bins


def camera_degrees(bins: NDArray[np.integer]) -> NDArray[np.float64]:
    """The angle in degrees that each bin 0..10 stands for."""
    limit, mu = ACTION_SPACE.camera_limit_degrees, ACTION_SPACE.camera_mu
    share = (np.asarray(bins) * ACTION_SPACE.camera_bin_degrees - limit) / limit
    return np.sign(share) * (1.0 / mu) * ((1.0 + mu) ** np.abs(share) - 1.0) * limit


def _buttons_of_actions() -> NDArray[np.uint8]:
    """Pressed buttons (8641, 23) of every button action."""
    alone = ACTION_SPACE.exclusive_action
    buttons = np.zeros((ACTION_SPACE.num_button_actions, len(ACTION_SPACE.buttons)), np.uint8)
    rest = np.arange(alone) // 2  # without the camera's digit
    for group in reversed(ACTION_SPACE.button_groups):
        rest, digit = np.divmod(rest, len(group) + 1)
        for place, name in enumerate(group, start=1):
            buttons[:alone, ACTION_SPACE.column[name]] = digit == place
    buttons[alone, ACTION_SPACE.column[ACTION_SPACE.exclusive_button]] = 1
    return buttons


_BUTTONS_OF_ACTION = _buttons_of_actions()
