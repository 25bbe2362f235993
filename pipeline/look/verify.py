"""`rocket-prep verify`: every byte of a dataset is compared with its manifest, by a process for each core."""

import os
import shlex
import tarfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.look.clip_check import clip_problems, tar_problems
from pipeline.look.faults import Fault, fault_lines, summary
from pipeline.look.manifest_check import manifest_faults
from pipeline.look.pool import check_each
from pipeline.progress import progress_on_stderr
from shards.clip import Clip
from shards.display.wording import number_of, print_json, print_lines, shorten, size, terminal_columns
from shards.episode_sums import EpisodeSums
from shards.manifest import shard_name
from shards.members import check_members
from shards.reader import Dataset, open_dataset


@dataclass(frozen=True)
class Verification:
    """What was looked at and what was found.

    Attributes:
        faults: those of the manifest first, then in the order of shards, episodes and clips.
    """

    num_episodes: int
    num_clips: int
    num_frames: int
    num_bytes: int
    faults: Sequence[Fault]


def verify(
    dataset: Dataset,
    *,
    num_workers: int = 1,
    decode: bool = True,
    progress: Callable[[int], None] = lambda _: None,
) -> Verification:
    """The manifest is checked, and each clip of the dataset is read, checked and decoded.

    Args:
        decode: False leaves the videos undecoded, which is several times as fast.
        progress: called with the number of frames checked since the last call.

    Raises:
        RocketError: if a process of the check dies.
        OSError: if the storage fails.
    """
    table = dataset.episodes
    faults = list(manifest_faults(dataset))
    found = check_each(partial(episode_faults, decode=decode), dataset, range(len(table)), num_workers)
    for num_frames, of_episode in zip(table.num_frames.tolist(), found, strict=True):
        faults += of_episode
        progress(num_frames)
    for shard in range(dataset.info.counts["num_shards"]):
        faults += _ending_faults(dataset, shard)
    return Verification(
        num_episodes=len(table),
        num_clips=int(table.num_clips.sum()),
        num_frames=int(table.num_frames.sum(dtype=np.int64)),
        num_bytes=int((table.stop_byte - table.start_byte).sum()),
        faults=faults,
    )


