"""MineStudio's converters over its intermediate files, as its documentation calls them.

Documentation: docs/source/data/convertion.md (ConvertManager with one callback a modality, actions as the filter).
Needed to run at all, and nothing else changed: ActionConvertCallback hands its arguments on to its base class
(1.1.6 drops them, so that it cannot be made).
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import ray
from minestudio.data.minecraft.callbacks import (
    ActionConvertCallback,
    ImageConvertCallback,
    ModalConvertCallback,
    SegmentationConvertCallback,
)
from minestudio.data.minecraft.tools.convertion import ConvertManager

from benchmarks.measure import CoreClock, answer

CHUNK_FRAMES = 32


class ActionConverter(ActionConvertCallback):
    def __init__(self, input_dirs: list[str], chunk_size: int) -> None:
        ModalConvertCallback.__init__(self, input_dirs=input_dirs, chunk_size=chunk_size)
        self.action_transformer_kwargs: dict[str, Any] = {}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("root", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--workers", type=int, required=True)
    parser.add_argument("--segmentation", action="store_true")
    options = parser.parse_args()

    ray.init(num_cpus=options.workers + 1, include_dashboard=False, log_to_driver=False)
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
        clock, start = CoreClock(), time.perf_counter()
        manager.prepare_tasks()
        manager.dispatch()
        core_seconds[modality] = clock.stop()
        wall_seconds[modality] = time.perf_counter() - start
    ray.shutdown()
    answer(core_seconds=core_seconds, wall_seconds=wall_seconds)


if __name__ == "__main__":
    main()
