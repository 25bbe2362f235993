"""The pictures of a recording, wherever they are stored."""

from __future__ import annotations

import io
from collections.abc import Iterator

from av.video.frame import VideoFrame

from pipeline.recording import Recording
from pipeline.sources import video_chunks
from pipeline.transcode.probe import BadVideo, good_frames


def source_frames(recording: Recording) -> Iterator[VideoFrame]:
    """The recording's frames in decode order, up to the first bad one.

    Raises:
        BadVideo: at the first frame that is damaged or missing.
        SourceError: an LMDB environment cannot be read.
    """
    return _chunked_frames(recording) if recording.source == "lmdb" else good_frames(recording.video)


def _chunked_frames(recording: Recording) -> Iterator[VideoFrame]:
    num_good = 0
    for chunk in video_chunks(recording):
        if chunk.mp4 is None:
            raise BadVideo("video_missing", f"the piece from frame {chunk.start_frame} on is missing", num_good)
        num_frames = 0
        try:
            for frame in good_frames(io.BytesIO(chunk.mp4)):
                yield frame
                num_frames += 1
                if num_frames == chunk.num_frames:
                    break
        except BadVideo as bad:
            raise BadVideo(bad.reason, bad.detail, chunk.start_frame + bad.num_good_frames) from bad
        num_good = chunk.start_frame + num_frames
        if num_frames != chunk.num_frames:
            detail = f"the piece from frame {chunk.start_frame} on has {num_frames} frames, not {chunk.num_frames}"
            raise BadVideo("lengths_differ", detail, num_good)
