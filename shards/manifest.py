"""The manifest: what `dataset.json`, `episodes.parquet` and `clips.parquet` hold.

A row's byte offsets count from the start of its shard. Row groups are small enough to fetch one episode's
rows without reading the table.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import pyarrow as pa

from shards.clip import Interaction
from shards.errors import DatasetError

FORMAT_VERSION = 1
INFO_FILE, EPISODES_FILE, CLIPS_FILE, REJECTED_FILE = (
    "dataset.json",
    "episodes.parquet",
    "clips.parquet",
    "rejected.jsonl",
)
EPISODES_PER_ROW_GROUP = 128
CLIPS_PER_ROW_GROUP = 8192

_RECORDING = pa.struct(
    [
        ("name", pa.string()),
        ("source", pa.string()),
        ("num_source_frames", pa.int32()),
        ("num_frames", pa.int32()),
    ]
)
_INTERACTION = pa.struct(
    [("type", pa.int8()), ("event", pa.string()), ("start", pa.int32()), ("stop", pa.int32())]
)
_CANDIDATE_RUN = pa.struct([("start", pa.int32()), ("stop", pa.int32()), ("interactions", pa.list_(pa.int32()))])
EPISODES_SCHEMA = pa.schema(
    [
        ("episode_id", pa.string()),
        ("shard", pa.int32()),
        ("num_frames", pa.int32()),
        ("num_clips", pa.int32()),
        ("start_byte", pa.int64()),
        ("stop_byte", pa.int64()),
        ("recordings", pa.list_(_RECORDING)),
        ("interactions", pa.list_(_INTERACTION)),
        ("candidate_runs", pa.list_(_CANDIDATE_RUN)),
        ("button_counts", pa.list_(pa.int32())),
        ("num_camera_frames", pa.int32()),
        ("num_gui_frames", pa.int32()),
    ]
)
CLIPS_SCHEMA = pa.schema(
    [
        ("episode", pa.int32()),
        ("clip", pa.int32()),
        ("start_frame", pa.int32()),
        ("num_frames", pa.int32()),
        ("shard", pa.int32()),
        ("json_offset", pa.int64()),
        ("json_size", pa.int32()),
        ("mp4_offset", pa.int64()),
        ("mp4_size", pa.int32()),
        ("npz_offset", pa.int64()),
        ("npz_size", pa.int32()),
        ("crc32", pa.uint32()),
    ]
)


@dataclass(frozen=True)
class RecordingRow:
    """A recording's part in an episode: how many frames it had, and how many of them the episode has."""

    name: str
    source: str
    num_source_frames: int
    num_frames: int


@dataclass(frozen=True)
class CandidateRun:
    """Frames [start, stop) of an episode that belong to the same interactions, as indices in the episode."""

    start: int
    stop: int
    interactions: tuple[int, ...]


@dataclass(frozen=True)
class ClipRow:
    """Where a clip lies; `crc32` is that of its json, mp4 and npz bytes, one after the other."""

    clip: int
    start_frame: int
    num_frames: int
    json_offset: int
    json_size: int
    mp4_offset: int
    mp4_size: int
    npz_offset: int
    npz_size: int
    crc32: int

    def moved(self, num_bytes: int) -> "ClipRow":
        """The row of the same clip, `num_bytes` further on."""
        record = asdict(self)
        for name in ("json_offset", "mp4_offset", "npz_offset"):
            record[name] += num_bytes
        return ClipRow(**record)


@dataclass(frozen=True)
class EpisodeRow:
    """An episode with its clips; `button_counts` counts the frames in which each of BUTTONS is pressed."""

    episode_id: str
    num_frames: int
    start_byte: int
    stop_byte: int
    recordings: Sequence[RecordingRow]
    interactions: Sequence[Interaction]
    candidate_runs: Sequence[CandidateRun]
    button_counts: Sequence[int]
    num_camera_frames: int
    num_gui_frames: int
    clips: Sequence[ClipRow]

    def moved(self, num_bytes: int) -> "EpisodeRow":
        """The row of the same episode, `num_bytes` further on."""
        clips = [clip.moved(num_bytes) for clip in self.clips]
        return EpisodeRow(
            **{
                **vars(self),
                "start_byte": self.start_byte + num_bytes,
                "stop_byte": self.stop_byte + num_bytes,
                "clips": clips,
            }
        )

    def to_record(self) -> dict[str, Any]:
        """The row as what JSON can hold."""
        return asdict(self)

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "EpisodeRow":
        return cls(
            **{
                **record,
                "recordings": [RecordingRow(**row) for row in record["recordings"]],
                "interactions": [Interaction(**row) for row in record["interactions"]],
                "candidate_runs": [
                    CandidateRun(row["start"], row["stop"], tuple(row["interactions"]))
                    for row in record["candidate_runs"]
                ],
                "clips": [ClipRow(**row) for row in record["clips"]],
            }
        )


@dataclass(frozen=True)
class DatasetInfo:
    """dataset.json.

    Attributes:
        codec: name and settings of the video codec.
        tools: versions of the programs that wrote the bytes.
        settings: what the build was asked for.
        counts: num_episodes, num_clips, num_frames, num_recordings, num_interactions, num_shards,
            num_bytes (of all shards), num_rejected, num_rejected_frames.
        tally: what all episodes add up to; `Tally.from_json` reads it.
        fingerprint: a hash of all clips' checksums in order; the schedule depends on it.
        files: sha256 of the manifest's other files, and size in bytes of each shard.
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
    format_version: int = FORMAT_VERSION

    @classmethod
    def from_json(cls, data: bytes, where: str) -> "DatasetInfo":
        """The record of a dataset.json.

        Raises:
            DatasetError: if it is no such record, or of a format version that this program does not know.
        """
        try:
            record = json.loads(data)
            version = record["format_version"]
            if version == FORMAT_VERSION:
                return cls(**record)
        except (ValueError, KeyError, TypeError) as error:
            raise DatasetError(
                f"{where}/{INFO_FILE}: not a dataset's description ({error}). "
                "Copy the file again or rebuild the dataset."
            ) from error
        raise DatasetError(
            f"{where}/{INFO_FILE}: format version {version}, expected {FORMAT_VERSION}. "
            "Use the rocket1 release that wrote it, or rebuild the dataset with this one."
        )


def shard_name(shard: int) -> str:
    """The file name of a shard."""
    return f"{shard:06d}.tar"
