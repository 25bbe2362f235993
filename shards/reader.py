"""Opening a dataset: its manifest as arrays, its clips by byte range, each checked."""

import difflib
import json
import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from shards.clip import Clip, ClipArrays, Interaction, unpack_log
from shards.errors import DamagedClip, DatasetError, StorageError
from shards.manifest import (
    CLIPS_FILE,
    EPISODES_FILE,
    INFO_FILE,
    PARTS_OF_EPISODE,
    REJECTED_FILE,
    CandidateRun,
    ClipRow,
    DatasetInfo,
    EpisodeRow,
    EventRow,
    shard_name,
)
from shards.members import read_members
from shards.no_dataset import why_no_dataset
from shards.storage import Storage, open_storage
from shards.table import ManifestTable

_OF_CLIP = list(ClipRow.__dataclass_fields__)


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
        source_frame: number of the line in that recording's log, 0-based.
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
        self._episodes_table, self._clips_table = (
            ManifestTable(path, storage, name, info.files["sha256"][name]) for name in (EPISODES_FILE, CLIPS_FILE)
        )
        light = ["episode_id", "shard", "num_frames", "num_clips", "start_byte", "stop_byte"]
        table = self._episodes_table.read(light)
        columns = {name: table[name].to_numpy() for name in light[1:]}
        first_clip = np.cumsum(columns["num_clips"], dtype=np.int64) - columns["num_clips"]
        self.episodes = EpisodeTable(ids=table["episode_id"].to_pylist(), first_clip=first_clip, **columns)
        if len(self.episodes) != info.counts["num_episodes"]:
            raise DatasetError(
                f"{path}/{EPISODES_FILE}: {len(self.episodes)} episodes, expected "
                f"{info.counts['num_episodes']} as {INFO_FILE} says. Copy the dataset again."
            )

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
        records = self._clips_table.rows(first, first + int(self.episodes.num_clips[episode]), _OF_CLIP)
        return [ClipRow(**record) for record in records]

    def episode_row(self, episode: int) -> EpisodeRow:
        """All that the manifest says of an episode."""
        (record,) = self._episodes_table.rows(episode, episode + 1)
        for name in ("shard", "num_clips"):
            del record[name]
        return EpisodeRow.from_record({**record, "clips": [vars(clip) for clip in self.clip_rows(episode)]})

    def interactions(self, episode: int) -> list[Interaction]:
        """The interactions of an episode; clips name them by their place in this list."""
        return self._part(episode, "interactions")

    def candidate_runs(self, episode: int) -> list[CandidateRun]:
        """The episode's maximal runs of frames with the same candidates; frames without any are in none."""
        return self._part(episode, "candidate_runs")

    def event_rows(self, episode: int) -> list[EventRow]:
        """What the game counted in an episode, by name, with the frames; from the manifest."""
        return self._part(episode, "events")

    def events(self, episode: int) -> Iterator[Event]:
        """The events of an episode, by frame; read from its clips.

        Raises:
            DamagedClip: if a clip's bytes are missing, changed or not of a clip's form.
            OSError: if the storage fails.
        """
        names = [row.name for row in self.event_rows(episode)]
        for row in self.clip_rows(episode):
            arrays = self.read_arrays(episode, row)
            frames = (arrays.event_frame + row.start_frame).tolist()
            counted = zip(frames, arrays.event_name.tolist(), arrays.event_count.tolist(), strict=True)
            yield from (Event(frame, names[name], count) for frame, name, count in counted)

    def read_log(self, episode: int) -> Iterator[LogLine]:
        """The lines of an episode's logs that it uses, in order: those of its frames and of dropped frames.

        Raises:
            DatasetError: if the dataset was built without logs.
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
            with self.naming(episode, row):
                arrays = ClipArrays.from_bytes(members["arrays"])
                lines = unpack_log(members["log"]).split(b"\n")[:-1]
                if lines_before + len(lines) > len(places):
                    raise ValueError("more lines than the manifest says")
            own = np.cumsum(arrays.dropped_before + 1) - 1  # the line of each frame, in the clip
            frame_of = {line: frames_before + frame for frame, line in enumerate(own.tolist())}
            for number, line in enumerate(lines):
                recording, source_frame = places[lines_before + number]
                last = recordings[recording]
                bare = last.ends_bare and source_frame == last.num_log_lines - 1
                yield LogLine(recording, source_frame, frame_of.get(number), line if bare else line + b"\n")
            lines_before, frames_before = lines_before + len(lines), frames_before + arrays.num_frames

    def column(self, name: str) -> pa.ChunkedArray:
        """A column of episodes.parquet."""
        return self._episodes_table.read([name])[name]

    def episode_groups(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """Some columns of episodes.parquet, or all, a row group at a time."""
        return self._episodes_table.groups(columns)

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
        with self.naming(episode, row):
            return Clip.from_members(members)

    def read_arrays(self, episode: int, row: ClipRow) -> ClipArrays:
        """The arrays of that clip, checked."""
        data = self.read_members(episode, row, ("arrays",))["arrays"]
        with self.naming(episode, row):
            return ClipArrays.from_bytes(data)

    def read_members(self, episode: int, row: ClipRow, wanted: Collection[str]) -> dict[str, bytes]:
        """Some of a clip's members as bytes, checked; one range of the shard is read.

        Raises:
            DamagedClip: if the bytes are missing or changed.
            OSError: if the storage fails.
        """
        with self.naming(episode, row):
            return read_members(self.storage, int(self.episodes.shard[episode]), row, wanted)

    @contextmanager
    def naming(self, episode: int, row: ClipRow) -> Iterator[None]:
        """A ValueError or IndexError about a clip's bytes inside the block becomes a DamagedClip that names it."""
        try:
            yield
        except (ValueError, IndexError) as error:
            shard = f"{self.path}/{shard_name(int(self.episodes.shard[episode]))}"
            raise DamagedClip(shard, self.episodes.ids[episode], row.clip, str(error)) from error

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
    def _index_of(self) -> dict[str, int]:
        return {episode_id: index for index, episode_id in enumerate(self.episodes.ids)}

    def _part(self, episode: int, column: str) -> list[Any]:
        (record,) = self._episodes_table.rows(episode, episode + 1, [column])
        return [PARTS_OF_EPISODE[column](part) for part in record[column]]


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
