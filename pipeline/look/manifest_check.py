"""The manifest held against itself and against the files that lie beside it; no clip is read."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline.look.faults import Fault
from shards.errors import DatasetError
from shards.manifest import CLIPS_FILE, EPISODES_FILE, INFO_FILE, REJECTED_FILE, shard_name
from shards.reader import Dataset
from shards.tally import Tally

_CLIP_COLUMNS = (
    "episode",
    "clip",
    "start_frame",
    "num_frames",
    "shard",
    "json_offset",
    "arrays_offset",
    "arrays_size",
    "log_offset",
    "log_size",
    "crc32",
    "log_crc32",
)


def manifest_faults(dataset: Dataset) -> Iterator[Fault]:
    """What is wrong with the manifest or with the files as a whole."""
    yield from _file_faults(dataset)
    yield from _shard_faults(dataset)
    yield from _table_faults(dataset)


def _file_faults(dataset: Dataset) -> Iterator[Fault]:
    for name in (CLIPS_FILE, EPISODES_FILE, REJECTED_FILE):
        expected = dataset.info.files["sha256"][name]
        try:
            found = hashlib.sha256(dataset.storage.read(name)).hexdigest()
        except FileNotFoundError:
            yield Fault(f"{name} is missing")
            continue
        if found != expected:
            yield Fault(f"{name}: sha256 {found[:12]}, expected {expected[:12]}")


def _shard_faults(dataset: Dataset) -> Iterator[Fault]:
    sizes = dataset.info.files["shard_bytes"]
    for shard, expected in enumerate(sizes):
        size = dataset.storage.size(shard_name(shard))
        if size is None:
            yield Fault("the shard is missing", shard_name(shard))
        elif size != expected:
            yield Fault(f"{size} bytes, expected {expected}", shard_name(shard))
    folder = Path(os.fspath(dataset.path))
    if folder.is_dir():
        known = {shard_name(shard) for shard in range(len(sizes))}
        for path in sorted(folder.glob("*.tar")):
            if path.name not in known:
                yield Fault("the manifest does not know this shard", path.name)


def _table_faults(dataset: Dataset) -> Iterator[Fault]:
    """The clips' rows are those of the episodes' rows, in order, and give the fingerprint."""
    try:
        table = pq.read_table(pa.BufferReader(dataset.storage.read(CLIPS_FILE)), columns=list(_CLIP_COLUMNS))
    except (OSError, ValueError):
        return  # said before
    column = {name: table[name].to_numpy() for name in _CLIP_COLUMNS}
    episodes = dataset.episodes
    owner = np.repeat(np.arange(len(episodes)), episodes.num_clips)
    if len(owner) != len(column["episode"]) or (owner != column["episode"]).any():
        yield Fault(f"{CLIPS_FILE}: rows are not those of the episodes, in order")
        return
    first = np.repeat(episodes.first_clip, episodes.num_clips)
    ends = np.cumsum(column["num_frames"], dtype=np.int64)
    before = ends - column["num_frames"]
    checks = {
        "clips are not numbered in order": column["clip"] != np.arange(len(owner)) - first,
        "clips do not follow each other": column["start_frame"] != before - before[first],
        "a clip is in another shard than its episode": column["shard"] != episodes.shard[owner],
        "a clip lies outside its episode's bytes": (column["json_offset"] < episodes.start_byte[owner])
        | (column["arrays_offset"] + column["arrays_size"] > episodes.stop_byte[owner])
        | (column["log_offset"] + column["log_size"] > episodes.stop_byte[owner]),
    }
    for problem, wrong in checks.items():
        if wrong.any():
            place = int(np.flatnonzero(wrong)[0])
            episode = int(owner[place])
            yield Fault(
                f"{CLIPS_FILE}: {problem}",
                shard_name(int(episodes.shard[episode])),
                episodes.ids[episode],
                int(column["clip"][place]),
            )
    totals = np.bincount(owner, weights=column["num_frames"], minlength=len(episodes)).astype(np.int64)
    for episode in np.flatnonzero(totals != episodes.num_frames).tolist():
        yield Fault(
            f"clips of {totals[episode]} frames, expected {episodes.num_frames[episode]}",
            shard_name(int(episodes.shard[episode])),
            episodes.ids[episode],
        )
    yield from _order_faults(dataset)
    yield from _tally_faults(dataset)
    fingerprint = _fingerprint(dataset, column)
    if fingerprint != dataset.info.fingerprint:
        yield Fault(f"fingerprint {fingerprint[:12]}, expected {dataset.info.fingerprint[:12]}")


def _order_faults(dataset: Dataset) -> Iterator[Fault]:
    """Episodes follow each other in their shard without a hole."""
    episodes = dataset.episodes
    begins = np.ones(len(episodes), bool)
    begins[1:] = np.diff(episodes.shard) != 0
    expected = np.where(begins, 0, np.concatenate(([0], episodes.stop_byte[:-1])))
    for episode in np.flatnonzero(episodes.start_byte != expected).tolist():
        yield Fault(
            f"begins at byte {episodes.start_byte[episode]}, expected {expected[episode]}",
            shard_name(int(episodes.shard[episode])),
            episodes.ids[episode],
        )


def _tally_faults(dataset: Dataset) -> Iterator[Fault]:
    """The sums are those of the episodes' rows."""
    tally = Tally()
    try:
        for table in dataset.episode_groups():
            tally.add(table)
    except DatasetError as error:
        yield Fault(str(error))
        return
    expected = tally.to_json()
    for name in expected:
        if dataset.info.tally.get(name) != expected[name]:
            yield Fault(f"{INFO_FILE}: tally.{name} is not the sum over {EPISODES_FILE}")


def _fingerprint(dataset: Dataset, column: dict[str, NDArray[Any]]) -> str:
    """What the dataset's fingerprint must be, by the clips' rows."""
    digest = hashlib.sha256()
    numbers = zip(*(column[name].tolist() for name in ("clip", "num_frames", "crc32", "log_crc32")), strict=True)
    for episode_id, num_clips in zip(dataset.episodes.ids, dataset.episodes.num_clips.tolist(), strict=True):
        lines = (f"{clip} {frames} {crc} {log}\n" for clip, frames, crc, log in islice(numbers, num_clips))
        digest.update(f"{episode_id}\n{''.join(lines)}".encode())
    return digest.hexdigest()
