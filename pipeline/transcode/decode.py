"""The frames of a video, and of a recording, in order, up to the first one that cannot be trusted.

Each packet gets a number before it goes to the decoder, and its frame brings the number back, so that no coded
frame is lost without a word. Frames come in the decoder's output order, which for H.264 is that of the stream, not
of its time stamps. The first frame that is damaged, patched up by the decoder, lost or missing ends the video:
after it, neither the pictures nor their count can be trusted.
"""

import contextlib
import io
import struct
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import av
import av.error
import av.logging
from av.buffer import Buffer
from av.codec.context import Flags
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame

from pipeline.recording import Recording
from pipeline.sources import source_of
from pipeline.sources.source import VideoPiece
from pipeline.transcode.account import MAX_REORDERED, FrameAccount
from pipeline.transcode.bitstream import DamagedPacket, PacketCheck
from pipeline.transcode.probe import (
    MAX_FRAME_PIXELS,
    BadVideo,
    as_bad_video,
    count_frames,
    file_address,
    video_stream,
)

# Errors end decoding instead of being patched up. With `strict`, an H.264 stream that does not tell how far its
# pictures are out of order is held back as far as they can be; libavcodec's guess drops pictures where it is too
# short.
_DECODER = {"err_detect": "crccheck+explode", "strict": "strict"}

_UPRIGHT = (1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)  # a display matrix that changes nothing


def good_frames(
    video: Path | BinaryIO, num_lines: int | None = None, notes: list[str] | None = None, every: int = 1
) -> Iterator[VideoFrame]:
    """The video's frames in display order, one at a time, until it ends; a few more than `num_lines` at most.

    A yielded frame may be one that the decoder still refers to: do not write into it.

    Args:
        video: its path, or its bytes as an open file.
        num_lines: how many lines the log has; None without one. It decides whether frames that an edit list hides
            from players count, and whether an uneven time between two frames is a lost frame.
        notes: gets a sentence about what is odd and does no harm.
        every: how many times 20 frames per second the video should have.

    Raises:
        BadVideo: at the first frame that cannot be used, or as `read_header` does. Frames that were yielded may
            turn out to be bad as well, with those after them: its `num_good_frames` counts.
    """
    decoding: _Decoding | None = None
    try:
        with _open(file_address(video) if isinstance(video, Path) else video, num_lines) as container:
            decoding = _Decoding(container, every)
            yield from decoding.frames(num_lines)
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise as_bad_video(error, decoding.account.num_sure() if decoding else 0) from error
    if every > 1 and not decoding.is_whole:
        detail = f"more than {num_lines} frames for as many lines: the log has not the video's rate"
        raise BadVideo("lengths_differ", detail)
    note = decoding.account.check_gaps(num_lines, is_whole=decoding.is_whole)
    if note is not None and notes is not None:
        notes.append(note)


@contextlib.contextmanager
def _open(source: str | BinaryIO, num_lines: int | None) -> Iterator[InputContainer]:
    """The container, with its coded frames in their order or with what an edit list shows of them."""
    with av.open(source, mode="r") as container:
        counts = count_frames(container, video_stream(container))
        num_frames = counts.for_lines(num_lines)
        if num_frames is None:
            detail = f"{counts.coded} coded frames, of which players show {counts.shown}, for {num_lines} lines"
            raise BadVideo("edit_list", detail)
        if num_frames == counts.shown and (counts.in_order or num_frames < counts.coded):
            yield container
            return
    if not isinstance(source, str):
        source.seek(0)
    with av.open(source, mode="r", options={"ignore_editlist": "1"}) as container:
        yield container


