"""Writing the manifest: tables by row groups, every file aside and renamed, dataset.json last."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from shards.manifest import (
    CLIPS_FILE,
    CLIPS_PER_ROW_GROUP,
    CLIPS_SCHEMA,
    EPISODES_FILE,
    EPISODES_PER_ROW_GROUP,
    EPISODES_SCHEMA,
    INFO_FILE,
    REJECTED_FILE,
    DatasetInfo,
    EpisodeRow,
    shard_name,
)
from shards.places import replacing
from shards.tally import Tally


def write_manifest(
    folder: Path,
    shards: Iterable[Sequence[EpisodeRow]],
    rejected: Iterable[Mapping[str, Any]],
    *,
    num_noop_frames: int = 0,
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
        num_noop_frames: frames of the recordings that were dropped because nothing happens in them.
        frame_size_px: (width, height).
    """
    names = "episodes clips frames recordings interactions shards bytes rejected rejected_frames"
    counts = dict.fromkeys(names.split(), 0)
    tally = Tally()
    fingerprint = hashlib.sha256()
    shard_bytes: list[int] = []
    with (
        replacing(folder / EPISODES_FILE) as episodes_path,
        replacing(folder / CLIPS_FILE) as clips_path,
        _table(episodes_path, EPISODES_SCHEMA, EPISODES_PER_ROW_GROUP) as append_episode,
        _table(clips_path, CLIPS_SCHEMA, CLIPS_PER_ROW_GROUP) as append_clip,
    ):
        for shard, episodes in enumerate(shards):
            shard_bytes.append((folder / shard_name(shard)).stat().st_size)
            for episode in episodes:
                record = {**episode.to_record(), "shard": shard, "num_clips": len(episode.clips)}
                del record["clips"]
                append_episode(record)
                tally.add(record)
                fingerprint.update(f"{episode.episode_id}\n".encode())
                for clip in episode.clips:
                    append_clip({**vars(clip), "episode": counts["episodes"], "shard": shard})
                    fingerprint.update(f"{clip.clip} {clip.num_frames} {clip.crc32} {clip.log_crc32}\n".encode())
                counts["episodes"] += 1
                counts["clips"] += len(episode.clips)
                counts["frames"] += episode.num_frames
                counts["recordings"] += len(episode.recordings)
                counts["interactions"] += len(episode.interactions)
    with replacing(folder / REJECTED_FILE) as path, open(path, "w", encoding="utf-8") as file:
        for row in rejected:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
            counts["rejected"] += 1
            counts["rejected_frames"] += int(row.get("num_frames") or 0)
    counts["shards"], counts["bytes"] = len(shard_bytes), sum(shard_bytes)
    counts["noop_frames"] = num_noop_frames
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
    with replacing(folder / INFO_FILE) as path:
        path.write_text(json.dumps(vars(info), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return info


@contextmanager
def _table(path: Path, schema: pa.Schema, rows_per_group: int) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """What appends a row to a parquet file, which is written by row groups."""
    rows: list[Mapping[str, Any]] = []

    def flush() -> None:
        writer.write_table(pa.Table.from_pylist(rows, schema))
        rows.clear()

    def append(row: Mapping[str, Any]) -> None:
        rows.append(row)
        if len(rows) == rows_per_group:
            flush()

    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        yield append
        if rows:
            flush()


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
