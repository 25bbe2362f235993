"""Our data module."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmarks.loaders import WINDOW_FRAMES, Batch, Options, Row
from trainer.data.datamodule import RocketDataModule


class OurLoader:
    def __init__(self, options: Options) -> None:
        self._module = RocketDataModule(
            datasets=[options.data],
            win_len=WINDOW_FRAMES,
            batch_size=options.batch_size,
            num_workers=options.num_workers,
            split_ratio=1.0,
            shuffle_episodes=options.shuffle,
            num_lane_groups=1,
            rank=options.rank,
            num_ranks=options.num_ranks,
        )
        self._module.setup()
        self._ids = self._module.data.collection.episode_ids

    def epoch(self) -> Iterator[Batch]:
        for batch in self._module.train_dataloader():
            places = zip(
                batch["episode"].tolist(), batch["start_frame"].tolist(), batch["stop_frame"].tolist(), strict=True
            )
            rows = [Row(self._ids[at], start, stop) if at >= 0 else None for at, start, stop in places]
            fields = {
                "yuv": batch["yuv"],
                "mask_bits": batch["segment"]["obj_mask_bits"],
                "obj_id": batch["segment"]["obj_id"],
                **batch["action"],
            }
            yield Batch(rows, fields)

    def state(self) -> Any:
        return self._module.state_dict()

    def restore(self, state: Any) -> None:
        self._module.load_state_dict(state)


def open_loader(options: Options) -> OurLoader:
    return OurLoader(options)
