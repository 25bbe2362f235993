"""Planning and opening: how the cost grows from full size (15,700 episodes, 160 million frames) on."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.environments import OURS
from benchmarks.measure import Spread
from benchmarks.report import Table

_PROGRAM = "benchmarks.programs.plan_scale"


def measure(
    small: Path, work: Path, repeats: int, plan_scales: list[float], open_scales: list[float]
) -> Iterator[Table]:
    """The table of planning, then that of opening after each row; `small` is what large datasets are made of."""
    print("planning", flush=True)
    planning = Table(
        "Planning an epoch: 64 lanes, 8 groups, windows of 128",
        ["times full size", "episodes", "windows", "lanes once", "each epoch", "memory added", "padding"],
    )
    for scale in plan_scales:
        done = [OURS.run(_PROGRAM, "plan", str(scale)).answer for _ in range(repeats)]
        planning.add(
            f"{scale:g}",
            f"{done[0]['num_episodes']:,}",
            f"{done[0]['num_windows']:,}",
            f"{_spread(done, 'lanes_seconds')} s",
            f"{_spread(done, 'epoch_seconds')} s",
            f"{max(one['added_mb'] for one in done):,.0f} MB",
            f"{100 * done[0]['padding']:.3f} %",
        )
    yield planning
    opening = Table(
        "Opening a dataset: read and check the manifest, split, plan, check shards, first batch (2 workers)",
        [
            "times full size",
            "clips",
            "episodes.parquet",
            "clips.parquet",
            "open",
            "first batch",
            "process's memory",
        ],
    )
    opening.notes.append(
        "Times count from the import of our code on. The large manifests repeat a small dataset's clips, so they "
        "compress better than real ones; the shards are links to one file."
    )
    for scale in open_scales:
        large = work / "full-size"
        made = OURS.run("benchmarks.programs.full_size", str(small), str(large), str(scale)).answer
        done = [OURS.run(_PROGRAM, "open", str(large)).answer for _ in range(repeats)]
        opening.add(
            f"{scale:g}",
            f"{made['num_clips']:,}",
            f"{made['episodes.parquet bytes'] / 1e6:,.1f} MB",
            f"{made['clips.parquet bytes'] / 1e6:,.1f} MB",
            f"{_spread(done, 'open_seconds')} s",
            f"{_spread(done, 'first_batch_seconds')} s",
            f"{max(one['peak_mb'] for one in done):,.0f} MB",
        )
        shutil.rmtree(large)
        yield opening


def _spread(done: list[dict[str, Any]], name: str) -> str:
    return Spread.of([one[name] for one in done]).text(2)