class _Decoding:
    """One pass through a video.

    Attributes:
        account: of its frames.
        is_whole: whether the pass went on to the video's end.
    """

    def __init__(self, container: InputContainer, every: int) -> None:
        self._container, self._stream = container, video_stream(container)
        self._context = context = self._stream.codec_context
        self._stream.thread_type = "NONE"
        context.thread_count = 1
        context.options = dict(_DECODER)
        context.flags |= Flags.unaligned  # else cropping at the left edge is rounded
        self._check = PacketCheck(context.name, bytes(context.extradata or b""))
        self.account = FrameAccount(float(self._stream.time_base or 0), every)
        self.is_whole = True

    def frames(self, num_lines: int | None) -> Iterator[VideoFrame]:
        account = self.account
        for packet in self._container.demux(self._stream):
            if packet.size == 0 and packet.dts is None:
                break  # the end; the decoder is emptied below
            number = account.num_sent
            if number == 0 and self._container.format.name != "mpegts":  # which begins at any time
                account.begin_at(packet.dts, packet.pts)
            problem = self._send(packet)
            frames, problem = _decode(packet) if problem is None else ((), problem)
            if problem is not None:
                yield from self._frames_before(number)
                raise BadVideo("bad_frame", f"coded frame {number}: {problem}", account.num_sure())
            for frame in frames:
                yield self._received(frame)
            if num_lines is not None and len(account.shown) >= num_lines + MAX_REORDERED:
                # The last of these only tell whether those before them were predicted from a damaged one.
                self.is_whole = False
                break
        for frame in self._context.decode(None):
            yield self._received(frame)
        if account.waiting:
            detail = f"{len(account.waiting)} of {account.num_sent} coded frames give no picture"
            raise BadVideo("lost_frames", detail, account.num_sure())

    def _send(self, packet: "Packet[Any]") -> str | None:
        """The packet has its number in the place of its time; returns what is wrong with it."""
        data, order, problem = bytes(packet), None, None
        try:
            order = self._check.look(data)
        except DamagedPacket as damaged:
            problem = str(damaged)
        if packet.is_corrupt or not data:
            problem = f"a packet of {len(data)} bytes, which the container calls incomplete"
        # A VP8 packet may hold a picture that is only there for others to be predicted from.
        is_picture = self._context.name != "vp8" or not data or bool(data[0] & 0x10)
        number = self.account.num_sent
        self.account.send(packet.pts, order, is_shown=is_picture and not packet.is_discard)
        packet.pts = number
        return problem

    def _received(self, frame: VideoFrame) -> VideoFrame:
        """The frame, which is the next one that is shown."""
        account, number = self.account, frame.pts
        if number is None or number not in account.waiting:
            raise BadVideo("bad_frame", "a picture that belongs to no packet", account.num_sure())
        if frame.width * frame.height > MAX_FRAME_PIXELS:
            raise BadVideo("frame_too_large", f"{frame.width}x{frame.height} pixels", len(account.shown))
        if frame.rotation or (not account.shown and _is_turned(frame)):
            turned = f"turn them by {frame.rotation} degrees" if frame.rotation else "mirror them"
            raise BadVideo("not_upright", f"the pictures are not upright: players {turned}", len(account.shown))
        account.receive(number)
        if frame.is_corrupt:
            raise BadVideo("bad_frame", "damaged picture data", account.num_before(number))
        return frame

    def _frames_before(self, damaged: int) -> Iterator[VideoFrame]:
        """Frames that the decoder holds and that are shown before the damaged one, as far as that is certain."""
        is_certain = True
        with contextlib.suppress(av.error.FFmpegError):
            for frame in self._context.decode(None):
                number = frame.pts
                if number is None or number not in self.account.waiting:
                    continue
                is_certain = is_certain and number < damaged and self.account.is_next(number)
                if is_certain:
                    yield self._received(frame)
                elif number < damaged:
                    self.account.waiting.discard(number)


def _decode(packet: "Packet[Any]") -> tuple[Sequence[VideoFrame], str | None]:
    """The frames that the decoder gives after this packet, and what is wrong with its picture.

    That a picture was patched up is only told in libavcodec's log.
    """
    level = av.logging.get_level()
    av.logging.set_level(av.logging.INFO)
    try:
        with av.logging.Capture() as messages:
            frames: Sequence[VideoFrame] = packet.decode()
    except av.error.FFmpegError as error:
        said = [message for rank, _, message in messages if rank <= av.logging.ERROR]
        return (), _one_line(said[0] if said else str(error.strerror or error))
    finally:
        av.logging.set_level(level)
    for rank, _, message in messages:
        if rank <= av.logging.ERROR or "conceal" in message:
            return frames, _one_line(message)
    return frames, None


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _is_turned(frame: VideoFrame) -> bool:
    """Whether players turn or mirror the frame."""
    matrix = frame.side_data.get("DISPLAYMATRIX")
    return isinstance(matrix, Buffer) and struct.unpack("=9i", bytes(matrix)[:36]) != _UPRIGHT


def source_frames(recording: Recording, num_lines: int, notes: list[str], every: int = 1) -> Iterator[VideoFrame]:
    """The recording's frames in order, however its source stores them; arguments and errors as `good_frames`.

    Raises:
        SourceError: the source cannot be read.
    """
    source = source_of(recording)
    match source.stored_as:
        case "file":
            return good_frames(recording.video, num_lines, notes, every)
        case "pieces":
            return _frames_of_pieces(source.pieces(recording))
        case "frames":
            return source.frames(recording)


def _frames_of_pieces(pieces: Iterable[VideoPiece]) -> Iterator[VideoFrame]:
    num_good = 0
    for piece in pieces:
        if piece.mp4 is None:
            raise BadVideo("video_missing", f"the piece from frame {piece.start_frame} on is missing", num_good)
        num_frames = 0
        try:
            for frame in good_frames(io.BytesIO(piece.mp4), piece.num_frames):
                if num_frames < piece.num_frames:
                    yield frame
                num_frames += 1
        except BadVideo as bad:
            raise BadVideo(bad.reason, bad.detail, piece.start_frame + bad.num_good_frames) from bad
        num_good = piece.start_frame + min(num_frames, piece.num_frames)
        if num_frames < piece.num_frames:
            detail = f"the piece from frame {piece.start_frame} on has {num_frames} frames, not {piece.num_frames}"
            raise BadVideo("lengths_differ", detail, num_good)
