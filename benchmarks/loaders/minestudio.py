"""MineStudio's data module, as docs/source/data/dataset-raw.md sets it up for ROCKET-1 (image, action, masks)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from minestudio.data.minecraft.callbacks import (
    ActionKernelCallback,
    ImageKernelCallback,
    SegmentationKernelCallback,
)
from minestudio.data.minecraft.dataset_raw import RawDataModule

from benchmarks.loaders import WINDOW_FRAMES, Batch, Options, Row

_SIZE_PX = {"frame_width": 224, "frame_height": 224}


class MineStudioLoader:
    def __init__(self, options: Options) -> None:
        if options.decode == "none":  # where windows come from, without their pictures
            callbacks = [ActionKernelCallback()]
        else:
            callbacks = [
                ImageKernelCallback(**_SIZE_PX),
                ActionKernelCallback(),
                SegmentationKernelCallback(**_SIZE_PX),
            ]
        self._module = RawDataModule(
            data_params={
                "dataset_dirs": [str(options.data)],
                "modal_kernel_callbacks": callbacks,
                "win_len": WINDOW_FRAMES,
                "split_ratio": 1.0,
                "shuffle_episodes": options.shuffle,
            },
            batch_size=options.batch_size,
            num_workers=options.num_workers,
            prefetch_factor=4 if options.num_workers else None,
            episode_continuous_batch=True,
        )
        self._module.setup()
        self._lengths = self._module.train_dataset.episodes_with_length

    def epoch(self) -> Iterator[Batch]:
        for batch in self._module.train_dataloader():
            rows: list[Row | None] = []
            for episode, stamps in zip(batch["episode"], batch["timestamp"], strict=True):
                start = int(stamps[0])
                rows.append(Row(episode, start, min(start + WINDOW_FRAMES, self._lengths[episode])))
            yield Batch(rows, batch)

    def state(self) -> Any:
        raise NotImplementedError("MineStudio's sampler has no position: it starts again")

    def restore(self, state: Any) -> None:
        raise NotImplementedError


def open_loader(options: Options) -> MineStudioLoader:
    return MineStudioLoader(options)
