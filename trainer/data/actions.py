"""Recorded actions (23 buttons, camera in degrees) <-> the policy's two choices (8641 buttons, 121 camera).

Buttons: the product of eight groups of buttons that exclude each other, times "does the camera move", plus one
action for `inventory` alone. Camera: mu-law bins of pitch and yaw. Source: openai/Video-Pre-Training,
lib/action_mapping.py and lib/actions.py, with MineStudio's settings.
"""

import numpy as np
from numpy.typing import NDArray

from shards.errors import RocketError
from shards.vocabulary import BUTTONS

CAMERA_LIMIT_DEGREES = 10.0
CAMERA_MU = 10.0
CAMERA_BIN_SIZE = 2.0
NUM_CAMERA_BINS = 11
CAMERA_NULL_BIN = 5
CAMERA_NULL = CAMERA_NULL_BIN * NUM_CAMERA_BINS + CAMERA_NULL_BIN
NUM_CAMERA_ACTIONS = NUM_CAMERA_BINS**2

BUTTON_GROUPS: tuple[tuple[str, ...], ...] = (
    tuple(f"hotbar.{slot}" for slot in range(1, 10)),
    ("forward", "back"),
    ("left", "right"),
    ("sprint", "sneak"),
    ("use",),
    ("drop",),
    ("attack",),
    ("jump",),
)
"""Digits of a button action, most significant first: 0 for none, else the button's place; the camera's is last.

Of several pressed buttons of a group the later one counts."""
CANCELLING_GROUPS = (("forward", "back"), ("left", "right"))
"""Both pressed means neither."""
INVENTORY = 2 * int(np.prod([len(group) + 1 for group in BUTTON_GROUPS]))
NUM_BUTTON_ACTIONS = INVENTORY + 1


def to_policy(
    buttons: NDArray[np.uint8], camera: NDArray[np.floating]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The button and camera actions (...,) of recorded buttons (..., 23 or 20) and camera (..., 2) degrees.

    `inventory` excludes everything else, the camera too.

    Raises:
        RocketError: a camera angle is not a finite number.
    """
    bins = camera_bins(camera)
    action = np.zeros(buttons.shape[:-1], np.int64)
    for group in BUTTON_GROUPS:
        pressed = buttons[..., [BUTTONS.index(name) for name in group]] != 0
        digit = (pressed * np.arange(1, len(group) + 1)).max(axis=-1)
        if group in CANCELLING_GROUPS:
            digit = np.where(pressed.all(axis=-1), 0, digit)
        action = action * (len(group) + 1) + digit
    action = action * 2 + (bins != CAMERA_NULL_BIN).any(axis=-1)
    camera_action = bins[..., 0] * NUM_CAMERA_BINS + bins[..., 1]

    opens_inventory = buttons[..., BUTTONS.index("inventory")] != 0
    return np.where(opens_inventory, INVENTORY, action), np.where(opens_inventory, CAMERA_NULL, camera_action)


def to_env(
    button_action: NDArray[np.integer], camera_action: NDArray[np.integer]
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Buttons (..., 23) and camera (..., 2) degrees (bin centres) that the actions (...,) stand for.

    The camera rests where the button action says so. As in MineStudio `inventory` does not say so: a policy that
    samples it with a camera movement gets both.
    """
    button_action, camera_action = np.asarray(button_action), np.asarray(camera_action)
    buttons = _BUTTONS_OF_ACTION[button_action]
    bins = np.stack(np.divmod(camera_action, NUM_CAMERA_BINS), axis=-1)
    moves = (button_action % 2 == 1) | (button_action == INVENTORY)
    return buttons, camera_degrees(np.where(moves[..., None], bins, CAMERA_NULL_BIN))


def camera_bins(camera: NDArray[np.floating]) -> NDArray[np.int64]:
    """Bins 0..10 of angles in degrees, 5 for rest; finer near rest, everything beyond 10 degrees clipped.

    Raises:
        RocketError: an angle is not a finite number.
    """
    degrees = np.asarray(camera, np.float64)
    if not np.isfinite(degrees).all():
        where = np.argwhere(~np.isfinite(degrees))[0].tolist()
        raise RocketError(
            f"camera: not a finite angle at {where}, got {degrees[tuple(where)]}. Run: rocket-prep verify DATASET"
        )
    share = np.clip(degrees, -CAMERA_LIMIT_DEGREES, CAMERA_LIMIT_DEGREES) / CAMERA_LIMIT_DEGREES
    encoded = np.sign(share) * (np.log(1.0 + CAMERA_MU * np.abs(share)) / np.log(1.0 + CAMERA_MU))
    encoded *= CAMERA_LIMIT_DEGREES
    bins: NDArray[np.int64] = np.round((encoded + CAMERA_LIMIT_DEGREES) / CAMERA_BIN_SIZE).astype(np.int64)
    return bins


def camera_degrees(bins: NDArray[np.integer]) -> NDArray[np.float64]:
    """The angle in degrees that each bin 0..10 stands for."""
    share = (np.asarray(bins) * CAMERA_BIN_SIZE - CAMERA_LIMIT_DEGREES) / CAMERA_LIMIT_DEGREES
    return np.sign(share) * (1.0 / CAMERA_MU) * ((1.0 + CAMERA_MU) ** np.abs(share) - 1.0) * CAMERA_LIMIT_DEGREES


def _buttons_of_actions() -> NDArray[np.uint8]:
    """Pressed buttons (8641, 23) of every button action."""
    buttons = np.zeros((NUM_BUTTON_ACTIONS, len(BUTTONS)), np.uint8)
    rest = np.arange(INVENTORY) // 2  # without the camera's digit
    for group in reversed(BUTTON_GROUPS):
        rest, digit = np.divmod(rest, len(group) + 1)
        for place, name in enumerate(group, start=1):
            buttons[:INVENTORY, BUTTONS.index(name)] = digit == place
    buttons[INVENTORY, BUTTONS.index("inventory")] = 1
    return buttons


_BUTTONS_OF_ACTION = _buttons_of_actions()
