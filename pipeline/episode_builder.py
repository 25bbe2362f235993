"""One group of recordings becomes one part: a tar of its episodes, and a record of what is in it.

A part is written aside and renamed; its record comes last, so that a part with a record is finished. The same
group gives the same bytes on every machine and after any number of failed tries.
"""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.compat import kept_frames, video_objection
from pipeline.episode_writer import EpisodeWriter
from pipeline.episodes import episode_id, group_episodes
from pipeline.frames import source_frames
from pipeline.masks import RecordingMasks
from pipeline.pieces import CannotCopy
from pipeline.plan import Group, PlannedRecording
from pipeline.probe import MAX_REORDERED, BadVideo
from pipeline.recording import (
    EPISODE_START,
    CarryState,
    Extent,
    Recording,
    RecordingContent,
    Rejection,
    SourceError,
    pair_frames,
)
from pipeline.settings import BuildSettings
from pipeline.sources import load_log, load_masks, video_chunks
from shards.manifest import EpisodeRow
from shards.writer import PartWriter

Progress = Callable[[int], None]
"""Called with a number of source frames that are done since the last call; negative where some are done again."""

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


@dataclass(frozen=True)
class PartRecord:
    """What a finished part holds; offsets count from its own start."""

    episodes: Sequence[EpisodeRow]
    rejections: Sequence[dict[str, Any]]

    @classmethod
    def read(cls, path: Path) -> PartRecord:
        record = json.loads(path.read_bytes())
        return cls([EpisodeRow.from_record(row) for row in record["episodes"]], record["rejections"])

    def write(self, path: Path) -> None:
        record = {"episodes": [row.to_record() for row in self.episodes], "rejections": list(self.rejections)}
        with open(path, "w", encoding="utf-8") as file:
            json.dump(record, file, ensure_ascii=False, separators=(",", ":"))
            file.flush()
            os.fsync(file.fileno())


def part_path(parts: Path, group: int) -> Path:
    return parts / f"{group:06d}.tar"


def record_path(parts: Path, group: int) -> Path:
    return parts / f"{group:06d}.json"


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
                    rejections = _GroupBuild(task, part, folder, known, counter).run()
                break
            except _EndsEarly as early:
                # Interactions are written with their last frame, which was not reached: begin again, knowing it.
                known.endings[early.ending.name] = early.ending
                counter.undo()
            except CannotCopy:
                known.copies = False
                counter.undo()
        PartRecord(part.rows, [rejection.to_json() for rejection in rejections]).write(folder / "part.json")
        os.replace(folder / "part.tar", part_path(task.parts, task.group.index))
        os.replace(folder / "part.json", record_path(task.parts, task.group.index))
        counter.finish()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True)
class _Ending:
    """A recording's video ends before its log, or is damaged: `num_frames` of it can be used."""

    name: str
    num_frames: int
    reason: str
    detail: str


@dataclass
class _Known:
    """What earlier tries at a group found out.

    Attributes:
        endings: by the name of the recording.
        copies: whether pieces of video may be taken as they are.
    """

    endings: dict[str, _Ending] = field(default_factory=dict)
    copies: bool = True


class _EndsEarly(Exception):
    def __init__(self, ending: _Ending) -> None:
        super().__init__(ending)
        self.ending = ending


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


@dataclass(frozen=True)
class _Previous:
    """The last recording that frames were taken from."""

    planned: PlannedRecording
    extent: Extent
    state: CarryState


@dataclass(frozen=True)
class _Usable:
    """A recording whose frames will be taken: `keep` says which of its first ones."""

    planned: PlannedRecording
    content: RecordingContent
    keep: np.ndarray[Any, np.dtype[np.bool_]]
    continues: bool


