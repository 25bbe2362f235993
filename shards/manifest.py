"""The manifest: what `dataset.json`, `episodes.parquet` and `clips.parquet` hold.

A row's byte offsets count from the start of its shard. Row groups are small enough to fetch one episode's
rows without reading the table.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import pyarrow as pa

from shards.action_space import ACTION_SPACE
from shards.clip import Interaction
from shards.columns import Int32, Int64, UInt32, columns_of
from shards.errors import DatasetError
from shards.interaction_types import INTERACTION_TYPES

FORMAT_VERSION = 2
INFO_FILE, EPISODES_FILE, CLIPS_FILE, REJECTED_FILE = (
    "dataset.json",
    "episodes.parquet",
    "clips.parquet",
    "rejected.jsonl",
)
EPISODES_PER_ROW_GROUP = 128
CLIPS_PER_ROW_GROUP = 8192

_INTERACTION_TYPES = {str(kind.id): kind.name for kind in INTERACTION_TYPES}


@dataclass(frozen=True)
class RecordingRow:
    """A recording's part in an episode.

    Attributes:
        num_source_frames: lines that its log has.
        num_log_lines: those of them, from the first one on, that the episode uses: kept and dropped frames.
        num_frames: frames that the episode has of it.
        ends_bare: the last line used has no line end in its log; the clip's log member gives it one.
    """

    name: str
    source: str
    num_source_frames: Int32
    num_log_lines: Int32
    num_frames: Int32
    ends_bare: bool = False


@dataclass(frozen=True)
class CandidateRun:
    """Frames [start, stop) of an episode that belong to the same interactions, as indices in the episode."""

    start: Int32
    stop: Int32
    interactions: tuple[Int32, ...]


@dataclass(frozen=True)
class EventRow:
    """What the game counted in an episode under one name.

    Attributes:
        count: by how much in all.
        frames: the episode's frames in which it did; empty for what measures time or distance.
    """

    name: str
    count: Int64
    frames: tuple[Int32, ...]


@dataclass(frozen=True)
class ClipRow:
    """Where a clip's members lie.

    Attributes:
        log_offset, log_size: 0 without a log.
        crc32: of the json, mp4 and arrays members' bytes, one after the other.
        log_crc32: of the log member's bytes.
    """

    clip: Int32
    start_frame: Int32
    num_frames: Int32
    json_offset: Int64
    json_size: Int32
    mp4_offset: Int64
    mp4_size: Int32
    arrays_offset: Int64
    arrays_size: Int32
    log_offset: Int64
    log_size: Int32
    crc32: UInt32
    log_crc32: UInt32

    @property
    def members(self) -> dict[str, tuple[int, int]]:
        """(offset, size) of each member that the clip has, in the order of the shard."""
        members = {
            "json": (self.json_offset, self.json_size),
            "mp4": (self.mp4_offset, self.mp4_size),
            "arrays": (self.arrays_offset, self.arrays_size),
        }
        return {**members, "log": (self.log_offset, self.log_size)} if self.log_size else members

    @property
    def core(self) -> tuple[int, int]:
        """The range of bytes that holds the members that every clip has."""
        return self.json_offset, self.arrays_offset + self.arrays_size

    @property
    def stop(self) -> int:
        """Where the last member ends."""
        return sum(list(self.members.values())[-1])

    def moved(self, num_bytes: int) -> "ClipRow":
        """The row of the same clip, `num_bytes` further on."""
        offsets = {f"{name}_offset": offset + num_bytes for name, (offset, _) in self.members.items()}
        return replace(self, **offsets)


@dataclass(frozen=True)
class EpisodeRow:
    """An episode with its clips.

    Attributes:
        events: by name; the clips' arrays name them by their place here.
        button_counts: frames in which each of `ACTION_SPACE.buttons` is pressed.
    """

    episode_id: str
    num_frames: Int32
    start_byte: Int64
    stop_byte: Int64
    recordings: Sequence[RecordingRow]
    interactions: Sequence[Interaction]
    candidate_runs: Sequence[CandidateRun]
    events: Sequence[EventRow]
    button_counts: Sequence[Int32]
    num_camera_frames: Int32
    num_gui_frames: Int32
    clips: Sequence[ClipRow]

    def moved(self, num_bytes: int) -> "EpisodeRow":
        """The row of the same episode, `num_bytes` further on."""
        return replace(
            self,
            start_byte=self.start_byte + num_bytes,
            stop_byte=self.stop_byte + num_bytes,
            clips=[clip.moved(num_bytes) for clip in self.clips],
        )

    def to_record(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "EpisodeRow":
        return cls(
            **{
                **record,
                **{name: [part(row) for row in record[name]] for name, part in PARTS_OF_EPISODE.items()},
            }
        )


PARTS_OF_EPISODE: dict[str, Callable[[dict[str, Any]], Any]] = {
    "recordings": lambda row: RecordingRow(**row),
    "interactions": lambda row: Interaction(**row),
    "candidate_runs": lambda row: CandidateRun(**{**row, "interactions": tuple(row["interactions"])}),
    "events": lambda row: EventRow(**{**row, "frames": tuple(row["frames"])}),
    "clips": lambda row: ClipRow(**row),
}
"""What makes the records of an `EpisodeRow`, by its field, of what parquet or JSON has of them."""

_OF_EPISODE, _OF_CLIP = columns_of(EpisodeRow)[:-1], columns_of(ClipRow)  # clips have a table of their own
EPISODES_SCHEMA = pa.schema(
    [_OF_EPISODE[0], ("shard", pa.int32()), _OF_EPISODE[1], ("num_clips", pa.int32()), *_OF_EPISODE[2:]]
)
CLIPS_SCHEMA = pa.schema([("episode", pa.int32()), *_OF_CLIP[:3], ("shard", pa.int32()), *_OF_CLIP[3:]])


@dataclass(frozen=True)
class DatasetInfo:
    """dataset.json.

    Attributes:
        codec: name and settings of the video codec.
        tools: versions of the programs that wrote the bytes.
        settings: what the build was asked for.
        counts: num_episodes, num_clips, num_frames, num_recordings, num_interactions, num_shards,
            num_bytes (of all shards), num_rejected, num_rejected_frames, num_noop_frames. num_frames, the rejected
            and the no-ops add up to all frames of the recordings, as far as their lengths are known.
        tally: what all episodes add up to; `Tally.from_json` reads it.
        fingerprint: a hash of all clips' checksums in order; the schedule depends on it.
        files: sha256 of the manifest's other files, and size in bytes of each shard.
        action_space: what a frame's action is made of; `ActionSpace.to_json` gives it.
        interaction_types: their numbers and names.
    """

    frame_width: int
    frame_height: int
    clip_frames: int
    keyframe_interval: int
    codec: Mapping[str, Any]
    tools: Mapping[str, str]
    settings: Mapping[str, Any]
    counts: Mapping[str, int]
    tally: Mapping[str, Any]
    fingerprint: str
    files: Mapping[str, Any] = field(default_factory=dict)
    action_space: Mapping[str, Any] = field(default_factory=ACTION_SPACE.to_json)
    interaction_types: Mapping[str, str] = field(default_factory=lambda: dict(_INTERACTION_TYPES))
    format_version: int = FORMAT_VERSION

    @classmethod
    def from_json(cls, data: bytes, where: str) -> "DatasetInfo":
        """The record of a dataset.json.

        Raises:
            DatasetError: if it is no such record, or its format version, action space or interaction types are not
                those that this program knows.
        """
        where = f"{where}/{INFO_FILE}"
        try:
            record = json.loads(data)
            version = record["format_version"]
            info = cls(**record) if version == FORMAT_VERSION else None
        except (ValueError, KeyError, TypeError) as error:
            raise DatasetError(
                f"{where}: not a dataset's description ({error}). Copy the file again or rebuild the dataset."
            ) from error
        if info is None:
            raise DatasetError(
                f"{where}: format version {version}, expected {FORMAT_VERSION}. Build the dataset again from its "
                "sources: rocket-prep build-shards SOURCE --out NEW_DATASET"
            )
        expected = {**ACTION_SPACE.to_json(), "interaction_types": _INTERACTION_TYPES}
        found = {**info.action_space, "interaction_types": info.interaction_types}
        for name in {**expected, **found}:
            if found.get(name) != expected.get(name):
                raise DatasetError(
                    f"{where}: {name}: got {found.get(name)}, expected {expected.get(name)}. Use the rocket1 "
                    "release that wrote it, or build the dataset again from its sources."
                )
        return info


def shard_name(shard: int) -> str:
    """The file name of a shard."""
    return f"{shard:06d}.tar"
