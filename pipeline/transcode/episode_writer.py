r"""One episode on its way into a part: frames go to the encoder, their facts wait for the clip that comes back.

    frame ---> FrameScaler ---> ClipEncoder ---> mp4 \
      \--> buttons, camera, masks, ... ---> arrays ---> Clip ---> PartWriter
    log line ---> EpisodeLog ---> events, lines /

The encoder runs about a clip behind. Nothing but those clips' facts is held in memory, however long the episode.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from pipeline.recording import Recording, RecordingContent, Rejection
from pipeline.settings import BuildSettings
from pipeline.sources.masks import Candidate, MaskError, RecordingMasks, resized_runs
from pipeline.transcode.clip_facts import ClipFacts
from pipeline.transcode.encoding import ClipEncoder
from pipeline.transcode.episode_log import EpisodeLog
from pipeline.transcode.pieces import PieceJoiner
from pipeline.transcode.scaling import FrameScaler
from shards.clip import Clip, ClipInfo, Interaction
from shards.manifest import RecordingRow
from shards.writer import PartWriter

_MASKS_HELD = 64  # a mask often stays the same for some frames


@dataclass
class _Current:
    """The recording whose frames are being added."""

    recording: Recording
    content: RecordingContent
    masks: RecordingMasks | None
    kept_before: NDArray[np.int64]  # (n + 1,) episode frame of the first kept one from i on, of n source frames
    interactions: dict[int, int] = field(default_factory=dict)  # index in the recording -> index in the episode
    bad_masks: list[tuple[int, str]] = field(default_factory=list)
    cursor_px: NDArray[np.float64] | None = None
    frame_size_px: tuple[int, int] | None = None


class EpisodeWriter:
    """Adds an episode's frames to a part, recording by recording. Use it as a context manager."""

    def __init__(
        self, part: PartWriter, episode_id: str, settings: BuildSettings, folder: Path, timeout_seconds: float
    ) -> None:
        """Nothing is written yet.

        Args:
            part: where the clips go.
            episode_id: of the episode.
            settings: of the build.
            folder: for temporary files; does not exist yet.
            timeout_seconds: how long an ffmpeg may hang.
        """
        self.episode_id, self.num_frames = episode_id, 0
        self._part, self._settings = part, settings
        self._scaler = FrameScaler(settings.frame_width, settings.frame_height)
        self._folder, self._timeout_seconds = folder, timeout_seconds
        self._encoder: ClipEncoder | None = None
        self._joiner: PieceJoiner | None = None
        self._recordings: list[RecordingRow] = []
        self._interactions: list[Interaction] = []
        self._log = EpisodeLog(keep_lines=settings.keep_log)
        self._open = ClipFacts(0)
        self._full: deque[ClipFacts] = deque()
        self._num_clips = 0
        self._current: _Current | None = None
        self._runs: dict[str, NDArray[np.uint32]] = {}

    def begin_recording(
        self,
        recording: Recording,
        content: RecordingContent,
        keep: NDArray[np.bool_],
        masks: RecordingMasks | None,
        log: Iterator[bytes],
        max_frames: int | None = None,
    ) -> None:
        """Frames that are added from now on are this recording's, until `end_recording`.

        Args:
            recording: which.
            content: its actions.
            keep: bool, which of its first `len(keep)` frames will be added.
            masks: None without any.
            log: its lines, as they lie in the source.
            max_frames: the episode ends at so many frames, whatever comes after.
        """
        assert self._current is None, "end_recording comes first"
        kept_before = self.num_frames + np.concatenate(([0], np.cumsum(keep, dtype=np.int64)))
        if max_frames is not None:
            kept_before = kept_before[kept_before <= max_frames]
        self._current = _Current(recording, content, masks, kept_before)
        self._recordings.append(RecordingRow(recording.name, recording.source, content.num_lines, len(keep), 0))
        self._runs.clear()
        self._log.begin(recording.name, log)

    def add(self, source_frame: int, frame: VideoFrame) -> None:
        """The frame of this number in the current recording is the episode's next one.

        Raises:
            EncodingFailed: ffmpeg died, hung or could not write.
            OSError: the part cannot be written.
            SourceError: the log is not what it was.
        """
        current = self._current
        assert current is not None, "begin_recording comes first"
        assert self._joiner is None, "an episode is copied or encoded, not both"
        if self._encoder is None:
            self._encoder = ClipEncoder(
                self._settings,
                self._folder,
                where=f"episode {self.episode_id}",
                timeout_seconds=self._timeout_seconds,
            )
        if self._close_full_clip():
            self._write(self._encoder.take_finished())
        self._encoder.write(self._scaler.scale(frame, self._cursor(current, source_frame, frame)))
        self._note(current, source_frame)

    def add_piece(self, source_frames: range, piece: bytes) -> None:
        """These frames of the current recording are the episode's next ones, encoded as they are.

        Raises:
            CannotCopy: the piece does not fit; the episode has to be written again, by `add`.
            BadVideo: the piece does not decode.
        """
        current = self._current
        assert current is not None, "begin_recording comes first"
        assert self._encoder is None, "an episode is copied or encoded, not both"
        if self._joiner is None:
            self._joiner = PieceJoiner(self._settings)
        if self._close_full_clip():
            self._write(self._joiner.take_finished())
        self._joiner.add(piece, len(source_frames))
        for source_frame in source_frames:
            self._note(current, source_frame)

    def end_recording(self) -> list[Rejection]:
        """All of the current recording's frames are in the episode; an account of masks that do not decode.

        Raises:
            SourceError: the log is not what it was.
        """
        current, row = self._current, self._recordings[-1]
        assert current is not None, "begin_recording comes first"
        before = sum(earlier.num_frames for earlier in self._recordings[:-1])
        self._recordings[-1] = replace(
            row, num_frames=self.num_frames - before, ends_bare=self._log.end(row.num_log_lines)
        )
        self._current = None
        if not current.bad_masks:
            return []
        frame, detail = current.bad_masks[0]
        return [
            Rejection(
                current.recording.name,
                "mask_entry",
                f"{len(current.bad_masks)} masks do not decode, the first: {detail}",
                str(current.recording.masks),
                first_frame=frame,
                num_frames=0,
            )
        ]

    def finish(self) -> bool:
        """The episode is in the part, or, if it has fewer than `min_frames` frames, nothing of it is: False.

        Raises:
            EncodingFailed: ffmpeg died, hung or could not write.
            OSError: the part cannot be written.
        """
        if self._open.num_frames:
            self._open.num_recordings = len(self._recordings)
            self._open.add_log(self._log.rest())
            self._close_clip()
        if self.num_frames < self._settings.min_frames:
            return False  # a clip is at least that long, so that none was written
        source = self._encoder or self._joiner
        assert source is not None, "min_frames is 1 at least"
        self._write(source.finish())
        assert not self._full
        self._part.end_episode(self.episode_id, self._recordings, self._interactions)
        return True

    @property
    def recordings(self) -> list[RecordingRow]:
        """The episode's recordings so far; one that has not ended without its number of frames."""
        return self._recordings

    def _close_full_clip(self) -> bool:
        """Whether the clip had all of its frames; a full one stays open until a frame comes that is not its own.

        The lines after the episode's last frame belong to its last clip.
        """
        is_full = self._open.num_frames == self._settings.clip_frames
        if is_full:
            self._close_clip()
        return is_full

    def _close_clip(self) -> None:
        self._full.append(self._open)
        self._open = ClipFacts(self.num_frames)

    def _cursor(self, current: _Current, source_frame: int, frame: VideoFrame) -> tuple[float, float] | None:
        if current.content.cursor_window_px is None or not current.content.gui[source_frame]:
            return None
        if current.frame_size_px != (frame.width, frame.height):
            current.frame_size_px = frame.width, frame.height
            current.cursor_px = current.content.cursor_px(frame.width, frame.height)
        assert current.cursor_px is not None
        x, y = current.cursor_px[source_frame]
        return float(x), float(y)

    def _note(self, current: _Current, source_frame: int) -> None:
        clip = self._open
        # Noted now: when a clip comes back from the encoder depends on its speed, and the bytes must not.
        clip.num_recordings = len(self._recordings)
        clip.add_frame(len(self._recordings) - 1, current.content, source_frame, self._log.take(source_frame))
        for candidate in current.masks.candidates(source_frame) if current.masks else ():
            assert current.masks is not None
            try:
                runs = self._runs_of(candidate, current.masks)
            except MaskError as error:
                current.bad_masks.append((source_frame, str(error)))
                continue
            interaction = self._interaction(current, candidate.interaction)
            clip.add_candidate(interaction, _fraction(candidate, current.masks), runs)
        self.num_frames += 1

    def _runs_of(self, candidate: Candidate, masks: RecordingMasks) -> NDArray[np.uint32]:
        runs = self._runs.get(candidate.rle)
        if runs is None:
            height, width = self._settings.frame_height, self._settings.frame_width
            runs = resized_runs(candidate.rle, masks.height, masks.width, height, width)
            if len(self._runs) >= _MASKS_HELD:
                self._runs.pop(next(iter(self._runs)))
            self._runs[candidate.rle] = runs
        return runs

    def _interaction(self, current: _Current, index: int) -> int:
        """The index in the episode; an interaction is listed when its first candidate is."""
        known = current.interactions.get(index)
        if known is not None:
            return known
        assert current.masks is not None
        source = current.masks.interactions[index]
        num_frames = len(current.kept_before) - 1
        first, stop = max(0, min(source.start, num_frames)), max(0, min(source.stop, num_frames))
        start_frame, stop_frame = int(current.kept_before[first]), int(current.kept_before[max(first, stop)])
        cut_frames = max(0, source.stop - num_frames)
        if stop_frame <= start_frame:  # a range that does not hold the frame of its own mask
            start_frame, stop_frame, cut_frames = self.num_frames, self.num_frames + 1, 0
        current.interactions[index] = len(self._interactions)
        self._interactions.append(Interaction(source.type, source.event, start_frame, stop_frame, cut_frames))
        return current.interactions[index]

    def _write(self, videos: Iterable[bytes]) -> None:
        for video in videos:
            pending = self._full.popleft()
            arrays = pending.arrays()
            used = sorted(set(arrays.candidate_interaction.tolist()))
            counted = set(arrays.event_name.tolist())
            info = ClipInfo(
                episode_id=self.episode_id,
                clip=self._num_clips,
                start_frame=pending.start_frame,
                num_frames=arrays.num_frames,
                recordings=[row.name for row in self._recordings[: pending.num_recordings]],
                interactions={index: self._interactions[index] for index in used},
                events={index: name for name, index in self._log.event_names.items() if index in counted},
            )
            log = pending.log() if self._settings.keep_log else None
            self._part.add_clip(Clip(video, arrays, info, log))
            self._num_clips += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._encoder is not None:
            self._encoder.__exit__(exception_type, exception, traceback)


def _fraction(candidate: Candidate, masks: RecordingMasks) -> tuple[float, float]:
    """The point as fractions of the frame; (NaN, NaN) without one."""
    if candidate.point is None:
        return float("nan"), float("nan")
    return candidate.point[0] / masks.height, candidate.point[1] / masks.width