def episode_faults(dataset: Dataset, number: int, *, decode: bool = True) -> list[Fault]:
    """What is wrong with an episode."""
    try:
        episode = dataset.episode_row(number)
    except (ValueError, OSError) as error:
        return [Fault(f"its rows in the manifest cannot be read: {error}", None, dataset.episodes.ids[number])]
    shard = shard_name(int(dataset.episodes.shard[number]))
    faults: list[Fault] = []

    def fault(problem: str, clip: int | None = None) -> None:
        faults.append(Fault(problem, shard, episode.episode_id, clip))

    sums, num_log_lines, num_read, stop = EpisodeSums(), 0, 0, episode.start_byte
    for row in episode.clips:
        start, stop = stop, -(-row.stop // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
        try:
            data = dataset.storage.read_range(shard, start, stop)
            if len(data) != stop - start:
                raise ValueError(f"{len(data)} bytes, expected {stop - start}")
            for problem in tar_problems(data, start, episode.episode_id, row):
                fault(problem, row.clip)
            members = {name: data[offset - start :][:size] for name, (offset, size) in row.members.items()}
            check_members(members, row)
            clip = Clip.from_members(members)
        except FileNotFoundError:
            fault("the shard is missing", row.clip)
            continue
        except ValueError as error:
            fault(str(error), row.clip)
            continue
        sums.add(clip.arrays, clip.info.events)
        num_log_lines += (clip.log or b"").count(b"\n")
        num_read += 1
        for problem in clip_problems(clip, row, episode, dataset.info, decode=decode):
            fault(problem, row.clip)
    if stop != episode.stop_byte:
        fault(f"ends at byte {stop}, expected {episode.stop_byte}")
    if num_read == len(episode.clips):
        pairs = {name: (mine, getattr(episode, name)) for name, mine in sums.fields().items()}
        if any(row.log_size for row in episode.clips):
            pairs["log lines"] = (num_log_lines, sum(one.num_log_lines for one in episode.recordings))
        for name, (mine, theirs) in pairs.items():
            if mine != theirs:
                fault(f"{name} add up to {shorten(str(mine), 80)}, expected {shorten(str(theirs), 80)}")
    return faults


def _ending_faults(dataset: Dataset, shard: int) -> Iterator[Fault]:
    """Behind the last episode come zeros, and nothing else."""
    mine = np.flatnonzero(dataset.episodes.shard == shard)
    stop = int(dataset.episodes.stop_byte[mine].max(initial=0))
    size = dataset.info.files["shard_bytes"][shard]
    if size < stop + 2 * tarfile.BLOCKSIZE:
        yield Fault(f"{size} bytes, expected more than {stop}", shard_name(shard))
        return
    try:
        data = dataset.storage.read_range(shard_name(shard), stop, size)
    except FileNotFoundError:
        return  # said before
    if data.strip(b"\0"):
        yield Fault("bytes other than zero behind the last episode", shard_name(shard))


def run_verify(
    path: str,
    num_workers: int | None,
    *,
    decode: bool,
    repair_from: Sequence[Path] = (),
    sources: Sequence[Path] = (),
    as_json: bool,
) -> int:
    """The dataset is checked, repaired and compared as asked for, and the result printed; returns the exit status.

    Args:
        num_workers: None for one for each core.
        repair_from: recordings to build damaged episodes from.
        sources: recordings to compare actions and pictures with.

    Raises:
        RocketError: if the dataset cannot be opened or repaired at all.
    """
    dataset = open_dataset(path)
    num_workers = num_workers or len(os.sched_getaffinity(0))
    lines: list[str] = []

    def say(what: str, faults: Sequence[Fault]) -> None:
        lines.append(f"{what}: {summary(faults)}")
        lines.extend(fault_lines(faults, terminal_columns()))

    with progress_on_stderr() as progress:
        total = int(dataset.episodes.num_frames.sum())
        progress.start("checking", total, "frames")
        checked = verify(dataset, num_workers=num_workers, decode=decode, progress=progress.advance)
        left = checked.faults
        record: dict[str, Any] = {"decoded": decode, **asdict(checked)}
        seen = (
            f"{number_of(checked.num_episodes, 'episode')}, {number_of(checked.num_clips, 'clip')}, "
            f"{number_of(checked.num_frames, 'frame')}, {size(checked.num_bytes)}"
        )
        say(f"{path}: {seen} {'read and decoded' if decode else 'read'}", left)
        if repair_from and left:
            from pipeline.build.repair import repair

            done = repair(
                dataset,
                left,
                repair_from,
                start=lambda num_frames: progress.start("building", num_frames, "frames"),
                progress=progress.advance,
            )
            # All is looked at again: what was wrong with the manifest still is.
            again = verify(open_dataset(path), decode=decode)
            named = {(fault.shard, fault.episode_id) for fault in done.failures}
            left = [*done.failures, *(one for one in again.faults if (one.shard, one.episode_id) not in named)]
            record["repair"] = {"episodes": list(done.episodes), "shards": list(done.shards)}
            record["faults_left"] = list(map(asdict, left))
            shards = ", ".join(done.shards) or "no shard"
            say(f"Built again: {number_of(len(done.episodes), 'episode')}; written again: {shards}; left", left)
        elif left:
            lines.append(f"Build what is damaged again: rocket-prep verify {shlex.quote(path)} --repair SOURCE")
        if sources and not left:
            from pipeline.look.source_check import compare_with_sources

            progress.start("comparing", total, "frames")
            compared = compare_with_sources(open_dataset(path), sources, num_workers, progress.advance)
            left = compared.faults
            record["sources"] = asdict(compared)
            say(compared.line(), left)
        elif sources:
            lines.append("Not compared with the recordings: what is damaged comes first.")
    if as_json:
        print_json(record)
    else:
        print_lines(lines)
    return 1 if left else 0
