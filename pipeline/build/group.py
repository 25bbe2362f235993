"""One group of recordings becomes one part: a tar of its episodes, and a record of what is in it.

A part is written aside and renamed; its record comes last, so that a part with a record is finished. The same
group gives the same bytes on every machine and after any number of failed tries.
"""

from __future__ import annotations

import os
import shutil
import uuid
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pipeline.build.engines.tasks import Progress
from pipeline.build.group_reader import GroupReader
from pipeline.build.part import PartRecord, part_path, record_path
from pipeline.episodes.grouping import episode_id
from pipeline.episodes.groups import Group, PlannedRecording
from pipeline.episodes.usable import Usable
from pipeline.recording import MINESTUDIO_CHUNK_FRAMES, Breakage, Recording, Rejection, SourceError
from pipeline.settings import BuildSettings
from pipeline.sources import source_of
from pipeline.sources.masks import RecordingMasks
from pipeline.transcode.episode_writer import EpisodeWriter
from pipeline.transcode.frames import source_frames
from pipeline.transcode.pieces import CannotCopy
from pipeline.transcode.probe import BadVideo
from shards.writer import PartWriter

_REPORT_FRAMES = 50


@dataclass(frozen=True)
class GroupTask:
    """All that a worker needs to build a group.

    Attributes:
        parts: folder for finished parts.
        work: folder for temporary files, on the same disk.
        timeout_seconds: how long an ffmpeg may take no frame.
    """

    group: Group
    settings: BuildSettings
    parts: Path
    work: Path
    timeout_seconds: float

    @property
    def index(self) -> int:
        """The group's number."""
        return self.group.index

    @property
    def name(self) -> str:
        """What the group is called in messages."""
        return f"group {self.group.index}"

    @property
    def num_frames(self) -> int:
        """The expected number of source frames."""
        return self.group.num_frames

    @property
    def place(self) -> Path:
        """The folder for finished parts."""
        return self.parts

    def run(self, progress: Progress) -> None:
        """The group's part is finished; see `build_group`."""
        build_group(self, progress)


def build_group(task: GroupTask, progress: Progress = lambda _: None) -> None:
    """The group's part and its record lie in `task.parts`.

    Raises:
        EncodingFailed: ffmpeg died, hung or could not write.
        OSError: the disk is full, or something else is wrong with it.
    """
    folder = task.work / f"{task.group.index:06d}-{uuid.uuid4().hex[:12]}"
    folder.mkdir(parents=True)
    try:
        known = _Known()
        while True:
            counter = _Counter(task.group.num_frames, progress)
            try:
                with PartWriter(folder / "part.tar") as part:
                    rejections, num_noops = _GroupBuild(task, part, folder, known, counter).run()
                break
            except _EndsEarly as early:
                # Interactions are written with their last frame, which was not reached: begin again, knowing it.
                known.video_ends[early.recording] = early.end
                counter.undo()
            except CannotCopy:
                known.copies = False
                counter.undo()
        record = PartRecord(part.rows, [rejection.to_json() for rejection in rejections], num_noops)
        record.write(folder / "part.json")
        os.replace(folder / "part.tar", part_path(task.parts, task.group.index))
        os.replace(folder / "part.json", record_path(task.parts, task.group.index))
        counter.finish()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@dataclass
class _Known:
    """What earlier tries at a group found out.

    Attributes:
        video_ends: where videos end that end before their logs, by recording.
        copies: whether pieces of video may be taken as they are.
    """

    video_ends: dict[str, Breakage] = field(default_factory=dict)
    copies: bool = True


class _EndsEarly(Exception):
    def __init__(self, recording: str, end: Breakage) -> None:
        super().__init__(recording, end)
        self.recording, self.end = recording, end


class _Counter:
    """Reports progress in steps, and in the end exactly the expected number of frames."""

    def __init__(self, expected: int, progress: Progress) -> None:
        self._expected, self._progress = expected, progress
        self._done = self._reported = 0

    def add(self, num_frames: int = 1) -> None:
        self._done += num_frames
        if self._done - self._reported >= _REPORT_FRAMES and self._done <= self._expected:
            self._progress(self._done - self._reported)
            self._reported = self._done

    def undo(self) -> None:
        self._progress(-self._reported)

    def finish(self) -> None:
        self._progress(self._expected - self._reported)


