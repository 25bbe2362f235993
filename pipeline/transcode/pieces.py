"""Clips out of mp4 pieces that are encoded already, without encoding them again.

    pieces of 32 frames: |IDR ........|IDR ........|IDR ........|IDR ........|
    clip of 128 frames:  |IDR ........ IDR ........ IDR ........ IDR ........|

The packets stay as they are; only their times are set, so that frame i of a clip is at i / 20 s.
"""

import io
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import av
import av.error
from av.packet import Packet

from pipeline.settings import BuildSettings
from pipeline.transcode.decode import good_frames
from pipeline.transcode.probe import BadVideo
from shards.action_space import ACTION_SPACE

_TICKS_PER_FRAME = 512
_TIME_BASE = Fraction(1, ACTION_SPACE.frames_per_second * _TICKS_PER_FRAME)


class CannotCopy(Exception):
    """A piece does not fit the dataset as it is: it has to be decoded and encoded again."""


class PieceJoiner:
    """Collects an episode's pieces and hands out clips, as `ClipEncoder` does with frames."""

    def __init__(self, settings: BuildSettings) -> None:
        self._settings = settings
        self._pieces: list[bytes] = []
        self._num_frames = 0
        self._clips: list[bytes] = []

    def add(self, piece: bytes, num_frames: int) -> None:
        """The piece's frames are the episode's next ones.

        Raises:
            CannotCopy: it does not decode to that many frames, its size, codec or key frames are not those of the
                dataset, or it crosses a clip's end.
        """
        try:
            num_good = sum(1 for _ in good_frames(io.BytesIO(piece), num_frames))
        except BadVideo as bad:
            raise CannotCopy(str(bad)) from bad
        if num_good != num_frames:
            raise CannotCopy(f"a piece has {num_good} frames, expected {num_frames}")
        if self._num_frames + num_frames > self._settings.clip_frames:
            raise CannotCopy(f"{num_frames} frames cross a clip's end")
        self._pieces.append(piece)
        self._num_frames += num_frames
        if self._num_frames == self._settings.clip_frames:
            self._join()

    def take_finished(self) -> Iterator[bytes]:
        """The clips that are complete and were not taken yet, in order."""
        while self._clips:
            yield self._clips.pop(0)

    def finish(self) -> Iterator[bytes]:
        """The clips not taken yet, to the last one."""
        if self._pieces:
            self._join()
        yield from self.take_finished()

    def _join(self) -> None:
        self._clips.append(join_pieces(self._pieces, self._settings))
        self._pieces, self._num_frames = [], 0


def join_pieces(pieces: list[bytes], settings: BuildSettings) -> bytes:
    """One mp4 that shows the pieces' frames one after the other, if they fit each other and the dataset.

    Raises:
        CannotCopy: the pieces do not fit each other or the dataset.
    """
    out = io.BytesIO()
    wanted = ("h264", "yuv420p", (settings.frame_width, settings.frame_height))
    start, stream, configuration = 0, None, b""
    try:
        with av.open(out, "w", format="mp4", options={"fflags": "+bitexact"}) as target:
            for piece in pieces:
                with av.open(io.BytesIO(piece), mode="r") as source:
                    video = source.streams.video[0]
                    codec = video.codec_context
                    found = (codec.name, codec.pix_fmt, (codec.width, codec.height))
                    if found != wanted:
                        raise CannotCopy(f"{codec.name} {codec.pix_fmt} {found[2]}, expected {wanted}")
                    if stream is None:
                        configuration = bytes(codec.extradata or b"")
                        stream = target.add_stream_from_template(video)
                        stream.time_base = _TIME_BASE
                    if not configuration or bytes(codec.extradata or b"") != configuration:
                        raise CannotCopy("the pieces have different decoder configurations, or none")
                    packets = [packet for packet in source.demux(video) if packet.size]
                    if any(packet.is_discard for packet in packets):
                        raise CannotCopy("an edit list hides frames")
                    _check_keyframes(packets, settings.keyframe_interval)
                    _set_times(packets, start)
                    for packet in packets:
                        packet.stream = stream
                        target.mux(packet)
                    start += len(packets)
    except av.error.FFmpegError as error:
        raise CannotCopy(str(error)) from error
    return out.getvalue()


def _check_keyframes(packets: list["Packet[Any]"], keyframe_interval: int) -> None:
    gap = keyframe_interval
    for packet in packets:
        gap = 1 if packet.is_keyframe else gap + 1
        if gap > keyframe_interval:
            raise CannotCopy(f"more than {keyframe_interval} frames from one key frame to the next")


def _set_times(packets: list["Packet[Any]"], start: int) -> None:
    """The packets' frames are shown one after the other from frame `start` on, and decoded in the given order."""
    times = [packet.pts for packet in packets]
    if None in times or len(set(times)) < len(times):
        raise CannotCopy("packets without times of their own")
    place = {time: index for index, time in enumerate(sorted(times))}  # type: ignore[type-var]
    # A frame is shown after it was decoded: the greatest lead of decoding order over display order.
    delay = max(index - place[time] for index, time in enumerate(times))
    for index, (packet, time) in enumerate(zip(packets, times, strict=True)):
        packet.time_base = _TIME_BASE
        packet.pts = (start + place[time]) * _TICKS_PER_FRAME
        packet.dts = (start + index - delay) * _TICKS_PER_FRAME
        packet.duration = _TICKS_PER_FRAME
