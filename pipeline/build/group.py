"""One group of recordings becomes one part: a tar of its episodes, and a record of what is in it.

A part is written aside and renamed; its record comes last, so that a part with a record is finished. The same
group gives the same bytes on every machine and after any number of failed tries.
"""

import contextlib
import os
import shutil
import uuid
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from pipeline.build.engines.tasks import FrameCounter, Progress, Task
from pipeline.build.folder import PartRecord, part_path, record_path
from pipeline.build.group_reader import GroupReader, Usable
from pipeline.episodes.grouping import episode_id
from pipeline.episodes.groups import Group
from pipeline.recording import MINESTUDIO_CHUNK_FRAMES, Breakage, Recording
from pipeline.rejection import Rejection, SourceError
from pipeline.settings import BuildSettings
from pipeline.sources import source_of
from pipeline.sources.masks import RecordingMasks
from pipeline.transcode.decode import source_frames
from pipeline.transcode.episode_writer import EpisodeWriter
from pipeline.transcode.pieces import CannotCopy
from pipeline.transcode.probe import BadVideo
from shards.writer import PartWriter


def group_task(group: Group, settings: BuildSettings, parts: Path, work: Path) -> Task:
    """A task that builds a group; arguments as `build_group`."""
    run = partial(build_group, group, settings, parts, work)
    return Task(group.index, f"group {group.index}", group.num_frames, parts, run)


def build_group(group: Group, settings: BuildSettings, parts: Path, work: Path, progress: Progress) -> None:
    """The group's part and its record lie in `parts`.

    Args:
        parts: folder for finished parts.
        work: folder for temporary files, on the same disk.

    Raises:
        EncodingFailed: ffmpeg died, hung or could not write.
        OSError: the disk is full, or something else is wrong with it.
    """
    folder = work / f"{group.index:06d}-{uuid.uuid4().hex[:12]}"
    folder.mkdir(parents=True)
    counter = FrameCounter(group.num_frames, progress)
    reader, copies = GroupReader(group, settings, {}), settings.copy_pieces
    try:
        while True:
            try:
                with PartWriter(folder / "part.tar") as part:
                    attempt = _Attempt(reader, part, folder, copies, counter)
                    with contextlib.closing(attempt):
                        attempt.run()
                break
            except _EndsEarly as early:
                # Interactions are written with their last frame, which was not reached: begin again, knowing it.
                reader.video_ends[early.recording] = early.end
            except CannotCopy:
                copies = False
            counter.undo()
        rejections = [asdict(rejection) for rejection in attempt.rejections]
        record = PartRecord(part.rows, rejections, attempt.num_noops)
        record.write(folder / "part.json")
        os.replace(folder / "part.tar", part_path(parts, group.index))
        os.replace(folder / "part.json", record_path(parts, group.index))
        counter.finish()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class _EndsEarly(Exception):
    def __init__(self, recording: str, end: Breakage) -> None:
        super().__init__(recording, end)
        self.recording, self.end = recording, end


