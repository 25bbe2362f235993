"""Varying a window's pictures: colour and a small affine movement, the mask moving with the picture.

The variation is drawn once for an episode (which is on one lane) and epoch, so that it does not change while
memory is carried. Ranges as in MineStudio, minestudio/data/minecraft/callbacks/image.py (VideoAugmentation).
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from shards.schedule.draws import draw_uniform, stream

_FIXED_POINT = 256


@dataclass(frozen=True)
class Augmentation:
    """One variation.

    Attributes:
        hue_degrees: rotation of the colours.
        saturation, brightness, contrast: factors, 1 for none.
        rotation_degrees, shear_degrees: movement about the frame's centre, clockwise as seen.
        scale: enlargement about the centre, 1 for none.
    """

    hue_degrees: float = 0.0
    saturation: float = 1.0
    brightness: float = 1.0
    contrast: float = 1.0
    rotation_degrees: float = 0.0
    shear_degrees: float = 0.0
    scale: float = 1.0

    def apply(self, yuv: NDArray[np.uint8], mask_bits: NDArray[np.uint8]) -> None:
        """Pictures u8 (n, height * 3 // 2, width) and packed masks (n, bytes) are varied in place."""
        height, width = yuv.shape[1] * 2 // 3, yuv.shape[2]
        luma = yuv[:, :height]
        chroma = yuv[:, height:].reshape(len(yuv), 2, height // 2, width // 2)
        luma_of = self._luma_table()
        u_of, v_of = self._chroma_tables()
        at_luma, at_chroma = _samples(self, height, width, 1), _samples(self, height, width, 2)
        for frame in range(len(yuv)):
            luma[frame] = luma_of.take(at_luma.bilinear(luma[frame]))
            u, v = (at_chroma.bilinear(plane) for plane in chroma[frame])
            colour = (u.astype(np.uint16) << 8) | v
            chroma[frame] = np.stack((u_of.take(colour), v_of.take(colour)))
            if mask_bits[frame].any():
                pixels = np.unpackbits(mask_bits[frame], count=height * width)
                mask_bits[frame] = np.packbits(pixels.take(at_luma.nearest).reshape(-1))

    def _luma_table(self) -> NDArray[np.uint8]:
        """What becomes of each luma: brightness scales it from black, contrast about the middle."""
        bright = (np.arange(256) - 16.0) * self.brightness
        return _to_bytes(16 + 109.5 + (bright - 109.5) * self.contrast, 16, 235)

    def _chroma_tables(self) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """What becomes of each colour, by its number u * 256 + v."""
        u, v = np.divmod(np.arange(65536), 256)
        factor = self.saturation * self.brightness * self.contrast
        cos, sin = (factor * f(math.radians(self.hue_degrees)) for f in (math.cos, math.sin))
        du, dv = u - 128.0, v - 128.0
        return _to_bytes(128 + cos * du - sin * dv, 16, 240), _to_bytes(128 + sin * du + cos * dv, 16, 240)


def draw_augmentation(seed: int, epoch: int, episode_id: str) -> Augmentation:
    """The variation of an episode in an epoch."""
    bits = stream("augmentation", seed, epoch, episode_id)
    return Augmentation(
        hue_degrees=draw_uniform(bits, -36, 36),
        saturation=draw_uniform(bits, 0.8, 1.2),
        brightness=draw_uniform(bits, 0.8, 1.2),
        contrast=draw_uniform(bits, 0.8, 1.2),
        rotation_degrees=draw_uniform(bits, -4, 2),
        shear_degrees=draw_uniform(bits, -2, 2),
        scale=draw_uniform(bits, 0.98, 1.02),
    )


class _Samples:
    """Where each pixel of a moved plane comes from: flat places and fixed-point weights."""

    def __init__(self, row: NDArray[np.float64], column: NDArray[np.float64]) -> None:
        """`row` and `column`, shape (height, width), are the places of pixel centres in the old plane."""
        height, width = row.shape
        self._shape = row.shape
        row, column = np.clip(row, 0, height - 1), np.clip(column, 0, width - 1)  # the edge goes on
        self.nearest = (np.rint(row) * width + np.rint(column)).astype(np.intp)
        top, left = np.floor(row), np.floor(column)
        below = ((row - top) * _FIXED_POINT).astype(np.int32)
        beside = ((column - left) * _FIXED_POINT).astype(np.int32)
        down, right = np.minimum(top + 1, height - 1), np.minimum(left + 1, width - 1)
        w11 = below * beside // _FIXED_POINT
        w10, w01 = below - w11, beside - w11
        w00 = _FIXED_POINT - below - beside + w11
        self._corners = [
            ((r * width + c).astype(np.intp), w.astype(np.uint16))
            for r, c, w in ((top, left, w00), (top, right, w01), (down, left, w10), (down, right, w11))
        ]

    def bilinear(self, plane: NDArray[np.uint8]) -> NDArray[np.uint8]:
        flat = np.ascontiguousarray(plane).reshape(-1)
        total = np.full(self._shape, _FIXED_POINT // 2, np.uint16)  # the weights add up to 256: 16 bits are enough
        for place, weight in self._corners:
            total += flat.take(place, mode="clip") * weight
        return (total >> 8).astype(np.uint8)


@lru_cache(maxsize=16)
def _samples(augmentation: Augmentation, height: int, width: int, step: int) -> _Samples:
    """The samples of a plane that has every `step`-th pixel of a height x width frame."""
    rows, columns = height // step, width // step
    # Pixel centres about the frame's centre, in pixels of the full frame.
    y, x = np.meshgrid(
        (np.arange(rows) + 0.5) * step - height / 2, (np.arange(columns) + 0.5) * step - width / 2, indexing="ij"
    )
    angle, shear = math.radians(augmentation.rotation_degrees), math.tan(math.radians(augmentation.shear_degrees))
    forward = (
        augmentation.scale
        * np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        @ np.array([[1, shear], [0, 1]])
    )
    back = np.linalg.inv(forward)  # from where a pixel goes to, to where it comes from
    from_x, from_y = back[0, 0] * x + back[0, 1] * y, back[1, 0] * x + back[1, 1] * y
    return _Samples((from_y + height / 2) / step - 0.5, (from_x + width / 2) / step - 0.5)


def _to_bytes(values: NDArray[np.floating], low: int, high: int) -> NDArray[np.uint8]:
    clipped: NDArray[np.uint8] = np.clip(np.rint(values), low, high).astype(np.uint8)
    return clipped
