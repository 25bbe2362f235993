"""How a rank's batch lies in memory: one slot of shared memory, filled by loader processes, read by the trainer.

    slot:  [ yuv of lane 0 | lane 1 | ... ][ mask bits of lane 0 | ... ][ buttons ... ] ...

B lanes of the rank, T frames of a window, H x W pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict, cast

import numpy as np
from numpy.typing import NDArray

from shards.action_space import ACTION_SPACE
from shards.masks import packed_size

if TYPE_CHECKING:
    from torch import Tensor  # loader processes do without torch

_ALIGNMENT_BYTES = 4096


class Segment(TypedDict):
    """What the policy is shown of each frame's goal."""

    obj_mask_bits: Tensor  # its mask, one bit a pixel (masks.runs_to_packed_bits)
    obj_id: Tensor  # its interaction type, -1: none


class PolicyAction(TypedDict):
    """What the human did, in the policy's action space."""

    buttons: Tensor  # 0 to 8640
    camera: Tensor  # 0 to 120


class EnvAction(TypedDict):
    """What the human did, as recorded."""

    buttons: Tensor  # 0 or 1, in the order of the action space
    camera: Tensor  # degrees, [pitch, yaw]


class Batch(TypedDict):
    """A rank's windows, a lane a row. `BatchLayout.fields` has each field's dtype and shape."""

    yuv: Tensor  # pixels, planar I420: height * 3 / 2 rows of width bytes
    segment: Segment
    action: PolicyAction
    env_action: EnvAction
    first: Tensor  # an episode starts with this frame
    valid: Tensor  # the frame counts: neither padding nor damage
    watch: Tensor  # the goal's event is one that validation watches
    lane: Tensor  # the lane in the global batch
    episode: Tensor  # its number in all datasets together, -1: padding
    start_frame: Tensor  # of the window in its episode, 0: padding
    stop_frame: Tensor  # exclusive, 0: padding
    index: Tensor  # the window's number in its episode
    last: Tensor  # the window ends its episode
    damaged: Tensor  # the window lost its data; no frame of it is valid
    step: Tensor  # of the epoch, scalar
    epoch: Tensor  # scalar
    host: NotRequired[dict[str, NDArray[Any]]]  # facts of the rows that callbacks check, on the CPU
    has_padding: NotRequired[bool]  # some frame is not valid


@dataclass(frozen=True)
class BatchLayout:
    """Fields of a batch and their places in a slot."""

    num_rows: int
    window_frames: int
    height: int
    width: int

    @cached_property
    def fields(self) -> dict[str, tuple[type[np.generic], tuple[int, ...]]]:
        """The fields of `Batch` that loader processes fill: dtype and shape; the first axis is the rank's lane."""
        frames = (self.num_rows, self.window_frames)
        return {
            "yuv": (np.uint8, (*frames, self.height * 3 // 2, self.width)),
            "segment/obj_mask_bits": (np.uint8, (*frames, packed_size(self.height, self.width))),
            "segment/obj_id": (np.int64, frames),
            "action/buttons": (np.int64, frames),
            "action/camera": (np.int64, frames),
            "env_action/buttons": (np.uint8, (*frames, len(ACTION_SPACE.buttons))),
            "env_action/camera": (np.float32, (*frames, 2)),
            "first": (np.bool_, frames),
            "valid": (np.bool_, frames),
            "watch": (np.bool_, frames),
            "lane": (np.int64, (self.num_rows,)),
            "episode": (np.int64, (self.num_rows,)),
            "start_frame": (np.int64, (self.num_rows,)),
            "stop_frame": (np.int64, (self.num_rows,)),
            "index": (np.int64, (self.num_rows,)),
            "last": (np.bool_, (self.num_rows,)),
            "damaged": (np.bool_, (self.num_rows,)),
        }

    @cached_property
    def slot_bytes(self) -> int:
        return sum(_padded(_num_bytes(*field)) for field in self.fields.values())

    def views(self, slot: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        """The fields of a slot, u8 (slot_bytes,), as arrays that share its memory."""
        arrays: dict[str, NDArray[Any]] = {}
        at = 0
        for name, (dtype, shape) in self.fields.items():
            num_bytes = _num_bytes(dtype, shape)
            arrays[name] = slot[at : at + num_bytes].view(dtype).reshape(shape)
            at += _padded(num_bytes)
        return arrays


def rows_of_batch(batch: Batch, rows: slice) -> Batch:
    """Those rows of a batch, sharing its memory; all of them are the batch itself."""
    num_rows = len(batch["valid"])
    if rows.indices(num_rows) == (0, num_rows, 1):
        return batch
    part = {name: _rows(value, rows) for name, value in batch.items() if name != "has_padding"}
    host = batch.get("host")
    if host is not None:
        num_frames: NDArray[Any] = host["num_frames"][rows]
        part["has_padding"] = bool((num_frames < batch["valid"].shape[1]).any())
    return cast(Batch, part)


def _rows(value: Any, rows: slice) -> Any:
    if isinstance(value, dict):
        return {name: _rows(inner, rows) for name, inner in value.items()}
    return value[rows] if value.ndim else value


def _num_bytes(dtype: type[np.generic], shape: tuple[int, ...]) -> int:
    return np.dtype(dtype).itemsize * math.prod(shape)


def _padded(num_bytes: int) -> int:
    return -(-num_bytes // _ALIGNMENT_BYTES) * _ALIGNMENT_BYTES