@dataclass
class _Attempt:
    """One try at a group."""

    reader: GroupReader
    part: PartWriter
    folder: Path
    copies: bool  # pieces of video may be taken as they are
    counter: FrameCounter
    rejections: list[Rejection] = field(default_factory=list)
    num_noops: int = 0
    _writer: EpisodeWriter | None = None
    _num_episodes: int = 0

    def run(self) -> None:
        """The group's episodes are in the part; `_EndsEarly` where a video ends before the frame counted on."""
        settings = self.reader.settings
        previous: Usable | None = None
        for planned in self.reader.group.recordings:
            usable, rejections = self.reader.open(planned, previous)
            self.rejections += rejections
            if usable is None:
                continue
            if not usable.continues:
                self._finish()
            if self._writer is None:
                name = episode_id([planned.recording], settings.compat)
                folder = self.folder / f"episode-{self._num_episodes}"
                max_frames = self.reader.minestudio_limit(planned)
                self._writer = EpisodeWriter(self.part, name, settings, folder, max_frames)
                self._num_episodes += 1
            self._transcode(self._writer, usable)
            previous = usable
        self._finish()

    def close(self) -> None:
        """No ffmpeg runs any more."""
        if self._writer is not None:
            self._writer.close()
        self._writer = None

    def _transcode(self, writer: EpisodeWriter, usable: Usable) -> None:
        """The recording's kept frames are in the episode."""
        recording, keep, content = usable.planned.recording, usable.keep, usable.content
        video, every, num_before = str(recording.video), usable.extent.every, writer.num_frames
        writer.begin_recording(recording, content, keep, self._masks(usable))
        num_decoded = 0
        notes: list[str] = []
        detail, reason = "the video has fewer frames than the log has lines", "lengths_differ"
        try:
            if self._copies(usable):
                num_decoded = self._copy(writer, recording)
            # All frames are asked for: what comes last may tell that an earlier one is missing.
            frames = source_frames(recording, content.num_lines, notes, every) if num_decoded < len(keep) else ()
            for frame in frames:
                if num_decoded < len(keep):
                    if keep[num_decoded] and not writer.is_full:
                        writer.add(num_decoded, frame)
                    self.counter.add()
                num_decoded += 1
                if num_decoded == len(keep) and recording.name in self.reader.video_ends:
                    break  # an earlier try went on
        except BadVideo as bad:
            num_decoded, detail, reason = bad.num_good_frames, bad.detail, bad.reason
        except SourceError as error:
            detail, reason = str(error), error.reason
        first = usable.planned.extent.first
        if first is not None and first.tick and num_decoded > content.num_lines:
            # As many lines may be missing before the first one, which the count of frames would hide.
            detail = f"the log begins at tick {first.tick}, and the video has more frames than it has lines"
            num_decoded, reason = 0, "counter_jumps"
        if num_decoded < len(keep):
            raise _EndsEarly(recording.name, Breakage(num_decoded, reason, detail))
        self.num_noops += int((~keep[::every]).sum())  # the frames between are accounted for
        not_added = np.flatnonzero(keep)[writer.num_frames - num_before :]
        if len(not_added):
            detail = f"MineStudio keeps whole chunks of {MINESTUDIO_CHUNK_FRAMES} frames of an episode"
            self._leave_out(recording, "minestudio_rule", detail, video, int(not_added[0]), len(not_added))
        for note in notes:
            self._leave_out(recording, "uneven_times", note, video)
        for reason, detail, first_frame in writer.end_recording():
            self._leave_out(recording, reason, detail, str(recording.masks), first_frame)

    def _leave_out(
        self, recording: Recording, reason: str, detail: str, path: str, first_frame: int = 0, num_frames: int = 0
    ) -> None:
        self.rejections.append(Rejection(recording.name, reason, detail, path, first_frame, num_frames))

    def _copies(self, usable: Usable) -> bool:
        """Whether the recording's video pieces may be taken as they are: all of them, with all of their frames."""
        planned = usable.planned
        return (
            source_of(planned.recording).stored_as == "pieces"
            and self.copies
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
            writer.add_piece(range(num_frames, num_frames + piece.num_frames), piece.mp4)
            num_frames += piece.num_frames
            self.counter.add(piece.num_frames)
        return num_frames

    def _masks(self, usable: Usable) -> RecordingMasks | None:
        recording, num_lines = usable.planned.recording, usable.content.num_lines
        path = str(recording.masks)
        try:
            masks = source_of(recording).load_masks(recording)
        except SourceError as error:
            self._leave_out(recording, "masks_unreadable", str(error), path)
            return None
        if masks is None:
            return None
        for problem in masks.problems:
            detail = f"{problem.num_entries} times: {problem.detail}"
            self._leave_out(recording, problem.reason, detail, path, problem.first_frame)
        outside = [frame for frame in masks.frames if not 0 <= frame < num_lines]
        if outside:
            detail = f"{len(outside)} frames have masks that are not among the recording's {num_lines}"
            self._leave_out(recording, "mask_unused", detail, path, min(outside))
        return masks

    def _finish(self) -> None:
        """The episode is in the part, or left out for being too short; there is none under way."""
        writer, least = self._writer, self.reader.settings.min_frames
        if writer is None:
            return
        if not writer.finish():
            which = "" if self.reader.settings.noops == "keep" else " that do something"
            detail = f"the episode has {writer.num_frames} frames{which}, expected {least} or more"
            self.rejections += [
                Rejection(row.name, "too_short", detail, num_frames=row.num_frames) for row in writer.recordings
            ]
        self.close()
