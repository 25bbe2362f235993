"""Frames as they arrive (uint8 RGB or planar YUV, masks as bytes or bits) -> the backbone's four channels.

Each channel is computed once and written where the backbone reads it, in the layout that it reads;
nothing is divided, normalised, concatenated or transposed in a copy of all frames.
"""

# N frames, H rows, W columns
import torch
from torch import Tensor

from shards.errors import RocketError
from trainer.policy.backbone import memory_format

# BT.601, limited range: luma 16..235, chroma 16..240 around 128, to RGB 0..255.
_LUMA = 255.0 / 219.0
_RED_FROM_V = 1.402 * 255.0 / 224.0
_GREEN_FROM_U = -1.772 * 0.114 / 0.587 * 255.0 / 224.0
_GREEN_FROM_V = -1.402 * 0.299 / 0.587 * 255.0 / 224.0
_BLUE_FROM_U = 1.772 * 255.0 / 224.0
_CHROMA = ((0.0, _RED_FROM_V), (_GREEN_FROM_U, _GREEN_FROM_V), (_BLUE_FROM_U, 0.0))


class Preprocess:
    """Normalised channels of frames, by the statistics that the backbone was trained with."""

    def __init__(self, mean: list[float], std: list[float]) -> None:
        self.mean, self.std = tuple(mean), tuple(std)

    def from_rgb(self, image_NHW3: Tensor, mask_NHW: Tensor | None, dtype: torch.dtype) -> Tensor:
        """The channels (N, 4, H, W) of RGB frames 0..255; a missing mask is empty."""
        count, height, width, _ = image_NHW3.shape
        out_N4HW = self._channels(image_NHW3, (count, height, width), mask_NHW, dtype)
        for channel, (mean, std) in enumerate(zip(self.mean, self.std, strict=True)):
            out_N4HW[:, channel] = (image_NHW3[..., channel] * (1.0 / (255.0 * std))).sub_(mean / std)
        return out_N4HW

    def from_yuv(self, yuv_NPW: Tensor, mask_NHW: Tensor | None, dtype: torch.dtype) -> Tensor:
        """The channels (N, 4, H, W) of planar I420 frames (N, H * 3 / 2, W), BT.601 limited range.

        Chroma is replicated, as swscale does by default. Colours outside 0..255 are clipped, as in RGB bytes.
        """
        count, rows, width = yuv_NPW.shape
        height = rows * 2 // 3
        luma = yuv_NPW[:, :height].reshape(count, height // 2, 2, width // 2, 2)
        chroma = yuv_NPW[:, height:].reshape(count, 2, height // 2, width // 2).float()
        out_N4HW = self._channels(yuv_NPW, (count, height, width), mask_NHW, dtype)
        for channel, (from_u, from_v) in enumerate(_CHROMA):
            mean, std = self.mean[channel], self.std[channel]
            gain = 1.0 / (255.0 * std)
            base = (-16.0 * _LUMA - 128.0 * (from_u + from_v)) * gain - mean / std
            colour = torch.full_like(chroma[:, 0], base)
            if from_u:
                colour.add_(chroma[:, 0], alpha=from_u * gain)
            if from_v:
                colour.add_(chroma[:, 1], alpha=from_v * gain)
            value = torch.add(colour[:, :, None, :, None], luma, alpha=_LUMA * gain)
            value.clamp_(-mean / std, (1.0 - mean) / std)
            out_N4HW[:, channel] = value.view(count, height, width)
        return out_N4HW

    @staticmethod
    def _channels(
        frames: Tensor, size: tuple[int, int, int], mask_NHW: Tensor | None, dtype: torch.dtype
    ) -> Tensor:
        """Room for the channels (N, 4, H, W), on the frames' device; the mask is in its place."""
        count, height, width = size
        layout = memory_format(frames.device)
        out_N4HW = torch.empty(count, 4, height, width, dtype=dtype, device=frames.device, memory_format=layout)
        out_N4HW[:, 3] = 0 if mask_NHW is None else mask_NHW
        return out_N4HW


def unpack_mask_bits(bits: Tensor, height: int, width: int) -> Tensor:
    """Masks (N, H, W) uint8 0 or 1 of `np.packbits` rows (N, ceil(H * W / 8)), first pixel in the high bit."""
    expected = (height * width + 7) // 8
    if bits.shape[-1] != expected:
        raise RocketError(
            f"segment.obj_mask_bits: wrong size, got {bits.shape[-1]} bytes a frame, "
            f"expected {expected} for {height}x{width} frames."
        )
    places = torch.arange(7, -1, -1, dtype=torch.uint8, device=bits.device)
    pixels = bits[..., None].bitwise_right_shift(places).bitwise_and_(1)
    return pixels.flatten(-2)[..., : height * width].reshape(*bits.shape[:-1], height, width)
