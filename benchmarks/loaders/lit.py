"""LitData over our clips, optimized into its own chunks once (`python -m benchmarks.loaders.lit DATASET OUT`)."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import litdata

from benchmarks.loaders import Decode, Options
from benchmarks.loaders.decoding import PeerLoader, decode_window

_PLACE = "litdata"


class Windows(litdata.StreamingDataset):
    def __init__(self, folder: str, how: Decode) -> None:
        super().__init__(input_dir=folder, shuffle=False, drop_last=False)
        self._how = how

    def __getitem__(self, index: Any) -> Any:
        return decode_window(super().__getitem__(index), self._how)


def open_loader(options: Options) -> PeerLoader:
    dataset = Windows(str(options.data.with_name(f"{options.data.name}-{_PLACE}")), options.decode)
    return PeerLoader(
        litdata.StreamingDataLoader(dataset, batch_size=options.batch_size, num_workers=options.num_workers)
    )


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
