r"""One episode on its way into a part: frames go to the encoder, their facts wait for the clip that comes back.

    frame ---> FrameScaler ---> ClipEncoder ---> mp4 \
      \--> buttons, camera, masks, ... ---> arrays ---> Clip ---> PartWriter
    log line ---> EpisodeLog ---> events, lines /

The encoder runs about a clip behind. Nothing but those clips' facts is held in memory, however long the episode.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from pipeline.recording import Recording, RecordingContent
from pipeline.settings import BuildSettings
from pipeline.sources.masks import Candidate, MaskError, RecordingMasks, resized_runs
from pipeline.transcode.clip_facts import ClipFacts, FrameFacts
from pipeline.transcode.encoding import ClipEncoder
from pipeline.transcode.episode_log import EpisodeLog
from pipeline.transcode.pieces import PieceJoiner
from pipeline.transcode.scaling import FrameScaler
from shards.clip import Clip, ClipInfo, Interaction
from shards.manifest import RecordingRow
from shards.writer import PartWriter


@dataclass
class _Current:
    """The recording whose frames are being added."""

    content: RecordingContent
    masks: RecordingMasks | None
    kept_before: NDArray[np.int64]  # (n + 1,) episode frame of the first kept one from i on, of n source frames
    interactions: dict[int, int] = field(default_factory=dict)  # index in the recording -> index in the episode
    bad_masks: list[tuple[int, str]] = field(default_factory=list)


class EpisodeWriter:
    """Adds an episode's frames to a part, recording by recording.

    Attributes:
        num_frames: so far.
        recordings: so far; one that has not ended without its number of frames.
    """

    def __init__(
        self,
        part: PartWriter,
        episode_id: str,
        settings: BuildSettings,
        folder: Path,
        max_frames: int | None,
    ) -> None:
        """Nothing is written yet.

        Args:
            part: where the clips go.
            folder: for temporary files; does not exist yet.
            max_frames: the episode ends at so many frames, whatever comes after; None: with its last one.
        """
        self.episode_id, self.num_frames = episode_id, 0
        self.recordings: list[RecordingRow] = []
        self._part, self._settings, self._max_frames = part, settings, max_frames
        self._scaler = FrameScaler(settings.frame_width, settings.frame_height)
        self._folder = folder
        self._encoder: ClipEncoder | None = None
        self._joiner: PieceJoiner | None = None
        self._interactions: list[Interaction] = []
        self._log = EpisodeLog()
        self._open = ClipFacts(0)
        self._full: deque[ClipFacts] = deque()
        self._num_clips = 0
        self._current: _Current | None = None

    @property
    def is_full(self) -> bool:
        """Whether the episode has all the frames that it may have."""
        return self.num_frames == self._max_frames

    def begin_recording(
        self,
        recording: Recording,
        content: RecordingContent,
        keep: NDArray[np.bool_],
        masks: RecordingMasks | None,
    ) -> None:
        """Frames that are added from now on are this recording's, until `end_recording`.

        Args:
            keep: which of its first `len(keep)` frames will be added, as far as the episode is not full.
            masks: None without any.
        """
        assert self._current is None, "end_recording comes first"
        kept_before = self.num_frames + np.concatenate(([0], np.cumsum(keep, dtype=np.int64)))
        if self._max_frames is not None:
            kept_before = kept_before[kept_before <= self._max_frames]
        self._current = _Current(content, masks, kept_before)
        self.recordings.append(RecordingRow(recording.name, recording.source, content.num_lines, len(keep), 0))
        self._log.begin(recording)

    def add(self, source_frame: int, frame: VideoFrame) -> None:
        """The frame of this number in the current recording is the episode's next one.

        Raises:
            EncodingFailed: ffmpeg died, hung or could not write.
            OSError: the part cannot be written.
            SourceError: the log is not what it was.
        """
        assert self._current is not None, "begin_recording comes first"
        assert self._joiner is None, "an episode is copied or encoded, not both"
        if self._encoder is None:
            self._encoder = ClipEncoder(self._settings, self._folder, where=f"episode {self.episode_id}")
        self._write_full_clips(self._encoder)
        cursor = self._current.content.cursor_at(source_frame, frame.width, frame.height)
        self._encoder.write(self._scaler.scale(frame, cursor))
        self._note(self._current, source_frame)

    def add_piece(self, source_frames: range, piece: bytes) -> None:
        """These frames of the current recording are the episode's next ones, encoded as they are.

        Raises:
            CannotCopy: the piece does not fit; the episode has to be written again, by `add`.
        """
        assert self._current is not None, "begin_recording comes first"
        assert self._encoder is None, "an episode is copied or encoded, not both"
        if self._joiner is None:
            self._joiner = PieceJoiner(self._settings)
        self._write_full_clips(self._joiner)
        self._joiner.add(piece, len(source_frames))
        for source_frame in source_frames:
            self._note(self._current, source_frame)

    def end_recording(self) -> list[tuple[str, str, int]]:
        """All of the current recording's frames are in the episode.

        Returns:
            What was left out of them: a key of `REASONS`, a detail and the first frame.

        Raises:
            SourceError: the log is not what it was.
        """
        current, row = self._current, self.recordings[-1]
        assert current is not None, "begin_recording comes first"
        before = sum(earlier.num_frames for earlier in self.recordings[:-1])
        self.recordings[-1] = replace(
            row, num_frames=self.num_frames - before, ends_bare=self._log.end(row.num_log_lines)
        )
        self._current = None
        if not current.bad_masks:
            return []
        frame, detail = current.bad_masks[0]
        return [("mask_entry", f"{len(current.bad_masks)} masks do not decode, the first: {detail}", frame)]

    def finish(self) -> bool:
        """The episode is in the part, or, if it has fewer than `min_frames` frames, nothing of it is: False.

        Raises:
            EncodingFailed: ffmpeg died, hung or could not write.
            OSError: the part cannot be written.
        """
        if self._open.frames:
            self._open.num_recordings = len(self.recordings)
            last, rest = self._open.frames[-1].log, self._log.rest()
            last.lines += rest.lines
            last.events += rest.events
            self._full.append(self._open)
        if self.num_frames < self._settings.min_frames:
            return False  # a clip is at least that long, so that none was written
        source = self._encoder or self._joiner
        assert source is not None, "min_frames is 1 at least"
        self._write(source.finish())
        assert not self._full
        self._part.end_episode(self.episode_id, self.recordings, self._interactions)
        return True

    def close(self) -> None:
        """No ffmpeg runs any more."""
        if self._encoder is not None:
            self._encoder.close()

    def _write_full_clips(self, source: ClipEncoder | PieceJoiner) -> None:
        """A clip that has all of its frames stays open until a frame comes that is not its own.

        The lines after the episode's last frame belong to its last clip.
        """
        if len(self._open.frames) == self._settings.clip_frames:
            self._full.append(self._open)
            self._open = ClipFacts(self.num_frames)
            self._write(source.take_finished())

    def _note(self, current: _Current, source_frame: int) -> None:
        masks, log = current.masks, self._log.take(source_frame)
        # Noted now: when a clip comes back from the encoder depends on its speed, and the bytes must not.
        self._open.num_recordings = len(self.recordings)
        facts = FrameFacts(current.content, len(self.recordings) - 1, source_frame, log, len(log.lines) - 1)
        self._open.frames.append(facts)
        if masks is not None:
            size = self._settings.frame_height, self._settings.frame_width
            for candidate in masks.frames.get(source_frame, ()):
                try:
                    runs = resized_runs(candidate.rle, masks.height, masks.width, *size)
                except MaskError as error:
                    current.bad_masks.append((source_frame, str(error)))
                    continue
                interaction = self._interaction(current, candidate, masks)
                facts.candidates.append((interaction, _fraction(candidate, masks), runs))
        self.num_frames += 1

    def _interaction(self, current: _Current, candidate: Candidate, masks: RecordingMasks) -> int:
        """The index in the episode; an interaction is listed when its first candidate is."""
        known = current.interactions.get(candidate.interaction)
        if known is not None:
            return known
        source = masks.interactions[candidate.interaction]
        num_frames = len(current.kept_before) - 1
        first, stop = max(0, min(source.start, num_frames)), max(0, min(source.stop, num_frames))
        start_frame, stop_frame = int(current.kept_before[first]), int(current.kept_before[max(first, stop)])
        cut_frames = max(0, source.stop - num_frames)
        if stop_frame <= start_frame:  # a range that does not hold the frame of its own mask
            start_frame, stop_frame, cut_frames = self.num_frames, self.num_frames + 1, 0
        self._interactions.append(Interaction(source.type, source.event, start_frame, stop_frame, cut_frames))
        index = current.interactions[candidate.interaction] = len(self._interactions) - 1
        return index

    def _write(self, videos: Iterable[bytes]) -> None:
        for video in videos:
            facts = self._full.popleft()
            arrays = facts.arrays()
            used = sorted(set(arrays.candidate_interaction.tolist()))
            counted = set(arrays.event_name.tolist())
            info = ClipInfo(
                episode_id=self.episode_id,
                clip=self._num_clips,
                start_frame=facts.start_frame,
                num_frames=arrays.num_frames,
                recordings=[row.name for row in self.recordings[: facts.num_recordings]],
                interactions={index: self._interactions[index] for index in used},
                events={index: name for name, index in self._log.event_names.items() if index in counted},
            )
            lines = (line for frame in facts.frames for line in frame.log.lines)
            log = b"".join(lines) if self._settings.keep_log else None
            self._part.add_clip(Clip(video, arrays, info, log))
            self._num_clips += 1


def _fraction(candidate: Candidate, masks: RecordingMasks) -> tuple[float, float]:
    """The point as fractions of the frame; (NaN, NaN) without one."""
    if candidate.point is None:
        return float("nan"), float("nan")
    return candidate.point[0] / masks.height, candidate.point[1] / masks.width
