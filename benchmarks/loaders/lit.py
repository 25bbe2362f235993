"""LitData over our clips, optimized into its own chunks once (`python -m benchmarks.loaders.lit DATASET OUT`)."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import litdata

from benchmarks.loaders import Batch, Decode, Options
from benchmarks.loaders.decoding import as_batch, decode_window

_PLACE = "litdata"


class Windows(litdata.StreamingDataset):
    def __init__(self, folder: str, how: Decode) -> None:
        super().__init__(input_dir=folder, shuffle=False, drop_last=False)
        self._how = how

    def __getitem__(self, index: Any) -> Any:
        return decode_window(super().__getitem__(index), self._how)


class LitLoader:
    def __init__(self, options: Options) -> None:
        dataset = Windows(str(options.data.with_name(f"{options.data.name}-{_PLACE}")), options.decode)
        self._loader = litdata.StreamingDataLoader(
            dataset, batch_size=options.batch_size, num_workers=options.num_workers
        )

    def epoch(self) -> Iterator[Batch]:
        for batch in self._loader:
            yield as_batch(batch)

    def state(self) -> Any:
        return self._loader.state_dict()

    def restore(self, state: Any) -> None:
        self._loader.load_state_dict(state)


def open_loader(options: Options) -> LitLoader:
    return LitLoader(options)


def members(place: tuple[str, int, int]) -> dict[str, bytes]:
    """A clip's members, as they lie in our shards."""
    from shards.clip import CORE_MEMBERS
    from shards.reader import open_dataset

    path, episode, clip = place
    dataset = open_dataset(path)
    return dataset.read_members(episode, dataset.clip_rows(episode)[clip], CORE_MEMBERS)


def clip_places(path: Path) -> list[tuple[str, int, int]]:
    """(dataset, episode, clip) of all clips in order."""
    from shards.reader import open_dataset

    counts = open_dataset(path).episodes.num_clips
    return [(str(path), episode, clip) for episode, count in enumerate(counts) for clip in range(count)]


def main() -> None:
    path = Path(sys.argv[1])
    litdata.optimize(
        fn=members,
        inputs=clip_places(path),
        output_dir=str(path.with_name(f"{path.name}-{_PLACE}")),
        chunk_bytes="16MB",
        num_workers=1,
        mode="overwrite",
    )


if __name__ == "__main__":
    main()
