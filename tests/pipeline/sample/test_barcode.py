"""The frame's own number: written, and read back after transcoding."""

import itertools
import subprocess
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from pipeline.sample.barcode import MAX_FRAME, MAX_RECORDING, STRIP_HEIGHT, FrameMark, mark_bits
from pipeline.sample.make import SampleSettings, make_sample
from pipeline.transcode.ffmpeg import ffmpeg_program


def read_blocks(picture: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which blocks along the bottom edge are light, bool (2, 16), by the whole pixels inside each."""
    height, width = picture.shape
    rows = height * (1 - STRIP_HEIGHT * np.array([2, 1, 0]) / 2)
    columns = [round(width * column / 16) for column in range(17)]
    light = [
        picture[int(np.ceil(top - 1e-6)) : int(bottom + 1e-6), left:right].mean() > 128
        for top, bottom in itertools.pairwise(rows)
        for left, right in itertools.pairwise(columns)
    ]
    return np.reshape(light, (2, 16))


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
def test_barcode_holds_the_number(recording: int, frame: int) -> None:
    bits = mark_bits(FrameMark(recording, frame)).ravel().tolist()
    code = int("".join(str(int(bit)) for bit in bits), 2)
    assert (code >> 21, code >> 8 & 0x1FFF) == (recording, frame)


@pytest.mark.parametrize("size", [(640, 360), (224, 224), (128, 128), (64, 64)])
def test_barcode_survives_box_averaging(size: tuple[int, int]) -> None:
    for frame in (0, 1, 4095, 4096, 8191):
        mark = FrameMark(1234, frame)
        small = Image.fromarray(drawn(mark)).resize(size, Image.Resampling.BOX)
        assert np.array_equal(read_blocks(np.asarray(small)), mark_bits(mark))


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
                read = [read_blocks(frame.to_ndarray(format="gray")) for frame in video.decode(video=0)]
            marks = [mark_bits(FrameMark(recording.number, index)) for index in range(recording.num_video_frames)]
            assert np.array_equal(read, marks)
