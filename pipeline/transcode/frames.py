"""The pictures of a recording, wherever they are stored."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator

from av.video.frame import VideoFrame

from pipeline.recording import Recording
from pipeline.sources import source_of
from pipeline.sources.source import VideoPiece
from pipeline.transcode.decode import good_frames
from pipeline.transcode.probe import BadVideo


def source_frames(recording: Recording, num_lines: int, notes: list[str], every: int = 1) -> Iterator[VideoFrame]:
    """The recording's frames in order, up to the first that cannot be used.

    Args:
        recording: whose.
        num_lines: how many lines its log has.
        notes: gets a sentence about what is odd and does no harm.
        every: how many times 20 frames per second it has.

    Raises:
        BadVideo: at the first frame that is damaged or missing.
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