class _GroupBuild:
    """One try at a group; `known` holds what earlier tries found out."""

    def __init__(self, task: GroupTask, part: PartWriter, folder: Path, known: _Known, counter: _Counter) -> None:
        self._task, self._settings, self._part = task, task.settings, part
        self._folder, self._known, self._counter = folder, known, counter
        self._reader = GroupReader(task.group, task.settings, known.video_ends)
        self._rejections: list[Rejection] = []
        self._num_episodes = self._num_noops = 0

    def run(self) -> tuple[list[Rejection], int]:
        """The episodes are in the part; returns what was left out, and how many frames were dropped as no-ops.

        Raises:
            _EndsEarly: a video ends or breaks before the frame that was counted on.
        """
        writer: EpisodeWriter | None = None
        max_frames: int | None = None
        previous: Usable | None = None
        try:
            for planned in self._task.group.recordings:
                usable, rejections = self._reader.open(planned, previous)
                self._rejections += rejections
                if usable is None:
                    continue
                if writer is not None and not usable.continues:
                    self._finish(writer)
                    writer = None
                if writer is None:
                    writer = self._new_writer(planned)
                    max_frames = self._reader.minestudio_limit(planned)
                self._transcode(writer, usable, max_frames)
                previous = usable
            if writer is not None:
                self._finish(writer)
                writer = None
        finally:
            if writer is not None:
                writer.__exit__(None, None, None)
        return self._rejections, self._num_noops

    def _new_writer(self, planned: PlannedRecording) -> EpisodeWriter:
        name = episode_id([planned.recording], self._settings.compat)
        folder = self._folder / f"episode-{self._num_episodes}"
        self._num_episodes += 1
        return EpisodeWriter(self._part, name, self._settings, folder, self._task.timeout_seconds)

    def _transcode(self, writer: EpisodeWriter, usable: Usable, max_frames: int | None) -> None:
        """The recording's kept frames are in the episode."""
        recording, keep = usable.planned.recording, usable.keep
        log = source_of(recording).log_lines(recording)
        writer.begin_recording(recording, usable.content, keep, self._masks(usable), log, max_frames)
        num_decoded, num_lines, every = 0, usable.content.num_lines, usable.extent.every
        num_before = writer.num_frames
        notes: list[str] = []
        detail, reason = "the video has fewer frames than the log has lines", "lengths_differ"
        try:
            if self._copies(usable):
                num_decoded = self._copy(writer, recording)
            # All frames are asked for: what comes last may tell that an earlier one is missing.
            for frame in source_frames(recording, num_lines, notes, every) if num_decoded < len(keep) else ():
                if num_decoded < len(keep):
                    if keep[num_decoded] and (max_frames is None or writer.num_frames < max_frames):
                        writer.add(num_decoded, frame)
                    self._counter.add()
                num_decoded += 1
                if num_decoded == len(keep) and recording.name in self._known.video_ends:
                    break  # an earlier try went on
        except BadVideo as bad:
            num_decoded, detail, reason = bad.num_good_frames, bad.detail, bad.reason
        except SourceError as error:
            detail, reason = str(error), error.reason
        if num_decoded < len(keep):
            raise _EndsEarly(recording.name, Breakage(num_decoded, reason, detail))
        taken = np.flatnonzero(keep)
        self._num_noops += int((~keep[::every]).sum())  # the frames between are accounted for
        num_added = writer.num_frames - num_before
        if num_added < len(taken):
            detail = f"MineStudio keeps whole chunks of {MINESTUDIO_CHUNK_FRAMES} frames of an episode"
            first, num_left_out = int(taken[num_added]), len(taken) - num_added
            video = str(recording.video)
            self._rejections.append(
                Rejection(recording.name, "minestudio_rule", detail, video, first, num_left_out)
            )
        self._rejections += [
            Rejection(recording.name, "uneven_times", note, str(recording.video), num_frames=0) for note in notes
        ]
        self._rejections += writer.end_recording()

    def _copies(self, usable: Usable) -> bool:
        """Whether the recording's video pieces may be taken as they are: all of them, with all of their frames."""
        planned = usable.planned
        return (
            source_of(planned.recording).stored_as == "pieces"
            and self._settings.copy_pieces
            and self._known.copies
            and bool(usable.keep.all())
            and len(usable.keep) == planned.extent.num_frames
        )

    def _copy(self, writer: EpisodeWriter, recording: Recording) -> int:
        """All of the recording's pieces are in the episode; returns how many frames they have.

        Raises:
            CannotCopy: a piece does not fit, or is missing or damaged: frame by frame, what is before can be used.
        """
        num_frames = 0
        for piece in source_of(recording).pieces(recording):
            if piece.mp4 is None:
                raise CannotCopy("a piece is missing")
            try:
                writer.add_piece(range(num_frames, num_frames + piece.num_frames), piece.mp4)
            except BadVideo as bad:
                raise CannotCopy(str(bad)) from bad
            num_frames += piece.num_frames
            self._counter.add(piece.num_frames)
        return num_frames

    def _masks(self, usable: Usable) -> RecordingMasks | None:
        recording = usable.planned.recording
        try:
            masks = source_of(recording).load_masks(recording)
        except SourceError as error:
            self._rejections.append(
                Rejection(recording.name, "masks_unreadable", str(error), str(recording.masks), num_frames=0)
            )
            return None
        for problem in masks.problems if masks else ():
            detail = f"{problem.num_entries} times: {problem.detail}"
            self._rejections.append(
                Rejection(recording.name, problem.reason, detail, str(recording.masks), problem.first_frame, 0)
            )
        num_lines = usable.content.num_lines
        outside = [frame for frame in (masks.frames if masks else ()) if not 0 <= frame < num_lines]
        if outside:
            detail = f"{len(outside)} frames have masks that are not among the recording's {num_lines}"
            self._rejections.append(
                Rejection(recording.name, "mask_unused", detail, str(recording.masks), min(outside), 0)
            )
        return masks

    def _finish(self, writer: EpisodeWriter) -> None:
        with writer:
            if writer.finish():
                return
            least = self._settings.min_frames
            detail = f"the episode has {writer.num_frames} frames that do something, expected {least} or more"
            if self._settings.noops == "keep":
                detail = f"the episode has {writer.num_frames} frames, expected {least} or more"
            self._rejections += [
                Rejection(row.name, "too_short", detail, num_frames=row.num_frames) for row in writer.recordings
            ]
