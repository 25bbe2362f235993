"""What the policy is given, checked and brought to one form."""

# B lanes, T frames in the window, N selected frames, H rows, W columns
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from einops import rearrange
from torch import Tensor

from shards.errors import RocketError
from trainer.policy.preprocess import Preprocess, unpack_mask_bits


@dataclass(frozen=True)
class Frames:
    """A window's frames, still as they arrived."""

    pixels: Tensor
    """(B * T, H, W, 3) RGB, or (B * T, H * 3 / 2, W) planar YUV."""
    mask: Tensor | None
    """(B * T, H, W), or (B * T, bytes) if `packed`."""
    packed: bool
    types: Tensor
    """(B, T) row of the interaction embedding: type id + 1."""
    first: Tensor
    """(B, T) bool: an episode starts."""
    valid: Tensor
    """(B, T) bool: not padding."""
    has_padding: bool
    height: int
    width: int

    def channels(self, rows_N: Tensor | None, preprocess: Preprocess, dtype: torch.dtype) -> Tensor:
        """The backbone's channels (N, 4, H, W) of the chosen frames or all, in `dtype` or autocast's."""
        pixels = self.pixels if rows_N is None else self.pixels[rows_N]
        mask = self.mask
        if mask is not None and rows_N is not None:
            mask = mask[rows_N]
        if mask is not None and self.packed:
            mask = unpack_mask_bits(mask, self.height, self.width)
        if torch.is_autocast_enabled(pixels.device.type):
            dtype = torch.get_autocast_dtype(pixels.device.type)
        convert = preprocess.from_rgb if pixels.ndim == 4 else preprocess.from_yuv
        return convert(pixels, mask, dtype)


def read_frames(given: Mapping[str, Any], device: torch.device) -> Frames:
    """The frames of the policy's input.

    Raises:
        RocketError: no frames, or shapes that contradict each other.
    """
    if "image" in given:
        pixels = given["image"]
        if pixels.ndim != 5 or pixels.shape[-1] != 3:
            raise RocketError(f"image: wrong shape, got {tuple(pixels.shape)}, expected (B, T, H, W, 3).")
        height, width = pixels.shape[2:4]
    elif "yuv" in given:
        pixels = given["yuv"]
        if pixels.ndim != 4 or pixels.shape[2] % 3 or pixels.shape[3] % 2:
            raise RocketError(
                f"yuv: wrong shape, got {tuple(pixels.shape)}, expected (B, T, H * 3 / 2, W), H and W even."
            )
        height, width = pixels.shape[2] * 2 // 3, pixels.shape[3]
    else:
        raise RocketError(f"input: no frames, got the keys {sorted(given)}, expected image or yuv.")
    lanes_frames = tuple(pixels.shape[:2])

    segment = given.get("segment", given.get("segmentation", {}))
    mask, packed = segment.get("obj_mask"), False
    if mask is None and "obj_mask_bits" in segment:
        mask, packed = segment["obj_mask_bits"], True
    if mask is not None:
        _expect("segment mask", mask.shape[:2], lanes_frames)
        if not packed:
            _expect("segment.obj_mask", mask.shape[2:], (height, width))
        mask = rearrange(mask, "B T ... -> (B T) ...")
    obj_id = segment.get("obj_id")
    if obj_id is None:
        obj_id = torch.full(lanes_frames, -1, device=device)
    first, valid = given.get("first"), given.get("valid")
    for name, tensor in (("segment.obj_id", obj_id), ("first", first), ("valid", valid)):
        if tensor is not None:
            _expect(name, tensor.shape, lanes_frames)
    has_padding = given.get("has_padding")
    if valid is None:
        has_padding = False
    elif has_padding is None:
        has_padding = not bool(valid.all())
    return Frames(
        pixels=rearrange(pixels, "B T ... -> (B T) ..."),
        mask=mask,
        packed=packed,
        types=obj_id.long() + 1,
        first=torch.zeros(lanes_frames, dtype=torch.bool, device=device) if first is None else first.bool(),
        valid=torch.ones(lanes_frames, dtype=torch.bool, device=device) if valid is None else valid.bool(),
        has_padding=bool(has_padding),
        height=height,
        width=width,
    )


def _expect(name: str, got: tuple[int, ...], expected: tuple[int, ...]) -> None:
    if tuple(got) != tuple(expected):
        raise RocketError(
            f"{name}: wrong shape, got {tuple(got)}, expected {tuple(expected)} like the frames. "
            "Check data.frame_height, data.frame_width and data.win_len."
        )
