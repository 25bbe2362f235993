"""Opening a dataset: its manifest as arrays, its clips by byte range, each checked."""

import difflib
import hashlib
import json
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from shards.clip import CORE_MEMBERS, Clip, ClipArrays, Interaction, checksum, unpack_log
from shards.errors import DamagedClip, DatasetError, StorageError
from shards.manifest import (
    CLIPS_FILE,
    EPISODES_FILE,
    INFO_FILE,
    REJECTED_FILE,
    CandidateRun,
    ClipRow,
    DatasetInfo,
    EpisodeRow,
    EventRow,
    shard_name,
)
from shards.no_dataset import why_no_dataset
from shards.storage import Storage, open_storage


@dataclass(frozen=True)
class EpisodeTable:
    """The light columns of episodes.parquet, an entry an episode, in the order of the shards.

    Attributes:
        start_byte, stop_byte: the episode's range in its shard.
        first_clip: its first row in clips.parquet.
    """

    ids: list[str]
    shard: NDArray[np.int32]
    num_frames: NDArray[np.int32]
    num_clips: NDArray[np.int32]
    start_byte: NDArray[np.int64]
    stop_byte: NDArray[np.int64]
    first_clip: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class LogLine:
    """A line of a recording's log, byte for byte, and the frame that it belongs to.

    Attributes:
        recording: index into the episode's recordings.
        source_frame: number of the line in that recording's log, 0-based; the frame of that number goes with it.
        frame: the frame's number in the episode; None for a frame that was dropped.
        data: the line with its line end, if it has one.
    """

    recording: int
    source_frame: int
    frame: int | None
    data: bytes


@dataclass(frozen=True)
class Event:
    """What the game counted between an episode's frame before and this one: a counter rose by `count`."""

    frame: int
    name: str
    count: int


