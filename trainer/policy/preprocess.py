"""Frames as they arrive (uint8 RGB or planar YUV, masks as bytes or bits) -> the backbone's four channels.

One pass writes each channel where the backbone reads it (N, 4, H, W with the channels last in memory);
nothing is divided, normalised, concatenated or transposed in a copy of its own.
"""

# N frames, H rows, W columns
import torch
from torch import Tensor, nn

from trainer.policy.errors import PolicyError

# BT.601, limited range: luma 16..235, chroma 16..240 around 128, to RGB 0..255.
_LUMA = 255.0 / 219.0
_RED_FROM_V = 1.402 * 255.0 / 224.0
_GREEN_FROM_U = -1.772 * 0.114 / 0.587 * 255.0 / 224.0
_GREEN_FROM_V = -1.402 * 0.299 / 0.587 * 255.0 / 224.0
_BLUE_FROM_U = 1.772 * 255.0 / 224.0
_CHROMA = ((0.0, _RED_FROM_V), (_GREEN_FROM_U, _GREEN_FROM_V), (_BLUE_FROM_U, 0.0))


class Preprocess(nn.Module):
    """Normalised channels of frames; holds no parameters and nothing that a checkpoint would keep."""

    def __init__(self, mean: list[float], std: list[float]) -> None:
        super().__init__()
        self.mean, self.std = tuple(mean), tuple(std)
        self.register_buffer("scale", 1.0 / (255.0 * torch.tensor(std)), persistent=False)
        self.register_buffer("shift", -torch.tensor(mean) / torch.tensor(std), persistent=False)
        self.scale: Tensor
        self.shift: Tensor

    def from_rgb(self, image_NHW3: Tensor, mask_NHW: Tensor | None, dtype: torch.dtype) -> Tensor:
        """The channels (N, 4, H, W) of RGB frames 0..255; a missing mask is empty."""
        height, width = image_NHW3.shape[1:3]
        out_NHW4 = self._empty(image_NHW3, height, width, dtype)
        out_NHW4[..., :3] = image_NHW3 * self.scale + self.shift
        self._write_mask(out_NHW4, mask_NHW)
        return out_NHW4.permute(0, 3, 1, 2)

    def from_yuv(self, yuv_NPW: Tensor, mask_NHW: Tensor | None, dtype: torch.dtype) -> Tensor:
        """The channels (N, 4, H, W) of planar I420 frames (N, H * 3 / 2, W), BT.601 limited range.

        Chroma is replicated, as swscale does by default. Colours outside 0..255 are clipped, as in RGB bytes.
        """
        count, rows, width = yuv_NPW.shape
        height = rows * 2 // 3
        halves = (count, height // 2, 2, width // 2, 2)
        luma = yuv_NPW[:, :height].reshape(halves)
        chroma = yuv_NPW[:, height:].reshape(count, 2, height // 2, width // 2).float()
        out_NHW4 = self._empty(yuv_NPW, height, width, dtype)
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
            out_NHW4[..., channel] = value.view(count, height, width)
        self._write_mask(out_NHW4, mask_NHW)
        return out_NHW4.permute(0, 3, 1, 2)

    @staticmethod
    def _empty(like: Tensor, height: int, width: int, dtype: torch.dtype) -> Tensor:
        return torch.empty(like.shape[0], height, width, 4, dtype=dtype, device=like.device)

    @staticmethod
    def _write_mask(out_NHW4: Tensor, mask_NHW: Tensor | None) -> None:
        if mask_NHW is None:
            out_NHW4[..., 3] = 0
        else:
            out_NHW4[..., 3] = mask_NHW


def unpack_mask_bits(bits: Tensor, height: int, width: int) -> Tensor:
    """Masks (N, H, W) uint8 0 or 1 of `np.packbits` rows (N, ceil(H * W / 8)), first pixel in the high bit."""
    expected = (height * width + 7) // 8
    if bits.shape[-1] != expected:
        raise PolicyError(
            f"segment.obj_mask_bits: wrong size, got {bits.shape[-1]} bytes a frame, "
            f"expected {expected} for {height}x{width} frames."
        )
    places = torch.arange(7, -1, -1, dtype=torch.uint8, device=bits.device)
    pixels = bits[..., None].bitwise_right_shift(places).bitwise_and_(1)
    return pixels.flatten(-2)[..., : height * width].reshape(*bits.shape[:-1], height, width)
