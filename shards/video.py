"""Decoding the frames of a clip to planar YUV.

A frame of H x W pixels is H * 3/2 rows of W bytes: the luma plane, then both chroma planes (I420).
"""

import io

import av
import av.error
import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray


def decode_yuv(data: bytes, start: int, stop: int, out: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
    """Frames [start, stop) of a clip, u8, shape (stop - start, height * 3 // 2, width).

    They are written into `out` where it is given.

    Decoding begins at the last keyframe at or before `start`.

    Raises:
        ValueError: if the clip does not decode, or has no such frames, or `out` has another shape.
    """
    try:
        with av.open(io.BytesIO(data), mode="r", format="mp4") as container:
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1
            height, width = stream.codec_context.height, stream.codec_context.width
            shape = (stop - start, height * 3 // 2, width)
            if out is None:
                out = np.empty(shape, np.uint8)
            elif out.shape != shape:
                raise ValueError(f"video: frames of {shape}, expected {out.shape}")
            # A frame's number is its time in frame durations: the writer sets both.
            if stream.average_rate is None or stream.time_base is None:
                raise ValueError("video: no frame rate")
            ticks_per_frame = 1 / (stream.average_rate * stream.time_base)
            first_tick = stream.start_time or 0
            if start:
                container.seek(first_tick + int(start * ticks_per_frame), stream=stream)
            expected = None
            for frame in container.decode(stream):
                assert frame.pts is not None, "the mp4 muxer gives every frame a time"
                number = round((frame.pts - first_tick) / ticks_per_frame)
                if expected is not None and number != expected:
                    raise ValueError(f"video: frame {number} follows frame {expected - 1}")
                expected = number + 1
                if number >= start:
                    _copy_planes(frame, out[number - start])
                if expected >= stop:
                    return out
            raise ValueError(f"video: ends before frame {stop - 1}")
    except (av.error.FFmpegError, IndexError) as error:
        raise ValueError(f"video: {error}") from error


def _copy_planes(frame: VideoFrame, target: NDArray[np.uint8]) -> None:
    """`target` (height * 3 // 2, width) holds the frame's planes without the decoder's row padding."""
    if frame.format.name not in ("yuv420p", "yuvj420p"):
        raise ValueError(f"video: pixel format {frame.format.name}, expected yuv420p")
    height, width = frame.height, frame.width
    flat = target.reshape(-1)
    at = 0
    for plane, (rows, columns) in zip(
        frame.planes, ((height, width), (height // 2, width // 2), (height // 2, width // 2)), strict=True
    ):
        pixels = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)
        flat[at : at + rows * columns].reshape(rows, columns)[:] = pixels[:rows, :columns]
        at += rows * columns
