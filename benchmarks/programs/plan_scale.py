"""Planning an epoch, or opening a dataset up to the first batch, at some multiple of full size."""

from __future__ import annotations

import resource
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.measure import answer

NUM_LANES, NUM_GROUPS, WINDOW_FRAMES = 64, 8, 128


def plan(scale: float) -> dict[str, Any]:
    """Lanes and one epoch of 64 lanes in 8 groups; memory is what planning added."""
    import numpy as np

    from benchmarks.programs.full_size import episode_frames, shards_of
    from shards.schedule.lanes import LanePlan
    from shards.schedule.settings import ScheduleSettings

    num_frames = episode_frames(scale)
    shard = shards_of(num_frames)
    before, start = _peak_mb(), time.perf_counter()
    lanes = LanePlan(
        num_frames,
        shard,
        np.arange(len(num_frames)),
        ScheduleSettings(num_lanes=NUM_LANES, window_frames=WINDOW_FRAMES, num_groups=NUM_GROUPS),
        fingerprint="benchmark",
    )
    prepared = time.perf_counter()
    schedule = lanes.epoch(0)
    done = time.perf_counter()
    for step in range(0, schedule.num_steps, max(1, schedule.num_steps // 1000)):
        schedule.window(step, step % NUM_LANES)
    return {
        "num_episodes": len(num_frames),
        "num_windows": schedule.num_windows,
        "num_steps": schedule.num_steps,
        "padding": schedule.num_padding / (schedule.num_steps * NUM_LANES),
        "lanes_seconds": prepared - start,
        "epoch_seconds": done - prepared,
        "added_mb": _peak_mb() - before,
        "peak_mb": _peak_mb(),
    }


def open_and_read(path: Path) -> dict[str, Any]:
    """From the import of our code on: open, split, plan, check shards, first batch of 8 lanes."""
    start = time.perf_counter()
    from trainer.data.datamodule import RocketDataModule

    imported = time.perf_counter()
    module = RocketDataModule(datasets=[path], batch_size=8, num_workers=2, rank=0, num_ranks=1, num_lane_groups=1)
    module.setup()
    ready = time.perf_counter()
    batches = iter(module.train_dataloader())
    batch = next(batches)
    done = time.perf_counter()
    assert bool(batch["valid"].any())
    answer_ = {
        "import_seconds": imported - start,
        "open_seconds": ready - imported,
        "first_batch_seconds": done - imported,
        "peak_mb": _peak_mb(),
    }
    module.teardown()
    return answer_


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    answer(**(plan(float(sys.argv[2])) if sys.argv[1] == "plan" else open_and_read(Path(sys.argv[2]))))
