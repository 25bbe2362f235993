from dataclasses import replace

import numpy as np
import pytest
import torch
from torchvision.transforms import InterpolationMode
from torchvision.transforms.functional import affine

from shards.masks import packed_size
from tests.synthetic import make_dataset
from tests.trainer.batches import assert_same, make_module, take
from trainer.data.augment import Augmentation, draw_augmentation

HEIGHT, WIDTH = 64, 96


def frames(luma: np.ndarray, u: int = 128, v: int = 128) -> np.ndarray:
    """One frame of that luma and flat colour, u8 (1, 96, 96)."""
    chroma = np.concatenate([np.full(luma.size // 4, colour, np.uint8) for colour in (u, v)])
    return np.concatenate((luma.reshape(-1), chroma)).reshape(1, HEIGHT * 3 // 2, WIDTH)


def smooth_picture() -> np.ndarray:
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    return (120 + 60 * np.sin(x / 7) * np.cos(y / 5)).astype(np.uint8)


def apply(
    augmentation: Augmentation, yuv: np.ndarray, mask: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    mask = np.zeros((HEIGHT, WIDTH), bool) if mask is None else mask
    bits = np.packbits(mask.reshape(1, -1), axis=1)
    augmentation.apply(yuv, bits)
    return yuv[0], np.unpackbits(bits[0])[: HEIGHT * WIDTH].reshape(HEIGHT, WIDTH)


def test_no_augmentation_changes_nothing():
    yuv = frames(smooth_picture(), 100, 150)
    mask = np.random.default_rng(0).random((HEIGHT, WIDTH)) < 0.3
    found, found_mask = apply(Augmentation(), yuv.copy(), mask)
    assert np.array_equal(found, yuv[0])
    assert np.array_equal(found_mask, mask)


@pytest.mark.parametrize(
    "augmentation",
    [
        Augmentation(rotation_degrees=4),
        Augmentation(rotation_degrees=-20),
        Augmentation(scale=1.2),
        Augmentation(scale=0.9, rotation_degrees=7),
    ],
)
def test_picture_moves_as_torchvision_moves_it(augmentation):
    luma = smooth_picture()
    expected = affine(
        torch.from_numpy(luma)[None].float(),
        angle=augmentation.rotation_degrees,
        translate=[0, 0],
        scale=augmentation.scale,
        shear=[0.0, 0.0],
        interpolation=InterpolationMode.BILINEAR,
    )[0].numpy()
    inside = (slice(16, -16), slice(24, -24))  # torchvision is black where we go on with the edge
    found, _ = apply(augmentation, frames(luma))
    assert np.abs(found[:HEIGHT][inside] - expected[inside]).max() <= 2


@pytest.mark.parametrize("seed", range(4))
def test_mask_moves_with_the_picture(seed):
    drawn = draw_augmentation(seed, 0, "episode")
    strong = replace(drawn, rotation_degrees=6 * drawn.rotation_degrees, scale=1 + 8 * (drawn.scale - 1))
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[10:40, 20:50] = True
    luma = np.where(mask, 220, 30).astype(np.uint8)
    geometry = replace(strong, hue_degrees=0, saturation=1, brightness=1, contrast=1)
    yuv, moved = apply(geometry, frames(luma), mask)
    bright = yuv[:HEIGHT] > 125
    assert not np.array_equal(moved, mask)
    assert (moved.astype(bool) ^ bright).sum() <= 0.01 * mask.sum() + 4  # rounding at the edge


def test_chroma_moves_with_luma():
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[20:44, 30:60] = True
    yuv = frames(np.where(mask, 220, 30).astype(np.uint8))
    chroma = yuv[0, HEIGHT:].reshape(2, HEIGHT // 2, WIDTH // 2)
    chroma[:, 10:22, 15:30] = 200
    found, _ = apply(Augmentation(rotation_degrees=10, scale=1.1), yuv)
    luma = (found[:HEIGHT] > 125).reshape(HEIGHT // 2, 2, WIDTH // 2, 2).mean((1, 3)) > 0.5
    colour = found[HEIGHT:].reshape(2, HEIGHT // 2, WIDTH // 2)[0] > 164
    assert (luma ^ colour).mean() < 0.02


@pytest.mark.parametrize(
    ("augmentation", "before", "after"),
    [
        (Augmentation(brightness=0.8), (116, 138, 118), (96, 136, 120)),
        (Augmentation(brightness=1.2), (230, 128, 128), (235, 128, 128)),
        (Augmentation(contrast=1.2), (126, 128, 128), (126, 128, 128)),
        (Augmentation(contrast=0.8), (46, 148, 128), (62, 144, 128)),
        (Augmentation(saturation=0.5), (90, 148, 108), (90, 138, 118)),
        (Augmentation(hue_degrees=90), (90, 148, 128), (90, 128, 148)),
        (Augmentation(hue_degrees=180), (90, 148, 108), (90, 108, 148)),
    ],
)
def test_colour_changes_as_computed_by_hand(augmentation, before, after):
    found, _ = apply(augmentation, frames(np.full((HEIGHT, WIDTH), before[0], np.uint8), before[1], before[2]))
    u, v = found[HEIGHT:].reshape(2, -1)
    assert {*found[:HEIGHT].reshape(-1).tolist()} <= {after[0] - 1, after[0], after[0] + 1}
    assert (set(u.tolist()), set(v.tolist())) == ({after[1]}, {after[2]})


def test_augmentation_is_drawn_by_seed_epoch_and_episode_within_its_ranges():
    drawn = [draw_augmentation(seed, epoch, name) for seed in range(9) for epoch in range(9) for name in "abc"]
    assert len(set(drawn)) == len(drawn)
    assert draw_augmentation(1, 2, "a") == draw_augmentation(1, 2, "a")
    for name, low, high in (
        ("hue_degrees", -36, 36),
        ("saturation", 0.8, 1.2),
        ("brightness", 0.8, 1.2),
        ("contrast", 0.8, 1.2),
        ("rotation_degrees", -4, 2),
        ("shear_degrees", -2, 2),
        ("scale", 0.98, 1.02),
    ):
        values = [getattr(one, name) for one in drawn]
        assert low <= min(values) < low + (high - low) / 10
        assert high - (high - low) / 10 < max(values) <= high


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("augment") / "dataset"
    make_dataset(folder, [[40, 33, 48], [64, 20]])
    return folder


def test_augmentation_stays_the_same_through_an_episode_and_changes_with_the_epoch(dataset):
    plain_batches = take(make_module(dataset, batch_size=2))
    module = make_module(dataset, batch_size=2, augment=True)
    hues = []
    for _ in range(2):
        seen: dict[int, set[tuple[int, int]]] = {}
        for batch, _expected in zip(take(module), plain_batches, strict=True):
            for lane in range(2):
                if batch["episode"][lane] < 0:
                    continue
                chroma = batch["yuv"][lane][batch["valid"][lane]][:, 32:].reshape(-1, 2, 16 * 24)
                middle = np.median(chroma, axis=2).astype(int)
                seen.setdefault(int(batch["episode"][lane]), set()).update(map(tuple, middle.tolist()))
        # Flat colours survive the codec within a step, so one variation gives nearly one colour an episode.
        assert all(max(np.ptp(np.array(list(colours)), axis=0)) <= 3 for colours in seen.values())
        hues.append({episode: min(colours) for episode, colours in seen.items()})
    assert sum(hues[0][episode] != hues[1][episode] for episode in hues[0]) >= 3


def test_augmented_batches_do_not_depend_on_workers_or_ranks(dataset):
    expected = take(make_module(dataset, batch_size=2, augment=True))
    module = make_module(dataset, batch_size=2, augment=True, num_workers=2)
    assert_same(take(module), expected)
    module.teardown()


def test_augmentation_leaves_padding_and_validity_alone(dataset):
    expected, found = (take(make_module(dataset, batch_size=2, augment=augment)) for augment in (False, True))
    for one, other in zip(found, expected, strict=True):
        for name in ("valid", "first", "segment/obj_id", "action/buttons", "env_action/camera"):
            assert np.array_equal(one[name], other[name])
        padding = ~other["valid"]
        assert np.array_equal(one["yuv"][padding], other["yuv"][padding])
        assert one["segment/obj_mask_bits"].shape[-1] == packed_size(32, 48)
