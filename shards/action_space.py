"""The action space: what is recorded of each frame, and the two choices that a policy makes of it.

Source: openai/Video-Pre-Training, lib/actions.py and lib/action_mapping.py, with MineStudio's settings.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

_HOTBAR = tuple(f"hotbar.{slot}" for slot in range(1, 10))


@dataclass(frozen=True)
class ActionSpace:
    """Buttons and camera as recorded, and how the policy's button and camera actions encode them.

    Attributes:
        frames_per_second: of the recordings.
        policy_buttons: the buttons that the policy presses, in VPT's order.
        other_buttons: recorded as well.
        camera_axes: columns of a camera movement, in degrees; down and right are positive.
        button_groups: digits of a button action, most significant first: 0 for none, else the place of the button
            that is pressed, the last one of several. A further digit, the last, says whether the camera moves.
        cancelling_groups: groups in which both pressed means neither.
        exclusive_button: excludes everything else, the camera too; its action is the last one.
        camera_limit_degrees: greater angles are clipped.
        max_turn_degrees: no mouse turns the camera further in one frame; such a recording is damaged.
        camera_mu: of the mu-law that makes bins finer near rest.
        camera_bin_degrees: width of a bin, after the mu-law.
    """

    frames_per_second: int = 20
    policy_buttons: tuple[str, ...] = (
        "attack",
        "back",
        "forward",
        "jump",
        "left",
        "right",
        "sneak",
        "sprint",
        "use",
        "drop",
        "inventory",
        *_HOTBAR,
    )
    other_buttons: tuple[str, ...] = ("ESC", "pickItem", "swapHands")
    camera_axes: tuple[str, ...] = ("pitch", "yaw")
    button_groups: tuple[tuple[str, ...], ...] = (
        _HOTBAR,
        ("forward", "back"),
        ("left", "right"),
        ("sprint", "sneak"),
        ("use",),
        ("drop",),
        ("attack",),
        ("jump",),
    )
    cancelling_groups: tuple[tuple[str, ...], ...] = (("forward", "back"), ("left", "right"))
    exclusive_button: str = "inventory"
    camera_limit_degrees: float = 10.0
    max_turn_degrees: float = 720.0
    camera_mu: float = 10.0
    camera_bin_degrees: float = 2.0

    @cached_property
    def buttons(self) -> tuple[str, ...]:
        """All recorded buttons: the columns of the dataset's `buttons` arrays. The policy's come first."""
        return self.policy_buttons + self.other_buttons

    @cached_property
    def column(self) -> dict[str, int]:
        """The column of each button."""
        return {name: column for column, name in enumerate(self.buttons)}

    @cached_property
    def exclusive_action(self) -> int:
        """The button action of `exclusive_button`: 8640."""
        return 2 * math.prod(len(group) + 1 for group in self.button_groups)

    @property
    def num_button_actions(self) -> int:
        """8641."""
        return self.exclusive_action + 1

    @property
    def num_camera_bins(self) -> int:
        """Bins of one axis: 11."""
        return round(2 * self.camera_limit_degrees / self.camera_bin_degrees) + 1

    @property
    def null_camera_bin(self) -> int:
        """The bin of a camera at rest: 5."""
        return self.num_camera_bins // 2

    @property
    def num_camera_actions(self) -> int:
        """121: pitch bin * 11 + yaw bin."""
        return self.num_camera_bins**2

    @property
    def null_camera_action(self) -> int:
        """The camera action of a camera at rest: 60."""
        return self.num_camera_actions // 2

    def to_json(self) -> dict[str, Any]:
        """What is recorded, as dataset.json says it; how a policy encodes it is not the dataset's business."""
        return {
            "frames_per_second": self.frames_per_second,
            "buttons": list(self.buttons),
            "camera_axes": list(self.camera_axes),
            "camera_unit": "degrees",
        }


ACTION_SPACE = ActionSpace()
"""That of the contractor recordings and of the published policies."""
