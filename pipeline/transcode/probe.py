"""What a source video's container claims, before anything of it is decoded."""

from itertools import pairwise
from pathlib import Path

import av
import av.error
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from pipeline.recording import FrameCounts, VideoHeader
from shards.action_space import ACTION_SPACE

MAX_RATE_ERROR = 0.5
"""Frames per second: recorders that could not keep up say 19.9."""

MAX_FRAME_PIXELS = 4096 * 2304
"""Larger frames are refused before anything is allocated for them."""


class BadVideo(Exception):
    """A video cannot be used, or not from some frame on: `num_good_frames` come before the first bad one.

    Attributes:
        reason: a key of `REASONS`.
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
            `no_video_stream`, `several_videos` or `frame_too_large`.
    """
    try:
        with av.open(file_address(path)) as container:
            stream = video_stream(container)
            codec = stream.codec_context
            if codec.width * codec.height > MAX_FRAME_PIXELS:
                raise BadVideo("frame_too_large", f"frames of {codec.width}x{codec.height} pixels")
            counts = count_frames(container, stream)
            rate = float(stream.average_rate or 0)
            is_odd = abs(rate - ACTION_SPACE.frames_per_second) > MAX_RATE_ERROR
            usual = _usual_rate(container, stream) if is_odd else rate
            return VideoHeader((codec.width, codec.height), counts, rate, usual)
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise as_bad_video(error) from error


def video_stream(container: InputContainer) -> VideoStream:
    """The container's only video, else `no_video_stream` or `several_videos`; covers of music are none.

    Raises:
        BadVideo: `no_video_stream` or `several_videos`.
    """
    streams = [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]
    if not streams:
        raise BadVideo("no_video_stream", "the file has no video stream")
    if len(streams) > 1:
        raise BadVideo("several_videos", f"the file has {len(streams)} video streams, expected 1")
    return streams[0]


def count_frames(container: InputContainer, stream: VideoStream) -> FrameCounts:
    """How many frames the container lists, by its index."""
    coded, index = stream.frames, stream.index_entries
    if not coded or not _lists_all(container, stream):
        return FrameCounts(coded, coded)
    places = [entry.pos for entry in index]
    return FrameCounts(coded, sum(not entry.is_discard for entry in index), places == sorted(places))


def _lists_all(container: InputContainer, stream: VideoStream) -> bool:
    """Whether the container's index has an entry for each frame, of which an edit list may hide some."""
    return "mp4" in container.format.name.split(",") and len(stream.index_entries) > 0


def _usual_rate(container: InputContainer, stream: VideoStream) -> float:
    """Frames per second by the median time from a frame to the next; on average where that is not known."""
    times = [entry.timestamp for entry in stream.index_entries] if _lists_all(container, stream) else []
    intervals = sorted(later - earlier for earlier, later in pairwise(times))
    usual = intervals[len(intervals) // 2] if intervals else 0
    if usual <= 0 or not stream.time_base:
        return float(stream.average_rate or 0)
    return float(1 / (usual * stream.time_base))


def file_address(path: Path) -> str:
    """The file as ffmpeg's libraries take it, whatever colons or dashes are in its path; else `video_missing`."""
    if not path.is_file():
        raise BadVideo("video_missing", "no such file")
    return f"file:{path.absolute()}"


def as_bad_video(error: Exception, num_good_frames: int = 0) -> BadVideo:
    """The error of a library or the system in words, without its number and the path, which stands elsewhere."""
    words = str(getattr(error, "strerror", None) or error)
    reason = "bad_frame" if num_good_frames else "video_unreadable"
    return BadVideo(reason, " ".join(words.split()), num_good_frames)
