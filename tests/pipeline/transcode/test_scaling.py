"""Frames at the dataset's size: by area, with the cursor, in limited range; an ffmpeg decodes the reference."""

import subprocess

import numpy as np

from pipeline.transcode.decode import good_frames
from pipeline.transcode.ffmpeg import ffmpeg_program
from pipeline.transcode.scaling import FrameScaler
from tests.pipeline.recordings import write_video


def area_scaled(plane, height, width):
    """The mean over each target pixel's area, by two weight matrices."""

    def weights(size, new_size):
        scale = size / new_size
        edges = np.arange(new_size)[:, None] * scale
        overlap = np.minimum(edges + scale, np.arange(size) + 1) - np.maximum(edges, np.arange(size))
        return np.clip(overlap, 0, None) / scale

    return weights(plane.shape[0], height) @ plane @ weights(plane.shape[1], width).T


def noise_video(path, extra=()):
    """Eight frames of blurred noise in all planes, and what an ffmpeg decodes of them: (8, bytes of a frame)."""
    rng = np.random.default_rng(2)
    frames = [
        np.concatenate(
            [
                rng.integers(30, 220, (h // 8, w // 8), np.uint8).repeat(8, axis=0).repeat(8, axis=1).reshape(-1)
                for h, w in ((64, 96), (32, 48), (32, 48))
            ]
        )
        for _ in range(8)
    ]
    write_video(path, np.stack(frames), extra=("-crf", "1", *extra))
    command = [ffmpeg_program(), "-v", "error", "-i", str(path), "-f", "rawvideo", "-pix_fmt", "yuv420p", "-"]
    raw = subprocess.run(command, capture_output=True, check=True, timeout=60).stdout
    return np.frombuffer(raw, np.uint8).reshape(8, -1)


def test_frames_are_scaled_by_area(tmp_path):
    decoded = noise_video(tmp_path / "a.mp4")
    scaler = FrameScaler(32, 24)
    for raw, frame in zip(decoded, good_frames(tmp_path / "a.mp4"), strict=True):
        planes = [np.array(plane) for plane in scaler.scale(frame, None)]
        assert [len(plane) for plane in planes] == [32 * 24, 16 * 12, 16 * 12]
        luma = area_scaled(raw[: 96 * 64].reshape(64, 96), 24, 32)
        blue = area_scaled(raw[96 * 64 :][: 48 * 32].reshape(32, 48), 12, 16)
        assert np.abs(planes[0].reshape(24, 32) - luma).max() <= 1
        assert np.abs(planes[1].reshape(12, 16) - blue).max() <= 1


def test_the_cursor_changes_the_frame_and_not_the_decoders_copy(tmp_path):
    """Every frame is drawn on; those after it are predicted from it, and must not show the cursors before."""
    decoded = noise_video(tmp_path / "a.mp4")
    scaler = FrameScaler(96, 64)
    for number, frame in enumerate(good_frames(tmp_path / "a.mp4")):
        planes = scaler.scale(frame, (10.0 * number, 20.0))
        luma = np.array(planes[0]).reshape(64, 96).astype(int)
        changed = np.argwhere(luma != decoded[number, : 96 * 64].reshape(64, 96))
        assert luma[20, 10 * number] == 16
        assert changed.min(axis=0).tolist() >= [20, 10 * number]
        assert (changed.max(axis=0) < [36, 10 * number + 16]).all()


def test_full_range_video_becomes_limited_range(tmp_path):
    frames = np.full((4, 96 * 64 * 3 // 2), 128, np.uint8)
    frames[:, : 96 * 64] = np.array([0, 85, 170, 255], np.uint8)[:, None]
    command = [ffmpeg_program(), "-v", "error", "-f", "rawvideo", "-pix_fmt", "yuvj420p", "-video_size", "96x64"]
    command += ["-color_range", "pc", "-framerate", "20", "-i", "pipe:", "-c:v", "libx264", "-crf", "1"]
    subprocess.run([*command, "-pix_fmt", "yuvj420p", "-color_range", "pc", str(tmp_path / "a.mp4")],
                   input=frames.tobytes(), check=True, timeout=60)  # fmt: skip
    scaler = FrameScaler(32, 32)
    levels = [float(np.array(scaler.scale(frame, None)[0]).mean()) for frame in good_frames(tmp_path / "a.mp4")]
    np.testing.assert_allclose(levels, [16, 89, 162, 235], atol=1.5)
