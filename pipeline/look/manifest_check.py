"""The manifest held against itself and against the files that lie beside it; no clip is read."""

import hashlib
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

_PRINTED = ("clip", "num_frames", "crc32", "log_crc32")
"""What of a clip's row the fingerprint is made of."""


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
    folder = Path(dataset.path)
    if folder.is_dir():
        known = {shard_name(shard) for shard in range(len(sizes))}
        for path in sorted(folder.glob("*.tar")):
            if path.name not in known:
                yield Fault("the manifest does not know this shard", path.name)


def _table_faults(dataset: Dataset) -> Iterator[Fault]:
    """Episodes follow each other without a hole and have the frames of their clips, which give the fingerprint.

    Each clip's own row is held against its shard, see `clip_check`.
    """
    try:
        table = pq.read_table(pa.BufferReader(dataset.storage.read(CLIPS_FILE)), columns=list(_PRINTED))
    except (OSError, ValueError):
        return  # said before
    column = {name: table[name].to_numpy() for name in _PRINTED}
    episodes = dataset.episodes
    if len(table) != episodes.num_clips.sum():
        yield Fault(f"{CLIPS_FILE}: {len(table)} rows, expected {episodes.num_clips.sum()}")
        return
    owner = np.repeat(np.arange(len(episodes)), episodes.num_clips)
    num_frames = np.bincount(owner, weights=column["num_frames"], minlength=len(episodes)).astype(np.int64)
    begins_shard = np.diff(episodes.shard, prepend=-1) != 0
    start_byte = np.where(begins_shard, 0, np.concatenate(([0], episodes.stop_byte[:-1])))
    for what, got, expected in (
        ("clips of {} frames, expected {}", num_frames, episodes.num_frames),
        ("begins at byte {}, expected {}", episodes.start_byte, start_byte),
    ):
        for episode in np.flatnonzero(got != expected).tolist():
            shard = shard_name(int(episodes.shard[episode]))
            yield Fault(what.format(got[episode], expected[episode]), shard, episodes.ids[episode])
    yield from _tally_faults(dataset)
    fingerprint = _fingerprint(dataset, column)
    if fingerprint != dataset.info.fingerprint:
        yield Fault(f"fingerprint {fingerprint[:12]}, expected {dataset.info.fingerprint[:12]}")


def _tally_faults(dataset: Dataset) -> Iterator[Fault]:
    """The sums are those of the episodes' rows."""
    tally = Tally()
    try:
        for table in dataset.episode_groups():
            for episode in table.to_pylist():
                tally.add(episode)
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
    numbers = zip(*(column[name].tolist() for name in _PRINTED), strict=True)
    for episode_id, num_clips in zip(dataset.episodes.ids, dataset.episodes.num_clips.tolist(), strict=True):
        lines = (f"{clip} {frames} {crc} {log}\n" for clip, frames, crc, log in islice(numbers, num_clips))
        digest.update(f"{episode_id}\n{''.join(lines)}".encode())
    return digest.hexdigest()
