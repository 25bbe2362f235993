"""Damaged episodes built again from their recordings, so that the shards have their first bytes back."""

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.build.engines.tasks import Progress
from pipeline.build.folder import PartRecord, part_path
from pipeline.build.group import build_group
from pipeline.build.plan import make_plan
from pipeline.episodes.groups import Group
from pipeline.look.faults import Fault
from pipeline.recording import Findings
from pipeline.settings import settings_of_build
from pipeline.sources import find_recordings
from pipeline.transcode.ffmpeg import tool_versions
from shards.errors import RocketError
from shards.manifest import EpisodeRow, shard_name
from shards.reader import Dataset
from shards.writer import shard_size, write_shard

_WORK = ".repair"


@dataclass(frozen=True)
class Repair:
    """Which episodes have their first bytes back, which shards were written again, and what failed."""

    episodes: Sequence[str]
    shards: Sequence[str]
    failures: Sequence[Fault]


def repair(
    dataset: Dataset,
    faults: Sequence[Fault],
    sources: Sequence[Path],
    *,
    start: Callable[[int], None] = lambda _: None,
    progress: Progress = lambda _: None,
) -> Repair:
    """The shards with faults have their first bytes back, as far as the sources still give them.

    Only the damaged episodes are built again, and only what equals the manifest's checksums is taken. A shard is
    written aside and renamed.

    Args:
        faults: what `verify` found.
        sources: where the dataset was built from.
        start: told how many source frames will be built.

    Raises:
        RocketError: the dataset is no local folder, or the sources cannot be read or lack a recording of a damaged
            episode.
    """
    folder = Path(dataset.path)
    if not folder.is_dir():
        raise RocketError(
            f"{dataset.path}: not a local folder, expected one. Copy the dataset here and repair it."
        )
    damaged = _damaged_episodes(dataset, faults)
    rows = {number: dataset.episode_row(number) for number in damaged}
    with _work_folder(folder) as work:
        groups = _groups(dataset, list(rows.values()), sources) if rows else {}
        needed = {group.index: group for group in groups.values()}
        start(sum(group.num_frames for group in needed.values()))
        for group in needed.values():
            build_group(group, settings_of_build(dataset), work, work, progress)
        built: dict[int, tuple[Path, EpisodeRow]] = {}
        failures: list[Fault] = []
        for number, row in rows.items():
            index = groups[row.episode_id].index
            found = _find(PartRecord.read(work, index), row)
            if isinstance(found, str):
                problem = f"{found}. {_tools_hint(dataset)}"
                failures.append(Fault(problem, shard_name(int(dataset.episodes.shard[number])), row.episode_id))
            else:
                built[number] = (part_path(work, index), found)
        names = sorted({fault.shard for fault in faults if fault.shard is not None})
        shards = [shard for shard in range(dataset.info.counts["num_shards"]) if shard_name(shard) in names]
        written = []
        for shard in shards:
            obstacle = _write_shard(dataset, folder, work, shard, built)
            if obstacle is None:
                written.append(shard_name(shard))
            else:
                failures.append(Fault(obstacle, shard_name(shard)))
    repaired = [
        rows[number].episode_id for number in built if shard_name(int(dataset.episodes.shard[number])) in written
    ]
    return Repair(repaired, written, failures)


def _damaged_episodes(dataset: Dataset, faults: Sequence[Fault]) -> list[int]:
    """Those that faults name, and all of a missing shard."""
    numbers = {dataset.index_of(fault.episode_id) for fault in faults if fault.episode_id is not None}
    for shard in range(dataset.info.counts["num_shards"]):
        if dataset.storage.size(shard_name(shard)) is None:
            numbers |= set(np.flatnonzero(dataset.episodes.shard == shard).tolist())
    return sorted(numbers)


def _groups(dataset: Dataset, rows: Sequence[EpisodeRow], sources: Sequence[Path]) -> Mapping[str, Group]:
    """For each damaged episode the group of recordings that it comes from."""
    findings = find_recordings(sources)
    wanted = {recording.name for row in rows for recording in row.recordings}
    # Recordings of other sessions have no say in how these are grouped.
    sessions = {recording.session for recording in findings.recordings if recording.name in wanted}
    chosen = tuple(recording for recording in findings.recordings if recording.session in sessions)
    plan = make_plan(Findings(chosen, ()), settings_of_build(dataset))
    group_of = {planned.recording.name: group for group in plan.groups for planned in group.recordings}
    missing = sorted(wanted - set(group_of))
    if missing:
        owner = next(row.episode_id for row in rows if any(part.name == missing[0] for part in row.recordings))
        more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        raise RocketError(
            f"{', '.join(map(str, sources))}: no usable recording {missing[0]}{more}, which episode {owner} was "
            "built from. Give the source that holds it."
        )
    return {row.episode_id: group_of[row.recordings[0].name] for row in rows}


def _find(record: PartRecord, row: EpisodeRow) -> EpisodeRow | str:
    """The episode as it was built again, or in what it is not the same."""
    again = next((built for built in record.episodes if built.episode_id == row.episode_id), None)
    if again is None:
        return "built again, the episode does not come out of its recordings any more"
    if len(again.clips) != len(row.clips):
        return f"built again, it has {len(again.clips)} clips, expected {len(row.clips)}"
    moved = again.moved(row.start_byte - again.start_byte)
    for now, before in zip(moved.clips, row.clips, strict=True):
        if now != before:
            return f"built again, clip {now.clip} has checksum {now.crc32:08x}, expected {before.crc32:08x}"
    return again


def _tools_hint(dataset: Dataset) -> str:
    then, now = dataset.info.tools, tool_versions()
    changed = [f"{name} {then[name]} (now {now.get(name)})" for name in then if now.get(name) != then[name]]
    if changed:
        return f"The dataset was built with {', '.join(changed)}: repair it with these"
    return "The recordings have changed since: build the dataset again"


def _write_shard(
    dataset: Dataset, folder: Path, work: Path, shard: int, built: Mapping[int, tuple[Path, EpisodeRow]]
) -> str | None:
    """The shard consists of its healthy episodes and of those built again; or why it cannot."""
    target, expected = folder / shard_name(shard), dataset.info.files["shard_bytes"][shard]
    table = dataset.episodes
    pieces = []
    for number in np.flatnonzero(table.shard == shard).tolist():
        source, start, stop = target, int(table.start_byte[number]), int(table.stop_byte[number])
        if number in built:
            source, row = built[number]
            start, stop = row.start_byte, row.stop_byte
        if not source.exists() or source.stat().st_size < stop:
            return f"not written: episode {table.ids[number]} is neither whole nor built again"
        pieces.append((source, start, stop))
    size = shard_size(sum(stop - start for _, start, stop in pieces))
    if size != expected:
        return f"not written: it would have {size} bytes, expected {expected}"
    temporary = work / f"{shard_name(shard)}.tmp"  # parts are called like shards
    write_shard(temporary, pieces)
    os.replace(temporary, target)
    return None


@contextmanager
def _work_folder(folder: Path) -> Iterator[Path]:
    work = folder / _WORK
    try:
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
    except OSError as error:
        raise RocketError(f"{folder}: cannot be written, got {error.strerror}. Make it writable.") from error
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)
