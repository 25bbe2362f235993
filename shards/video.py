"""Decoding the frames of a clip to planar YUV.

A frame of H x W pixels is H * 3/2 rows of W bytes: the luma plane, then both chroma planes (I420).
"""

import io

import av
import av.error
import numpy as np
from av.video.frame import VideoFrame
from av.video.plane import VideoPlane
from numpy.typing import NDArray


def decode_yuv(data: bytes, start: int, stop: int, out: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
    """Frames [start, stop) of a clip, u8 (stop - start, height * 3 // 2, width), written into `out` if given.

    Decoding begins at the last keyframe at or before `start`.

    Raises:
        ValueError: if the clip does not decode, or has no such frames, or `out` has another shape.
    """
    try:
        with av.open(io.BytesIO(data), "r", format="mp4") as container:
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1
            height, width = stream.codec_context.height, stream.codec_context.width
            shape = (stop - start, height * 3 // 2, width)
            if out is None:
                out = np.empty(shape, np.uint8)
            elif out.shape != shape:
                raise ValueError(f"video: frames of {shape}, expected {out.shape}")
            planes = _planes(out, height, width)
            # A frame's number is its time in frame durations: the writer sets both.
            if not stream.average_rate or not stream.time_base:
                raise ValueError("video: no frame rate")
            ticks_per_frame = int(1 / (stream.average_rate * stream.time_base))
            first_tick = stream.start_time or 0
            if start:
                container.seek(first_tick + start * ticks_per_frame, stream=stream)
            expected = None
            for frame in container.decode(stream):
                if frame.pts is None:
                    raise ValueError("video: a frame without a time")
                number = round((frame.pts - first_tick) / ticks_per_frame)
                if expected is not None and number != expected:
                    raise ValueError(f"video: frame {number} follows frame {expected - 1}")
                expected = number + 1
                if number >= start:
                    _copy(frame, planes, number - start)
                if expected >= stop:
                    return out
            raise ValueError(f"video: ends before frame {stop - 1}")
    except (av.error.FFmpegError, IndexError) as error:
        raise ValueError(f"video: {error}") from error


def _planes(frames: NDArray[np.uint8], height: int, width: int) -> list[NDArray[np.void]]:
    """The planes of frames u8 (n, height * 3 // 2, width), each (n, rows) whose items are whole rows."""
    assert frames.flags.c_contiguous, "frames lie one after the other"
    luma_bytes, chroma_bytes = height * width, (height // 2) * (width // 2)
    parts = np.split(frames.reshape(len(frames), -1), [luma_bytes, luma_bytes + chroma_bytes], axis=1)
    return [part.view(f"V{columns}") for part, columns in zip(parts, (width, width // 2, width // 2), strict=True)]


def _copy(frame: VideoFrame, planes: list[NDArray[np.void]], number: int) -> None:
    """Frame `number` of the planes is the decoded frame, without the decoder's row padding."""
    if frame.format.name not in ("yuv420p", "yuvj420p"):
        raise ValueError(f"video: pixel format {frame.format.name}, expected yuv420p")
    size = (planes[0].shape[1], planes[0].itemsize)
    if (frame.height, frame.width) != size:
        raise ValueError(f"video: a frame of {frame.height} x {frame.width}, expected {size}")
    for plane, rows in zip(frame.planes, planes, strict=True):
        rows[number] = plane_rows(plane)


def plane_rows(plane: VideoPlane) -> NDArray[np.void]:
    """A plane's pixels (height,), each row one item, over the plane's own memory and without its padding.

    One item a row (a void type as wide as the row) makes a copy out of the decoder's padded rows cost a third of
    what it costs byte by byte.
    """
    return np.ndarray((plane.height,), f"V{plane.width}", memoryview(plane), 0, (plane.line_size,))
