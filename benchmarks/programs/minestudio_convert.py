"""MineStudio's converters over its intermediate files, as its documentation sets them up.

Documentation: docs/source/data/convertion.md (ConvertManager with one callback a modality; actions as the filter).
Two differences, both needed to run or in MineStudio's favour:
- ActionConvertCallback hands its arguments on to its base class (1.1.6 drops them, so that it cannot be made);
- its worker class runs in plain processes, not in Ray's: starting Ray and its actors costs tens of core-seconds,
  which would hide what converting a small set costs.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from minestudio.data.minecraft.callbacks import (
    ActionConvertCallback,
    ImageConvertCallback,
    ModalConvertCallback,
    SegmentationConvertCallback,
)
from minestudio.data.minecraft.tools.convertion import ConvertManager, ConvertWorker

from benchmarks.measure import answer

CHUNK_FRAMES = 32


class ActionConverter(ActionConvertCallback):
    def __init__(self, input_dirs: list[str], chunk_size: int) -> None:
        ModalConvertCallback.__init__(self, input_dirs=input_dirs, chunk_size=chunk_size)
        self.action_transformer_kwargs: dict[str, Any] = {}


def convert(manager: ConvertManager) -> None:
    """What `ConvertManager.dispatch` does: an equal number of episodes for each worker, one LMDB each."""
    episodes = list(manager.loaded_episodes.items())
    share = -(-len(episodes) // manager.num_workers)
    shares = [episodes[start : start + share] for start in range(0, len(episodes), share)]
    processes = []
    for number, mine in enumerate(shares):
        place = Path(manager.output_dir) / f"part-{min((number + 1) * share, len(episodes))}"
        process = multiprocessing.get_context("fork").Process(target=_work, args=(manager, place, dict(mine)))
        process.start()
        processes.append(process)
    for process in processes:
        process.join()
        if process.exitcode != 0:
            raise SystemExit(f"a converter ended with {process.exitcode}")


def _work(manager: ConvertManager, place: Path, episodes: dict[str, Any]) -> None:
    worker = ConvertWorker.__ray_metadata__.modified_class(
        write_path=place,
        convert_kernel=manager.convert_kernel,
        tasks=episodes,
        chunk_size=manager.chunk_size,
        remote_tqdm=SimpleNamespace(update=SimpleNamespace(remote=lambda _: None)),
        filter_kernel=manager.filter_kernel,
    )
    worker.run()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("root", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--workers", type=int, required=True)
    parser.add_argument("--segmentation", action="store_true")
    options = parser.parse_args()

    actions = ActionConverter([str(options.root / "actions")], CHUNK_FRAMES)
    converters: dict[str, ModalConvertCallback] = {
        "image": ImageConvertCallback(input_dirs=[str(options.root / "videos")], chunk_size=CHUNK_FRAMES),
        "action": actions,
    }
    if options.segmentation:
        masks = [str(options.root / "segmentation")]
        converters["segmentation"] = SegmentationConvertCallback(input_dirs=masks, chunk_size=CHUNK_FRAMES)
    core_seconds, wall_seconds = {}, {}
    for modality, converter in converters.items():
        manager = ConvertManager(
            output_dir=str(options.out / modality),
            convert_kernel=converter,
            filter_kernel=actions,
            chunk_size=CHUNK_FRAMES,
            num_workers=options.workers,
        )
        cores, start = sum(os.times()[:4]), time.perf_counter()
        manager.prepare_tasks()
        convert(manager)
        core_seconds[modality] = sum(os.times()[:4]) - cores
        wall_seconds[modality] = time.perf_counter() - start
    answer(core_seconds=core_seconds, wall_seconds=wall_seconds)


if __name__ == "__main__":
    main()
