"""The manifest: what `dataset.json`, `episodes.parquet` and `clips.parquet` hold, and how they are written.

A row's byte offsets count from the start of its shard. Row groups are small enough to fetch one episode's
rows without reading the table.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from shards.clip import Interaction
from shards.errors import DatasetError
from shards.tally import Tally

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


def write_manifest(
    folder: Path,
    shards: Iterable[Sequence[EpisodeRow]],
    rejected: Iterable[Mapping[str, Any]],
    *,
    frame_size_px: tuple[int, int],
    clip_frames: int,
    keyframe_interval: int,
    codec: Mapping[str, Any],
    tools: Mapping[str, str],
    settings: Mapping[str, Any],
) -> DatasetInfo:
    """The folder is a dataset: both tables and rejected.jsonl are written, and dataset.json after them.

    Every file is written aside and renamed; dataset.json, which makes the folder a dataset, comes last.
    Rows are consumed one shard at a time, so that memory does not grow with the dataset.

    Args:
        shards: for each shard in order, its episodes in order, offsets counted from the shard's start.
        rejected: a record for each recording or part that was left out, with "num_frames".
        frame_size_px: (width, height).
    """
    counts = dict.fromkeys(
        (
            "episodes",
            "clips",
            "frames",
            "recordings",
            "interactions",
            "shards",
            "bytes",
            "rejected",
            "rejected_frames",
        ),
        0,
    )
    tally = Tally()
    fingerprint = hashlib.sha256()
    shard_bytes: list[int] = []
    with (
        _replacing(folder / EPISODES_FILE) as episodes_path,
        _replacing(folder / CLIPS_FILE) as clips_path,
        _Table(episodes_path, EPISODES_SCHEMA, EPISODES_PER_ROW_GROUP, tally.add) as episodes_table,
        _Table(clips_path, CLIPS_SCHEMA, CLIPS_PER_ROW_GROUP) as clips_table,
    ):
        for shard, episodes in enumerate(shards):
            shard_bytes.append((folder / shard_name(shard)).stat().st_size)
            for episode in episodes:
                record = {**episode.to_record(), "shard": shard, "num_clips": len(episode.clips)}
                del record["clips"]
                episodes_table.append(record)
                fingerprint.update(f"{episode.episode_id}\n".encode())
                for clip in episode.clips:
                    clips_table.append({**vars(clip), "episode": counts["episodes"], "shard": shard})
                    fingerprint.update(f"{clip.clip} {clip.num_frames} {clip.crc32}\n".encode())
                counts["episodes"] += 1
                counts["clips"] += len(episode.clips)
                counts["frames"] += episode.num_frames
                counts["recordings"] += len(episode.recordings)
                counts["interactions"] += len(episode.interactions)
    with _replacing(folder / REJECTED_FILE) as path, open(path, "w", encoding="utf-8") as file:
        for row in rejected:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
            counts["rejected"] += 1
            counts["rejected_frames"] += int(row.get("num_frames") or 0)
    counts["shards"], counts["bytes"] = len(shard_bytes), sum(shard_bytes)
    info = DatasetInfo(
        frame_width=frame_size_px[0],
        frame_height=frame_size_px[1],
        clip_frames=clip_frames,
        keyframe_interval=keyframe_interval,
        codec=codec,
        tools=tools,
        settings=settings,
        counts={f"num_{name}": count for name, count in counts.items()},
        tally=tally.to_json(),
        fingerprint=fingerprint.hexdigest(),
        files={
            "sha256": {name: _sha256(folder / name) for name in (EPISODES_FILE, CLIPS_FILE, REJECTED_FILE)},
            "shard_bytes": shard_bytes,
        },
    )
    with _replacing(folder / INFO_FILE) as path:
        path.write_text(json.dumps(asdict(info), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return info


class _Table:
    """A parquet file that grows by rows and is flushed by row groups, each of which `watch` sees."""

    def __init__(
        self,
        path: Path,
        schema: pa.Schema,
        rows_per_group: int,
        watch: Callable[[pa.Table], None] = lambda _: None,
    ) -> None:
        self._schema, self._rows_per_group, self._watch = schema, rows_per_group, watch
        self._writer = pq.ParquetWriter(path, schema, compression="zstd")
        self._rows: list[Mapping[str, Any]] = []

    def append(self, row: Mapping[str, Any]) -> None:
        self._rows.append(row)
        if len(self._rows) == self._rows_per_group:
            self._flush()

    def _flush(self) -> None:
        table = pa.Table.from_pylist(self._rows, self._schema)
        self._writer.write_table(table)
        self._watch(table)
        self._rows = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        try:
            if exception[0] is None and self._rows:
                self._flush()
        finally:
            self._writer.close()


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A path to write to; afterwards the file has that content, on the disk; a crash leaves the old one."""
    temporary = path.with_name(path.name + ".tmp")
    try:
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
