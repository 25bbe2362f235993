"""What a source video holds: its header, and its frames up to the first bad one.

Frames come in the decoder's output order, one thread, so that frame i is the i-th picture of the file whatever its
time stamps say. The first frame that the decoder had to patch up ends the video: after it, neither the picture nor
the count of frames can be trusted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

import av
import av.error
from av.video.frame import VideoFrame

from pipeline.recording import VideoHeader

VIDEO_REASONS: Mapping[str, str] = {
    "video_missing": "the video is not there",
    "video_unreadable": "the video cannot be opened, such as an mp4 whose end is missing",
    "no_video_stream": "the file holds no video",
    "frame_too_large": "the frames are larger than any recorder's",
    "no_frames": "the video has no frame",
    "bad_frame": "a frame does not decode; what is before it is used",
    "frames_per_second": "the video does not have 20 frames per second",
}
"""Reason codes about videos, beside those of `pipeline.recording.REASONS`."""

MAX_FRAME_PIXELS = 4096 * 2304
"""Larger frames are refused before anything is allocated for them."""

MAX_REORDERED = 16
"""H.264 allows no more frames between a frame's decoding and its display."""


class BadVideo(Exception):
    """A video cannot be used, or not from some frame on.

    Attributes:
        reason: a short code for rejected.jsonl.
        detail: what was seen, for people.
        num_good_frames: frames before the first bad one.
    """

    def __init__(self, reason: str, detail: str, num_good_frames: int = 0) -> None:
        super().__init__(reason, detail, num_good_frames)
        self.reason, self.detail, self.num_good_frames = reason, detail, num_good_frames

    def __str__(self) -> str:
        return f"{self.detail} ({self.num_good_frames} good frames)"


def read_header(path: Path) -> VideoHeader:
    """What the video's container claims.

    Raises:
        BadVideo: `video_missing`, `video_unreadable` (no container, a truncated mp4 without its index),
            `no_video_stream` or `frame_too_large`.
    """
    _check_is_file(path)
    try:
        with av.open(_address(path)) as container:
            if not container.streams.video:
                raise BadVideo("no_video_stream", "the file has no video stream")
            stream = container.streams.video[0]
            codec = stream.codec_context
            if codec.width * codec.height > MAX_FRAME_PIXELS:
                raise BadVideo("frame_too_large", f"frames of {codec.width}x{codec.height} pixels")
            return VideoHeader(
                codec.width, codec.height, stream.frames, float(stream.average_rate or 0), str(codec.name)
            )
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise BadVideo("video_unreadable", _words(error)) from error


def good_frames(video: Path | BinaryIO) -> Iterator[VideoFrame]:
    """The video's frames in decode order, one at a time, until it ends.

    A yielded frame may be one that the decoder still refers to: do not write into it.

    Args:
        video: its path, or its bytes as an open file.

    Raises:
        BadVideo: at the first frame that is damaged (`bad_frame`), or as `read_header` does. Up to `MAX_REORDERED`
            frames that came before may turn out to be damaged with it: its `num_good_frames` counts.
    """
    if isinstance(video, Path):
        _check_is_file(video)
    num_good = 0
    try:
        with av.open(_address(video) if isinstance(video, Path) else video, mode="r") as container:
            if not container.streams.video:
                raise BadVideo("no_video_stream", "the file has no video stream")
            stream = container.streams.video[0]
            stream.thread_type = "NONE"
            stream.codec_context.thread_count = 1
            order = _DecodeOrder()
            for packet in container.demux(stream):
                order.sent(packet.pts)
                for frame in packet.decode():
                    contaminated = order.received(frame.pts, damaged=frame.is_corrupt)
                    if frame.is_corrupt:
                        raise BadVideo("bad_frame", "damaged picture data", max(0, num_good - contaminated))
                    if frame.width * frame.height > MAX_FRAME_PIXELS:
                        raise BadVideo("frame_too_large", f"{frame.width}x{frame.height} pixels", num_good)
                    yield frame
                    num_good += 1
    except (av.error.FFmpegError, OSError, ValueError) as error:
        reason = "bad_frame" if num_good else "video_unreadable"
        raise BadVideo(reason, _words(error), num_good) from error


class _DecodeOrder:
    """Tells which frames before a damaged one were predicted from it.

    A frame that others are predicted from is decoded before the B-frames that are shown before it:

        shown    B2  B3  P1         decoded    P1  B2  B3

    The decoder marks P1 as damaged, but not B2 and B3, which come out first.
    """

    def __init__(self) -> None:
        self._num_sent = 0
        self._waiting: dict[int, int] = {}  # time -> number in decode order
        self._shown: deque[int] = deque(maxlen=MAX_REORDERED)

    def sent(self, pts: int | None) -> None:
        if pts is not None:
            self._waiting[pts] = self._num_sent
        self._num_sent += 1

    def received(self, pts: int | None, *, damaged: bool) -> int:
        """How many frames before this one, if it is damaged, were decoded after it."""
        number = None if pts is None else self._waiting.pop(pts, None)
        if not damaged:
            self._shown.append(-1 if number is None else number)
            return 0
        if number is None or -1 in self._shown:
            return MAX_REORDERED  # without times nobody knows
        num_after = 0
        while self._shown and self._shown.pop() > number:
            num_after += 1
        return num_after


def count_good_frames(video: Path | BinaryIO) -> tuple[int, BadVideo | None]:
    """How many frames decode before the first bad one, and what is wrong with that one (None: nothing)."""
    num_frames = 0
    try:
        for _ in good_frames(video):
            num_frames += 1
    except BadVideo as bad:
        return bad.num_good_frames, bad
    return num_frames, None


def _check_is_file(path: Path) -> None:
    if not path.is_file():
        raise BadVideo("video_missing", "no such file")


def _address(path: Path) -> str:
    """The path as ffmpeg's libraries take it, whatever colons or dashes are in it."""
    return f"file:{path.absolute()}"


def _words(error: Exception) -> str:
    """The error without its number and without the path, which stands elsewhere."""
    words = getattr(error, "strerror", None) or str(error)
    return " ".join(str(words).split())
