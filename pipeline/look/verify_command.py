"""What `rocket-prep verify` does and prints."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.look.faults import Fault, fault_lines, summary
from pipeline.look.output import print_json, print_lines
from pipeline.look.verify import Verification, verify
from pipeline.progress import ProgressReport, progress_on_stderr
from shards.display.wording import count, size, terminal_columns
from shards.reader import Dataset, open_dataset


def run_verify(path: str, num_workers: int | None, *, decode: bool, sources: Sequence[Path], as_json: bool) -> int:
    """The dataset is checked, repaired if sources are given, and the result printed; returns the exit status.

    Raises:
        RocketError: if the dataset cannot be opened or repaired at all.
    """
    dataset = open_dataset(path)
    num_workers = num_workers or len(os.sched_getaffinity(0))
    with progress_on_stderr() as progress:
        total = int(dataset.episodes.num_frames.sum())
        progress.start("checking", total, "frames")
        checked = verify(dataset, num_workers=num_workers, decode=decode, progress=progress.advance)
        record: dict[str, Any] = _record(checked, decode=decode)
        lines = [f"{path}: {_what(checked, decode=decode)}: {summary(checked.faults)}"]
        lines += fault_lines(checked.faults, terminal_columns())
        left = checked.faults
        if sources and left:
            left, repaired = _repair(dataset, left, sources, progress, decode=decode)
            record |= {"repair": repaired, "faults_left": [fault.to_json() for fault in left]}
            shards = ", ".join(repaired["shards"]) or "no shard"
            done = f"Built again: {count(len(repaired['episodes']))} episodes; written anew: {shards}"
            lines += [f"{done}; left: {summary(left)}", *fault_lines(left, terminal_columns())]
        elif left:
            lines.append(f"Build what is damaged again: rocket-prep verify {path} --repair SOURCE")
    if as_json:
        print_json(record)
    else:
        print_lines(lines)
    return 1 if left else 0


def _repair(
    dataset: Dataset,
    faults: Sequence[Fault],
    sources: Sequence[Path],
    progress: ProgressReport,
    *,
    decode: bool,
) -> tuple[list[Fault], dict[str, Any]]:
    """The faults that are left, and what was done."""
    from pipeline.build.repair import repair

    done = repair(
        dataset,
        faults,
        sources,
        start=lambda num_frames: progress.start("building", num_frames, "frames"),
        progress=progress.advance,
    )
    # All is looked at again: what was wrong with the manifest still is.
    again = verify(open_dataset(dataset.path), decode=decode)
    named = {(fault.shard, fault.episode_id) for fault in done.failures}
    left = [*done.failures, *(fault for fault in again.faults if (fault.shard, fault.episode_id) not in named)]
    return left, {"episodes": list(done.episodes), "shards": list(done.shards)}


def _what(checked: Verification, *, decode: bool) -> str:
    how = "read and decoded" if decode else "read"
    return (
        f"{count(checked.num_episodes)} episodes, {count(checked.num_clips)} clips, "
        f"{count(checked.num_frames)} frames, {size(checked.num_bytes)} {how}"
    )


def _record(checked: Verification, *, decode: bool) -> dict[str, Any]:
    return {
        "num_episodes": checked.num_episodes,
        "num_clips": checked.num_clips,
        "num_frames": checked.num_frames,
        "num_bytes": checked.num_bytes,
        "decoded": decode,
        "faults": [fault.to_json() for fault in checked.faults],
    }
