"""The frame's own number: written, read back, and refused where it can't be read."""

import subprocess
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.sample.barcode import (
    DARK,
    LIGHT,
    MAX_FRAME,
    MAX_RECORDING,
    NUM_COLUMNS,
    NUM_ROWS,
    STRIP_HEIGHT,
    FrameMark,
    crc8,
    mark_bits,
)
from pipeline.sample.make import SampleSettings, make_sample
from pipeline.transcode.ffmpeg import ffmpeg_program


def read_frame_index(picture: NDArray[np.uint8]) -> FrameMark | None:
    """Return the mark that a picture carries, or None where none can be read (the checksum says so).

    Args:
        picture: luma (H, W) or RGB (H, W, 3), at 64x64 or larger and of any shape, since both axes scale alone.
    """
    luma = picture.astype(np.float32)
    if luma.ndim == 3:
        luma = luma.mean(axis=2)
    height, width = luma.shape
    # Whole pixels inside each block: an edge pixel mixes two rows when the height is no multiple of the blocks'.
    row_edges = height * (1 - STRIP_HEIGHT * np.arange(NUM_ROWS, -1, -1) / NUM_ROWS)
    column_edges = np.rint(width * np.arange(NUM_COLUMNS + 1) / NUM_COLUMNS).astype(int)
    means = np.empty((NUM_ROWS, NUM_COLUMNS), np.float32)
    for row in range(NUM_ROWS):
        top, bottom = int(np.ceil(row_edges[row] - 1e-6)), int(np.floor(row_edges[row + 1] + 1e-6))
        if bottom <= top:
            return None
        # Averages over a block's whole width: a mouse cursor drawn on it covers less than half.
        sums = np.add.reduceat(luma[top:bottom].mean(axis=0), column_edges[:-1])
        means[row] = sums / np.diff(column_edges)
    low, high = float(means.min()), float(means.max())
    between = np.minimum(means - low, high - means) / max(high - low, 1e-6)
    if high - low < 0.4 * (LIGHT - DARK) or between.max() > 0.4:
        return None  # no black and white blocks
    code = 0
    for bit in (means > (low + high) / 2).ravel().tolist():
        code = code << 1 | bit
    payload, checksum = code >> 8, code & 0xFF
    if crc8(payload) != checksum:
        return None
    return FrameMark(recording=payload >> 13, frame=payload & MAX_FRAME)


def drawn(mark: FrameMark, height: int = 360, width: int = 640) -> np.ndarray:
    """A grey picture with the mark's blocks along its bottom edge."""
    picture = np.full((height, width), 120, np.uint8)
    bits = mark_bits(mark)
    for row in range(2):
        for column in range(16):
            top, left = height - 24 + 12 * row, 40 * column
            picture[top : top + 12, left : left + 40] = 232 if bits[row, column] else 24
    return picture


@given(st.integers(0, MAX_RECORDING), st.integers(0, MAX_FRAME))
def test_barcode_reads_back_every_number(recording: int, frame: int) -> None:
    assert read_frame_index(drawn(FrameMark(recording, frame))) == (recording, frame)


def test_barcode_reads_from_rgb_as_from_luma() -> None:
    picture = np.repeat(drawn(FrameMark(3, 77))[..., None], 3, axis=2)
    assert read_frame_index(picture) == (3, 77)


@pytest.mark.parametrize("size", [(640, 360), (224, 224), (128, 128), (64, 64)])
def test_barcode_survives_box_averaging(size: tuple[int, int]) -> None:
    from PIL import Image

    for frame in (0, 1, 4095, 4096, 8191):
        small = Image.fromarray(drawn(FrameMark(1234, frame))).resize(size, Image.Resampling.BOX)
        assert read_frame_index(np.asarray(small)) == (1234, frame)


def test_barcode_survives_a_cursor_drawn_over_it() -> None:
    for left in range(0, 624, 13):
        picture = drawn(FrameMark(9, 2730))
        picture[344:360, left : left + 16] = np.tril(np.full((16, 16), 255, np.uint8))
        assert read_frame_index(picture) == (9, 2730), left


@pytest.mark.parametrize("level", [0, 120, 255])
def test_barcode_is_not_found_in_an_even_picture(level: int) -> None:
    assert read_frame_index(np.full((360, 640), level, np.uint8)) is None


def test_barcode_is_not_found_in_noise() -> None:
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (100, 64, 64), dtype=np.uint8)
    assert [read_frame_index(picture) for picture in pictures] == [None] * 100


def test_barcode_with_a_wrong_block_is_refused() -> None:
    for column in range(16):
        picture = drawn(FrameMark(77, 1000))
        block = picture[336:348, 40 * column : 40 * column + 40]
        block[:] = np.where(block == 24, 232, 24)
        assert read_frame_index(picture) is None


def test_barcode_refuses_a_number_that_does_not_fit() -> None:
    with pytest.raises(
        ValueError, match=r"barcode: the number does not fit, got FrameMark\(recording=0, frame=8192\)"
    ):
        mark_bits(FrameMark(0, 8192))


def test_every_frame_is_read_back_after_transcoding_to_224_and_64(tmp_path: Path) -> None:
    settings = SampleSettings(seed=3, num_sessions=1, min_recording_frames=60, max_recording_frames=90)
    sample = make_sample(tmp_path / "sample", settings)
    for recording in sample.recordings:
        source = tmp_path / "sample" / "data" / recording.version / f"{recording.name}.mp4"
        for size in (224, 64):
            small = tmp_path / f"{recording.number}-{size}.mp4"
            scale = ["-vf", f"scale={size}:{size}:flags=area", "-c:v", "libx264", "-crf", "18", "-threads", "1"]
            subprocess.run([ffmpeg_program(), "-loglevel", "error", "-i", source, *scale, small], check=True)
            with av.open(str(small)) as video:
                marks = [read_frame_index(frame.to_ndarray(format="gray")) for frame in video.decode(video=0)]
                assert marks == [(recording.number, index) for index in range(recording.num_video_frames)]
