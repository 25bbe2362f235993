"""Filling one lane's row of a batch: what a loader process does for each window."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from shards.action_space import ACTION_SPACE
from shards.errors import DamagedClip
from shards.windows import WindowArrays, WindowReader, WindowSource
from trainer.data.actions import to_policy
from trainer.data.augment import Augmentation


@dataclass(frozen=True)
class WindowTask:
    """A window to read, and how to vary it (None: not at all)."""

    source: WindowSource
    augmentation: Augmentation | None


def fill_row(reader: WindowReader, task: WindowTask, row: Mapping[str, NDArray[Any]]) -> DamagedClip | None:
    """The row's pixels, masks, actions and `valid` are those of the window; the damage, if that is what it met.

    A damaged window leaves a row like padding.

    Raises:
        OSError: if the storage fails.
    """
    num_frames = task.source.stop - task.source.start
    arrays = WindowArrays(
        row["yuv"], row["segment/obj_mask_bits"], row["env_action/buttons"], row["env_action/camera"]
    )
    try:
        reader.read(task.source, arrays)
        blank_row(row, num_frames, masks=task.source.goals is not None)
        if task.augmentation is not None:
            task.augmentation.apply(row["yuv"][:num_frames], row["segment/obj_mask_bits"][:num_frames])
        buttons, camera = to_policy(row["env_action/buttons"][:num_frames], row["env_action/camera"][:num_frames])
        row["action/buttons"][:num_frames], row["action/camera"][:num_frames] = buttons, camera
    except DamagedClip as damage:
        blank_row(row, 0, masks=False)
        return damage
    row["valid"][:num_frames] = True
    return None


def blank_row(row: Mapping[str, NDArray[Any]], start: int, *, masks: bool) -> None:
    """Frames from `start` on are black, without mask, action or weight; all masks are empty unless `masks`."""
    height = row["yuv"].shape[-2] // 3 * 2
    row["yuv"][start:, :height] = 16
    row["yuv"][start:, height:] = 128
    row["segment/obj_mask_bits"][start if masks else 0 :] = 0
    row["env_action/buttons"][start:] = 0
    row["env_action/camera"][start:] = 0
    row["action/buttons"][start:] = 0
    row["action/camera"][start:] = ACTION_SPACE.null_camera_action
    row["valid"][:] = False
