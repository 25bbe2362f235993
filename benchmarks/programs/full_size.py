"""A dataset of full size whose manifest is complete and whose windows can be read, made of one small dataset.

Every shard is a link to the same real shard; an episode's clips point at its whole clips again and again. So the
manifest (episodes, clips, interactions) has the size that it would really have, and the disk holds one shard.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
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
    ClipRow,
    shard_name,
)
from shards.reader import Dataset, open_dataset
from shards.tally import Tally

NUM_EPISODES, NUM_FRAMES, FRAMES_PER_SHARD = 15_700, 160_000_000, 65_536


def episode_frames(scale: float, seed: int = 5) -> np.ndarray:
    """Lengths of `scale` times the real number of episodes: mean as in reality, spread log-normal, 2 to 90,000."""
    count = round(NUM_EPISODES * scale)
    lengths = np.random.default_rng(seed).lognormal(0.0, 1.0, count)
    return np.clip(lengths * NUM_FRAMES / NUM_EPISODES / np.exp(0.5), 2, 90_000).astype(np.int64)


def shards_of(num_frames: np.ndarray) -> np.ndarray:
    """Episodes fill shards in order."""
    before = np.concatenate(([0], np.cumsum(num_frames)[:-1]))
    return np.unique(before // FRAMES_PER_SHARD, return_inverse=True)[1]


def write_full_size(small: Path, out: Path, scale: float) -> dict[str, int]:
    """The dataset lies in `out`."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    dataset = open_dataset(small)
    clip_frames = dataset.info.clip_frames
    num_clips = np.maximum(episode_frames(scale) // clip_frames, 1)
    shard = shards_of(num_clips * clip_frames)
    _write_episodes(dataset, out / EPISODES_FILE, num_clips, shard)
    _write_clips(dataset, out / CLIPS_FILE, num_clips, shard)
    (out / REJECTED_FILE).write_bytes(b"")
    num_shards = int(shard.max()) + 1
    for number in range(num_shards):
        (out / shard_name(number)).symlink_to((small / shard_name(0)).resolve())
    counts = {
        "num_episodes": len(num_clips),
        "num_clips": int(num_clips.sum()),
        "num_frames": int(num_clips.sum()) * clip_frames,
        "num_shards": num_shards,
    }
    info: dict[str, Any] = asdict(dataset.info)
    info["counts"] |= counts
    info["tally"] = _tally(out / EPISODES_FILE)
    info["fingerprint"] = hashlib.sha256(f"full size {scale}".encode()).hexdigest()
    names = (EPISODES_FILE, CLIPS_FILE, REJECTED_FILE)
    info["files"] = {
        "sha256": {name: hashlib.sha256((out / name).read_bytes()).hexdigest() for name in names},
        "shard_bytes": [(small / shard_name(0)).stat().st_size] * num_shards,
    }
    (out / INFO_FILE).write_text(json.dumps(info))
    return counts | {f"{name} bytes": (out / name).stat().st_size for name in names[:2]}


def _tally(episodes: Path) -> dict[str, Any]:
    file, tally = pq.ParquetFile(episodes), Tally()
    for group in range(file.metadata.num_row_groups):
        for episode in file.read_row_group(group).to_pylist():
            tally.add(episode)
    return tally.to_json()


def _whole_clips(dataset: Dataset) -> list[ClipRow]:
    """The full clips of the first episode; the others repeat them in this order."""
    return [row for row in dataset.clip_rows(0) if row.num_frames == dataset.info.clip_frames]


def _write_episodes(dataset: Dataset, path: Path, num_clips: np.ndarray, shard: np.ndarray) -> None:
    """Each episode has the interactions of the small dataset's first, and the candidate runs of its clips."""
    record = dataset.episode_row(0).to_record()
    del record["clips"]
    clip_frames, template = dataset.info.clip_frames, pa.Table.from_pylist([record], EPISODES_SCHEMA)
    runs, runs_before = _long_runs(dataset, int(num_clips.max()))
    with pq.ParquetWriter(path, EPISODES_SCHEMA, compression="zstd") as writer:
        for start in range(0, len(num_clips), EPISODES_PER_ROW_GROUP):
            group = slice(start, start + EPISODES_PER_ROW_GROUP)
            counts = num_clips[group]
            names = [f"player-{hash_of(start + n)}-20220101-000000" for n in range(len(counts))]
            bounds = np.concatenate(([0], np.cumsum(runs_before[counts]))).astype(np.int32)
            columns = {
                "episode_id": pa.array(names),
                "shard": pa.array(shard[group].astype(np.int32)),
                "num_frames": pa.array((counts * clip_frames).astype(np.int32)),
                "num_clips": pa.array(counts.astype(np.int32)),
                # An episode's runs are the first ones of those of a very long episode.
                "candidate_runs": pa.ListArray.from_arrays(
                    bounds, pa.concat_arrays([runs.slice(0, runs_before[count]) for count in counts])
                ),
            }
            table = template.take(pa.array(np.zeros(len(counts), np.int64)))
            for name, values in columns.items():
                table = table.set_column(EPISODES_SCHEMA.get_field_index(name), name, values)
            writer.write_table(table.cast(EPISODES_SCHEMA))


def _long_runs(dataset: Dataset, num_clips: int) -> tuple[pa.StructArray, np.ndarray]:
    """Candidate runs of an episode of so many clips, and how many of them lie before each clip."""
    by_clip = []
    for row in _whole_clips(dataset):
        stop = row.start_frame + row.num_frames
        parts = [(max(r.start, row.start_frame), min(r.stop, stop), r) for r in dataset.candidate_runs(0)]
        by_clip.append([(a - row.start_frame, b - row.start_frame, r.interactions) for a, b, r in parts if a < b])
    starts, stops, interactions, before = [], [], [], [0]
    for clip in range(num_clips):
        for start, stop, those in by_clip[clip % len(by_clip)]:
            starts.append(clip * dataset.info.clip_frames + start)
            stops.append(clip * dataset.info.clip_frames + stop)
            interactions.append(list(those))
        before.append(len(starts))
    columns = [
        pa.array(starts, pa.int32()),
        pa.array(stops, pa.int32()),
        pa.array(interactions, pa.list_(pa.int32())),
    ]
    return pa.StructArray.from_arrays(columns, ["start", "stop", "interactions"]), np.array(before)


def hash_of(number: int) -> str:
    """Twelve digits that look like a player's."""
    return hashlib.sha256(str(number).encode()).hexdigest()[:12]


def _write_clips(dataset: Dataset, path: Path, num_clips: np.ndarray, shard: np.ndarray) -> None:
    clip_frames = dataset.info.clip_frames
    whole = pa.Table.from_pylist(
        [{**vars(row), "episode": 0, "shard": 0} for row in _whole_clips(dataset)], CLIPS_SCHEMA
    )
    total, first = int(num_clips.sum()), np.cumsum(num_clips) - num_clips
    with pq.ParquetWriter(path, CLIPS_SCHEMA, compression="zstd") as writer:
        for start in range(0, total, CLIPS_PER_ROW_GROUP):
            place = np.arange(start, min(start + CLIPS_PER_ROW_GROUP, total))
            episode = np.searchsorted(first, place, side="right") - 1
            clip = place - first[episode]
            table = whole.take(pa.array(clip % len(whole)))
            own = {"episode": episode, "clip": clip, "start_frame": clip * clip_frames, "shard": shard[episode]}
            for name, values in own.items():
                table = table.set_column(
                    CLIPS_SCHEMA.get_field_index(name), name, pa.array(values.astype(np.int32))
                )
            writer.write_table(table.cast(CLIPS_SCHEMA))


def main() -> None:
    from benchmarks.measure import answer

    answer(**write_full_size(Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])))


if __name__ == "__main__":
    main()
