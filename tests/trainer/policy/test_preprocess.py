"""Frames become normalised channels, from RGB and from planar YUV alike."""

import av
import numpy as np
import pytest
import torch

from tests.trainer.policies import logits, random_window, relative_error, tiny_policy
from trainer.policy.preprocess import Preprocess, unpack_mask_bits

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def smooth_yuv(num_frames: int, height: int, width: int) -> np.ndarray:
    """Frames I420 (n, H * 3 / 2, W) of legal colours that all planes take part in."""
    random = np.random.default_rng(0)
    planes = np.empty((num_frames, height * 3 // 2, width), np.uint8)
    planes[:, :height] = random.integers(16, 236, (num_frames, height, width))
    planes[:, height:] = random.integers(16, 241, (num_frames, height // 2, width))
    return planes


def swscale_rgb(yuv: np.ndarray) -> np.ndarray:
    """RGB (n, H, W, 3) as ffmpeg's scaler makes it by default."""
    return np.stack(
        [av.VideoFrame.from_ndarray(frame, format="yuv420p").to_ndarray(format="rgb24") for frame in yuv]
    )


def test_rgb_channels_are_minestudios_formula():
    image = torch.randint(0, 256, (5, 6, 8, 3), dtype=torch.uint8)
    mask = torch.randint(0, 2, (5, 6, 8), dtype=torch.uint8)
    got = Preprocess(MEAN, STD).from_rgb(image, mask, torch.float32)
    pixels = image.permute(0, 3, 1, 2) / 255.0
    normalised = (pixels - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
    torch.testing.assert_close(got, torch.cat([normalised, mask[:, None].float()], dim=1), rtol=0, atol=2e-6)


@pytest.mark.parametrize(("height", "width"), [(32, 48), (36, 64), (2, 2)])
def test_yuv_colours_equal_swscales_within_rounding(height, width):
    yuv = smooth_yuv(4, height, width)
    got = Preprocess([0.0] * 3, [1.0 / 255.0] * 3).from_yuv(torch.from_numpy(yuv), None, torch.float32)
    rgb = swscale_rgb(yuv).astype(np.float32).transpose(0, 3, 1, 2)
    difference = got[:, :3].numpy() - rgb
    assert np.abs(difference).max() <= 3.0  # it adds up truncated terms
    assert np.abs(difference).mean() < 1.0
    assert got[:, :3].min() >= 0.0
    assert got[:, :3].max() <= 255.0
    assert not got[:, 3].any()


@torch.no_grad()
def test_policy_sees_the_same_in_yuv_as_in_rgb():
    policy = tiny_policy()
    frames = random_window(2, 8)
    yuv = smooth_yuv(16, 32, 32).reshape(2, 8, 48, 32)
    rgb = swscale_rgb(yuv.reshape(16, 48, 32)).reshape(2, 8, 32, 32, 3)
    from_yuv = logits(policy({"yuv": torch.from_numpy(yuv), "segment": frames["segment"]}))
    from_rgb = logits(policy({"image": torch.from_numpy(rgb), "segment": frames["segment"]}))
    assert relative_error(from_yuv, from_rgb) < 2e-2
    assert not torch.equal(from_yuv, logits(policy(frames)))


def test_limited_range_black_and_white_are_black_and_white():
    yuv = torch.full((2, 6, 4), 128, dtype=torch.uint8)
    yuv[0, :4], yuv[1, :4] = 16, 235
    got = Preprocess([0.0] * 3, [1.0] * 3).from_yuv(yuv, None, torch.float32)[:, :3]
    torch.testing.assert_close(got[0], torch.zeros(3, 4, 4), rtol=0, atol=1e-6)
    torch.testing.assert_close(got[1], torch.ones(3, 4, 4), rtol=0, atol=1e-6)


def test_bfloat16_channels_are_the_rounded_float32_ones():
    yuv, mask = torch.from_numpy(smooth_yuv(2, 8, 8)), torch.ones(2, 8, 8, dtype=torch.bool)
    preprocess = Preprocess(MEAN, STD)
    exact = preprocess.from_yuv(yuv, mask, torch.float32)
    rounded = preprocess.from_yuv(yuv, mask, torch.bfloat16)
    assert torch.equal(rounded, exact.to(torch.bfloat16))


@pytest.mark.parametrize(("height", "width"), [(4, 6), (3, 5), (1, 1)])
def test_mask_bits_unpack_as_numpy_packed_them(height, width):
    masks = np.random.default_rng(1).integers(0, 2, (3, height, width), dtype=np.uint8)
    bits = np.packbits(masks.reshape(3, -1), axis=-1)
    got = unpack_mask_bits(torch.from_numpy(bits), height, width)
    assert np.array_equal(got.numpy(), masks)