class Dataset:
    """A dataset that is open for reading; `open_dataset` makes it.

    It can be pickled and forked: what it reads lazily, it reads again in another process.

    Attributes:
        path: the folder or address that it was opened from.
        info: its dataset.json.
        episodes: a table of all episodes.
    """

    def __init__(self, path: str, storage: Storage, info: DatasetInfo) -> None:
        self.path, self.storage, self.info = path, storage, info
        light = ["episode_id", "shard", "num_frames", "num_clips", "start_byte", "stop_byte"]
        table = self._episodes_file.read(columns=light, use_threads=False)
        columns = {name: table[name].to_numpy() for name in light[1:]}
        first_clip = np.cumsum(columns["num_clips"], dtype=np.int64) - columns["num_clips"]
        self.episodes = EpisodeTable(ids=table["episode_id"].to_pylist(), first_clip=first_clip, **columns)
        if len(self.episodes) != info.counts["num_episodes"]:
            raise DatasetError(
                f"{path}/{EPISODES_FILE}: {len(self.episodes)} episodes, expected "
                f"{info.counts['num_episodes']} as {INFO_FILE} says. Copy the dataset again."
            )

    def __getstate__(self) -> dict[str, Any]:
        lazy = (
            "_episodes_file",
            "_clips_file",
            "_index_of",
            "_clip_groups",
            "_episode_groups",
        )
        return {name: value for name, value in vars(self).items() if name not in lazy}

    def index_of(self, episode_id: str) -> int:
        """The row of an episode.

        Raises:
            DatasetError: if the dataset has no such episode; the nearest names are given.
        """
        try:
            return self._index_of[episode_id]
        except KeyError:
            near = difflib.get_close_matches(episode_id, self.episodes.ids[:20_000], n=3, cutoff=0.4)
            hint = f"Did you mean {' or '.join(near)}?" if near else f"The first one is {self.episodes.ids[0]}."
            raise DatasetError(f"{self.path}: no episode {episode_id}. {hint}") from None

    def clip_rows(self, episode: int) -> list[ClipRow]:
        """The clips of an episode, in order."""
        first = int(self.episodes.first_clip[episode])
        rows: list[ClipRow] = []
        for group, start, stop in self._clip_groups.ranges(first, first + int(self.episodes.num_clips[episode])):
            table = self._clip_groups.read(group)
            names = list(ClipRow.__dataclass_fields__)
            columns = [table[name][start:stop].to_pylist() for name in names]
            rows += [ClipRow(**dict(zip(names, values, strict=True))) for values in zip(*columns, strict=True)]
        return rows

    def episode_row(self, episode: int) -> EpisodeRow:
        """All that the manifest says of an episode."""
        ((group, start, _),) = self._episode_groups.ranges(episode, episode + 1)
        record = self._episode_groups.read(group).slice(start, 1).to_pylist()[0]
        for name in ("shard", "num_clips"):
            del record[name]
        return EpisodeRow.from_record({**record, "clips": [vars(clip) for clip in self.clip_rows(episode)]})

    def interactions(self, episode: int) -> list[Interaction]:
        """The interactions of an episode; clips name them by their place in this list."""
        return [Interaction(**record) for record in self._episode_cell(episode, "interactions")]

    def candidate_runs(self, episode: int) -> list[CandidateRun]:
        """The episode's maximal runs of frames with the same candidates; frames without any are in none."""
        return [
            CandidateRun(record["start"], record["stop"], tuple(record["interactions"]))
            for record in self._episode_cell(episode, "candidate_runs")
        ]

    def event_rows(self, episode: int) -> list[EventRow]:
        """What the game counted in an episode, by name, with the frames; from the manifest."""
        return [
            EventRow(record["name"], record["count"], tuple(record["frames"]))
            for record in self._episode_cell(episode, "events")
        ]

    def events(self, episode: int) -> Iterator[Event]:
        """The events of an episode, by frame; read from its clips.

        Raises:
            DamagedClip: if a clip's bytes are missing, changed or not of a clip's form.
            OSError: if the storage fails.
        """
        names = [row.name for row in self.event_rows(episode)]
        for row in self.clip_rows(episode):
            arrays = self._read_arrays(episode, row)
            frames = (arrays.event_frame + row.start_frame).tolist()
            counted = zip(frames, arrays.event_name.tolist(), arrays.event_count.tolist(), strict=True)
            yield from (Event(frame, names[name], count) for frame, name, count in counted)

    def read_log(self, episode: int) -> Iterator[LogLine]:
        """The lines of an episode's logs that it uses, in order: those of its frames and of dropped frames.

        Raises:
            DatasetError: if the dataset was built without logs.
            DamagedClip: if a clip's bytes are missing, changed or not of a clip's form.
            OSError: if the storage fails.
        """
        recordings = self.episode_row(episode).recordings
        places = [(index, line) for index, row in enumerate(recordings) for line in range(row.num_log_lines)]
        lines_before = frames_before = 0
        for row in self.clip_rows(episode):
            if not row.log_size:
                raise DatasetError(
                    f"{self.path}: built without logs. Build it again with keep_log=true to have them."
                )
            members = self.read_members(episode, row, ("arrays", "log"))
            try:
                arrays, log = ClipArrays.from_bytes(members["arrays"]), unpack_log(members["log"])
            except ValueError as error:
                raise self.damaged(episode, row, str(error)) from error
            own = np.cumsum(arrays.dropped_before + 1) - 1  # the line of each frame, in the clip
            frame_of = {line: frames_before + frame for frame, line in enumerate(own.tolist())}
            lines = log.split(b"\n")[:-1]
            if lines_before + len(lines) > len(places):
                raise self.damaged(episode, row, "more lines than the manifest says")
            for number, line in enumerate(lines):
                recording, source_frame = places[lines_before + number]
                last = recordings[recording]
                bare = last.ends_bare and source_frame == last.num_log_lines - 1
                yield LogLine(recording, source_frame, frame_of.get(number), line if bare else line + b"\n")
            lines_before, frames_before = lines_before + len(lines), frames_before + arrays.num_frames

    def column(self, name: str) -> pa.ChunkedArray:
        """A column of episodes.parquet."""
        return self._episodes_file.read(columns=[name], use_threads=False)[name]

    def episode_groups(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """Some columns of episodes.parquet, or all, a row group at a time."""
        for group in range(self._episodes_file.metadata.num_row_groups):
            yield self._episodes_file.read_row_group(group, columns=columns, use_threads=False)

    def rejected(self) -> list[dict[str, Any]]:
        """The records of what the build left out."""
        return [json.loads(line) for line in self.storage.read(REJECTED_FILE).splitlines()]

    def read_clip(self, episode: int, row: ClipRow) -> Clip:
        """The clip of that row of `clip_rows(episode)`, read whole and checked.

        Raises:
            DamagedClip: if its bytes are missing, changed or not of a clip's form.
            OSError: if the storage fails.
        """
        members = self.read_members(episode, row, row.members)
        try:
            return Clip.from_members(members)
        except ValueError as error:
            raise self.damaged(episode, row, str(error)) from error

    def read_members(self, episode: int, row: ClipRow, wanted: Collection[str]) -> dict[str, bytes]:
        """Some of a clip's members as bytes, checked; one range of the shard is read.

        Raises:
            DamagedClip: if the bytes are missing or changed.
            OSError: if the storage fails.
        """
        try:
            return read_members(self.storage, int(self.episodes.shard[episode]), row, wanted)
        except ValueError as error:
            raise self.damaged(episode, row, str(error)) from error

    def _read_arrays(self, episode: int, row: ClipRow) -> ClipArrays:
        data = self.read_members(episode, row, ("arrays",))["arrays"]
        try:
            return ClipArrays.from_bytes(data)
        except ValueError as error:
            raise self.damaged(episode, row, str(error)) from error

    def damaged(self, episode: int, row: ClipRow, problem: str) -> DamagedClip:
        """The error that names this clip and what is wrong with it."""
        shard = f"{self.path}/{shard_name(int(self.episodes.shard[episode]))}"
        return DamagedClip(shard, self.episodes.ids[episode], row.clip, problem)

    def check_shards(self, shards: Sequence[int]) -> None:
        """These shards are there, with the size that the manifest says.

        Raises:
            DatasetError: naming the first one that is missing or of another size.
        """
        for shard in shards:
            expected, name = self.info.files["shard_bytes"][shard], shard_name(shard)
            size = self.storage.size(name)
            if size is None:
                raise DatasetError(
                    f"{self.path}/{name}: the shard is missing. Copy it again, or rebuild the dataset."
                )
            if size != expected:
                raise DatasetError(
                    f"{self.path}/{name}: {size} bytes, expected {expected}. "
                    "Copy it again, or rebuild the dataset."
                )

    @cached_property
    def _episodes_file(self) -> pq.ParquetFile:
        return pq.ParquetFile(pa.BufferReader(self._read_table(EPISODES_FILE)))

    @cached_property
    def _clips_file(self) -> pq.ParquetFile:
        return pq.ParquetFile(pa.BufferReader(self._read_table(CLIPS_FILE)))

    @cached_property
    def _index_of(self) -> dict[str, int]:
        return {episode_id: index for index, episode_id in enumerate(self.episodes.ids)}

    @cached_property
    def _clip_groups(self) -> "_RowGroups":
        return _RowGroups(self._clips_file)

    @cached_property
    def _episode_groups(self) -> "_RowGroups":
        return _RowGroups(self._episodes_file)

    def _episode_cell(self, episode: int, column: str) -> Any:
        ((group, start, _),) = self._episode_groups.ranges(episode, episode + 1)
        return self._episode_groups.read(group, column)[column][start].as_py()

    def _read_table(self, name: str) -> pa.Buffer:
        data = self.storage.read(name)
        found, expected = hashlib.sha256(data).hexdigest(), self.info.files["sha256"][name]
        if found != expected:
            raise DatasetError(
                f"{self.path}/{name}: sha256 {found[:12]}…, expected {expected[:12]}… as {INFO_FILE} says. "
                "Copy the file again."
            )
        return pa.py_buffer(data)


def read_members(storage: Storage, shard: int, row: ClipRow, wanted: Collection[str]) -> dict[str, bytes]:
    """Some of a clip's members as bytes, checked; one range of the shard is read. The log only where it is wanted.

    Raises:
        ValueError: if the bytes are missing or changed.
        OSError: if the storage fails.
    """
    start, stop = row.core
    if "log" in wanted:
        stop = row.stop
    data = memoryview(storage.read_range(shard_name(shard), start, stop))
    if len(data) != stop - start:
        raise ValueError(f"{len(data)} bytes, expected {stop - start}")
    members = {
        name: data[offset - start : offset - start + size]
        for name, (offset, size) in row.members.items()
        if offset < stop
    }
    check_members(members, row)
    return {name: bytes(members[name]) for name in wanted}


def check_members(members: Mapping[str, bytes | memoryview], row: ClipRow) -> None:
    """The members are those that the row describes; a log is only checked where it is among them.

    Raises:
        ValueError: if a checksum is another.
    """
    found = [(checksum([members[name] for name in CORE_MEMBERS]), row.crc32)]
    if "log" in members:
        found.append((checksum([members["log"]]), row.log_crc32))
    for got, expected in found:
        if got != expected:
            raise ValueError(f"checksum {got:08x}, expected {expected:08x}")


class _RowGroups:
    """Row groups of a parquet file, the last few kept, so that neighbours cost one read."""

    def __init__(self, file: pq.ParquetFile) -> None:
        self._file = file
        sizes = [file.metadata.row_group(group).num_rows for group in range(file.metadata.num_row_groups)]
        self._starts = np.concatenate(([0], np.cumsum(sizes)))
        self._kept: dict[tuple[int, str | None], pa.Table] = {}

    def ranges(self, start: int, stop: int) -> list[tuple[int, int, int]]:
        """The pieces of rows [start, stop): (group, start in it, stop in it)."""
        first = int(np.searchsorted(self._starts, start, side="right")) - 1
        last = int(np.searchsorted(self._starts, stop, side="left")) - 1
        return [
            (group, max(start - begin, 0), min(stop - begin, end - begin))
            for group in range(first, last + 1)
            for begin, end in [(int(self._starts[group]), int(self._starts[group + 1]))]
        ]

    def read(self, group: int, column: str | None = None) -> pa.Table:
        key = (group, column)
        if key not in self._kept:
            while len(self._kept) >= _KEPT_ROW_GROUPS:
                del self._kept[next(iter(self._kept))]
            self._kept[key] = self._file.read_row_group(
                group, columns=None if column is None else [column], use_threads=False
            )
        return self._kept[key]


_KEPT_ROW_GROUPS = 8


def read_info(path: str) -> DatasetInfo:
    """The description of the dataset at a folder or an address; nothing else of it is read.

    Raises:
        DatasetError: if there is no finished dataset, or its format is unknown.
    """
    return _read_info(path, open_storage(path))


def _read_info(path: str, storage: Storage) -> DatasetInfo:
    try:
        return DatasetInfo.from_json(storage.read(INFO_FILE), path)
    except (FileNotFoundError, NotADirectoryError):
        raise DatasetError(why_no_dataset(path)) from None
    except StorageError as error:
        raise DatasetError(str(error)) from error


def open_dataset(path: str | os.PathLike[str]) -> Dataset:
    """The dataset at a folder or an address (https, s3, gs, anything that fsspec knows).

    Raises:
        DatasetError: if there is no finished dataset, its format is unknown, or its manifest is damaged.
    """
    path = os.fspath(path).rstrip("/")
    storage = open_storage(path)
    info = _read_info(path, storage)
    try:
        return Dataset(path, storage, info)
    except FileNotFoundError as error:
        raise DatasetError(f"{path}: {error.filename or error} is missing. Copy the dataset again.") from None
    except StorageError as error:
        raise DatasetError(str(error)) from error
    except pa.ArrowInvalid as error:
        raise DatasetError(f"{path}: the manifest is damaged ({error}). Copy the dataset again.") from None
