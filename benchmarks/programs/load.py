"""Opens a loader and measures it: how fast, which windows in which order, which bytes."""

from __future__ import annotations

import argparse
import hashlib
import os
import pickle
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.loaders import MODULES, Batch, Loader, Options, import_loader
from benchmarks.measure import MemorySampler, answer, tree_core_seconds

_WARM_UP_BATCHES = 4
_DIGESTED = ("yuv", "mask_bits", "obj_id", "buttons", "camera")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("task", choices=("speed", "walk", "digest"))
    parser.add_argument("name", choices=MODULES)
    parser.add_argument("data", type=Path)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--decode", default="planar")
    parser.add_argument("--batches", type=int, default=10)
    parser.add_argument("--shuffle", action="store_true")
    parser.add_argument("--state-out", type=Path)
    parser.add_argument("--state-in", type=Path)
    options = parser.parse_args()
    rank, num_ranks = join_group()
    open_loader = import_loader(options.name)
    start = time.perf_counter()
    loader = open_loader(Options(options.data, options.workers, options.decode, rank, num_ranks, options.shuffle))
    if options.task == "speed":
        answer(**measure_speed(loader, options.batches, start))
    elif options.task == "digest":
        answer(digests=digest(loader))
    else:
        answer(**walk(loader, options, start))
    # Leave at once: what a peer's threads do at the end is not measured.
    os._exit(0)


def join_group() -> tuple[int, int]:
    """The process group that the environment describes, if it does."""
    if "WORLD_SIZE" not in os.environ:
        return 0, 1
    import torch.distributed

    torch.distributed.init_process_group("gloo")
    return torch.distributed.get_rank(), torch.distributed.get_world_size()


def measure_speed(loader: Loader, num_batches: int, start: float) -> dict[str, float]:
    """Core-seconds and memory of so many batches, after a few, by which every buffer that is reused was used."""
    batches = forever(loader)
    next(batches)
    first_batch_seconds = time.perf_counter() - start
    for _ in range(_WARM_UP_BATCHES - 1):
        next(batches)
    num_frames = 0
    with MemorySampler(with_self=True, interval_seconds=2.0) as memory:
        cores, begin = tree_core_seconds(), time.perf_counter()
        for _ in range(num_batches):
            num_frames += next(batches).num_frames
        cores, seconds = tree_core_seconds() - cores, time.perf_counter() - begin
    return {
        "frames_per_core_second": num_frames / cores,
        "frames_per_second": num_frames / seconds,
        "first_batch_seconds": first_batch_seconds,
        "peak_mb": memory.peak_mb,
        "peak_process_mb": memory.peak_process_mb,
        "peak_child_mb": memory.peak_child_mb,
    }


def forever(loader: Loader) -> Iterator[Batch]:
    while True:
        yield from loader.epoch()


def walk(loader: Loader, options: argparse.Namespace, start: float) -> dict[str, Any]:
    """The windows of an epoch, or of the rest after --state-in; --state-out keeps a position on the way."""
    if options.state_in:
        loader.restore(pickle.loads(options.state_in.read_bytes()))  # written by this program just now
    found: dict[str, Any] = {"rows": []}
    for batch in loader.epoch():
        found.setdefault("first_batch_seconds", time.perf_counter() - start)
        found["rows"].append([None if row is None else [row.episode, row.start, row.stop] for row in batch.rows])
        if options.state_out and len(found["rows"]) == options.batches:
            try:
                options.state_out.write_bytes(pickle.dumps(loader.state()))
            except NotImplementedError as reason:
                found["no_state"] = str(reason)
    return found


def digest(loader: Loader) -> dict[str, dict[str, str]]:
    """Window -> field -> a hash of its frames, for an epoch."""
    digests: dict[str, dict[str, str]] = {}
    for batch in loader.epoch():
        for number, row in enumerate(batch.rows):
            if row is None:
                continue
            sums = {}
            for name in _DIGESTED:
                frames = np.ascontiguousarray(batch.fields[name][number][: row.stop - row.start])
                sums[name] = hashlib.sha256(frames).hexdigest()
            if "one_candidate" in batch.fields and not batch.fields["one_candidate"][number]:
                del sums["mask_bits"], sums["obj_id"]  # several right answers
            digests[f"{row.episode} {row.start}"] = sums
    return digests


if __name__ == "__main__":
    main()