class _GroupBuild:
    """One try at a group; `known` holds what earlier tries found out."""

    def __init__(self, task: GroupTask, part: PartWriter, folder: Path, known: _Known, counter: _Counter) -> None:
        self._task, self._settings, self._part = task, task.settings, part
        self._folder, self._known, self._counter = folder, known, counter
        self._rejections: list[Rejection] = []
        self._num_episodes = 0

    def run(self) -> list[Rejection]:
        """The episodes are in the part; returns what was left out.

        Raises:
            _EndsEarly: a video ends or breaks before the frame that was counted on.
        """
        writer: EpisodeWriter | None = None
        max_frames: int | None = None
        previous: _Previous | None = None
        try:
            for planned in self._task.group.recordings:
                usable = self._open(planned, previous)
                if usable is None:
                    continue
                if writer is not None and not usable.continues:
                    self._finish(writer)
                    writer = None
                if writer is None:
                    writer = self._new_writer(planned)
                    max_frames = self._minestudio_limit(planned)
                self._transcode(writer, usable, max_frames)
                previous = self._as_previous(usable)
            if writer is not None:
                self._finish(writer)
                writer = None
        finally:
            if writer is not None:
                writer.__exit__(None, None, None)
        return self._rejections

    def _open(self, planned: PlannedRecording, previous: _Previous | None, *, note: bool = True) -> _Usable | None:
        """The recording's actions as far as they can be used, None if not at all; `note`: say what is left out."""
        recording = planned.recording
        rejections: list[Rejection] = []
        usable: _Usable | None = None
        try:
            continues = previous is not None and self._continues(previous, planned)
            state = previous.state if previous is not None and continues else EPISODE_START
            content = load_log(recording, state, self._settings.read_options())
        except SourceError as error:
            rejections = [
                Rejection(recording.name, error.reason, str(error), str(recording.actions), 0, planned.num_frames)
            ]
        else:
            num_frames, rejections = self._usable_frames(planned, content)
            if num_frames:
                keep = content.keep[:num_frames]
                if self._settings.noops == "keep":
                    keep = np.ones(num_frames, bool)
                usable = _Usable(planned, content, keep, continues)
        if note:
            self._rejections += rejections
        return usable

    def _usable_frames(self, planned: PlannedRecording, content: RecordingContent) -> tuple[int, list[Rejection]]:
        """How many frames can be used, with an account of the others."""
        name, log = planned.recording.name, str(planned.recording.actions)
        video = str(planned.recording.video)
        num_frames, rejections = content.num_frames, []
        if content.breakage is not None:
            broken = content.breakage
            num_left_out = max(0, content.num_lines - broken.first_frame)
            rejections.append(Rejection(name, broken.reason, broken.detail, log, broken.first_frame, num_left_out))
        num_in_header = planned.header.num_frames_from_header if planned.header else 0
        if num_in_header:
            pairing = pair_frames(num_in_header, content.num_lines)
            detail = f"the video has {num_in_header} frames, the log {content.num_lines} lines"
            if pairing.num_unpaired_frames:
                first = content.num_lines
                rejections.append(
                    Rejection(name, "lengths_differ", detail, video, first, pairing.num_unpaired_frames)
                )
            elif pairing.num_unpaired_lines and num_in_header < num_frames and name not in self._known.endings:
                rejections.append(
                    Rejection(name, "lengths_differ", detail, video, num_in_header, num_frames - num_in_header)
                )
                num_frames = num_in_header
        ending = self._known.endings.get(name)
        if ending is not None and ending.num_frames < num_frames:
            num_left_out = num_frames - ending.num_frames
            rejections.append(
                Rejection(name, ending.reason, ending.detail, video, ending.num_frames, num_left_out)
            )
            num_frames = ending.num_frames
        if self._settings.compat == "minestudio":
            return self._all_or_nothing(planned, content, num_frames, rejections)
        return num_frames, rejections

    def _all_or_nothing(
        self, planned: PlannedRecording, content: RecordingContent, num_frames: int, rejections: list[Rejection]
    ) -> tuple[int, list[Rejection]]:
        """MineStudio's rules: a recording with anything wrong is left out whole."""
        header, name = planned.header, planned.recording.name
        objection = None
        if header is not None and planned.recording.source == "contractor":
            objection = video_objection(
                header.num_frames_from_header,
                content.num_lines,
                header.frames_per_second,
                header.width_px,
                header.height_px,
            )
        if objection is not None:
            video = str(planned.recording.video)
            return 0, [Rejection(name, "minestudio_rule", objection, video, 0, content.num_lines)]
        if rejections:
            return 0, [replace(rejections[0], first_frame=0, num_frames=content.num_lines)]
        return num_frames, []

    def _continues(self, previous: _Previous, planned: PlannedRecording) -> bool:
        """Whether the recording belongs to the same episode, now that it is known how far the last one reaches."""
        pair = [(previous.planned.recording, previous.extent), (planned.recording, planned.extent)]
        return len(group_episodes(pair, self._settings.max_hole_seconds, self._settings.compat)) == 1

    def _as_previous(self, usable: _Usable) -> _Previous:
        extent, num_frames = usable.planned.extent, len(usable.keep)
        if extent.num_frames is not None and num_frames < extent.num_frames:
            # What the log says of its end is not where the frames end.
            extent = Extent(num_frames, extent.first, None)
        return _Previous(usable.planned, extent, usable.content.state)

    def _new_writer(self, planned: PlannedRecording) -> EpisodeWriter:
        name = episode_id([planned.recording], self._settings.compat)
        folder = self._folder / f"episode-{self._num_episodes}"
        self._num_episodes += 1
        return EpisodeWriter(self._part, name, self._settings, folder, self._task.timeout_seconds)

    def _transcode(self, writer: EpisodeWriter, usable: _Usable, max_frames: int | None) -> None:
        """The recording's kept frames are in the episode."""
        recording, keep = usable.planned.recording, usable.keep
        writer.begin_recording(recording, usable.content, keep, self._masks(usable), max_frames)
        num_decoded = 0
        detail, reason = "the video has fewer frames than the log has lines", "lengths_differ"
        try:
            if self._copies(usable):
                num_decoded = self._copy(writer, recording)
            for frame in source_frames(recording) if num_decoded < len(keep) else ():
                if num_decoded < len(keep):
                    if keep[num_decoded] and (max_frames is None or writer.num_frames < max_frames):
                        writer.add(num_decoded, frame)
                    self._counter.add()
                num_decoded += 1
                # A few frames more tell whether the last ones were predicted from a damaged one.
                if num_decoded == len(keep) + MAX_REORDERED:
                    break
        except BadVideo as bad:
            num_decoded, detail, reason = bad.num_good_frames, bad.detail, bad.reason
        except SourceError as error:
            detail, reason = str(error), error.reason
        if num_decoded < len(keep):
            raise _EndsEarly(_Ending(recording.name, num_decoded, reason, detail))
        self._rejections += writer.bad_masks()

    def _copies(self, usable: _Usable) -> bool:
        """Whether the recording's video pieces may be taken as they are: all of them, with all of their frames."""
        planned = usable.planned
        return (
            planned.recording.source == "lmdb"
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
        for chunk in video_chunks(recording):
            if chunk.mp4 is None:
                raise CannotCopy("a piece is missing")
            try:
                writer.add_piece(range(num_frames, num_frames + chunk.num_frames), chunk.mp4)
            except BadVideo as bad:
                raise CannotCopy(str(bad)) from bad
            num_frames += chunk.num_frames
            self._counter.add(chunk.num_frames)
        return num_frames

    def _masks(self, usable: _Usable) -> RecordingMasks | None:
        recording = usable.planned.recording
        try:
            masks = load_masks(recording)
        except SourceError as error:
            self._rejections.append(
                Rejection(recording.name, error.reason, str(error), str(recording.masks), num_frames=0)
            )
            return None
        for problem in masks.problems if masks else ():
            detail = f"{problem.num_entries} times: {problem.detail}"
            self._rejections.append(
                Rejection(recording.name, problem.reason, detail, str(recording.masks), problem.first_frame, 0)
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

    def _minestudio_limit(self, first: PlannedRecording) -> int | None:
        """How many frames MineStudio keeps of the episode that starts with this recording; None: all."""
        if self._settings.compat != "minestudio":
            return None
        num_frames = 0
        previous: _Previous | None = None
        recordings = list(self._task.group.recordings)
        for planned in recordings[recordings.index(first) :]:
            usable = self._open(planned, previous, note=False)
            if usable is None:
                continue
            if previous is not None and not usable.continues:
                break
            num_frames += int(usable.keep.sum())
            previous = self._as_previous(usable)
        return kept_frames(num_frames)
