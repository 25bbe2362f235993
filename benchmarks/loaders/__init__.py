"""Loaders behind one face, so that the same program measures ours and the peers'.

Each peer is used as its documentation advises, and reads the very clips that ours reads (MineStudio: its own LMDB
set of the same recordings).
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

NUM_LANES = 8
WINDOW_FRAMES = 128
MODULES = {
    "rocket1": "benchmarks.loaders.ours",
    "libavcodec": "benchmarks.loaders.libavcodec",
    "MineStudio": "benchmarks.loaders.minestudio",
    "WebDataset": "benchmarks.loaders.plain_webdataset",
    "LitData": "benchmarks.loaders.lit",
    "Streaming": "benchmarks.loaders.mosaic",
}
Decode = Literal["planar", "rgb", "none"]
"""What the readers of our clips make of them: our tensors, RGB by torchcodec, or only where they come from."""


@dataclass(frozen=True, slots=True)
class Row:
    """One window of a batch; the frame numbers are those of the episode."""

    episode: str
    start: int
    stop: int


@dataclass(frozen=True)
class Batch:
    """What a training step gets: a window a row (None is padding), and the tensors."""

    rows: list[Row | None]
    fields: Mapping[str, Any] = field(default_factory=dict)

    @property
    def num_frames(self) -> int:
        return sum(row.stop - row.start for row in self.rows if row is not None)


@dataclass(frozen=True)
class Options:
    """How a loader is opened; rank and num_ranks are those of the process group that is already up, if any."""

    data: Path
    num_workers: int = 0
    decode: Decode = "planar"
    rank: int = 0
    num_ranks: int = 1
    shuffle: bool = False

    @property
    def batch_size(self) -> int:
        return NUM_LANES // self.num_ranks


class Loader(Protocol):
    """Batches, epoch after epoch; `state` and `restore` raise NotImplementedError where there is no such thing."""

    def epoch(self) -> Iterator[Batch]:
        """One epoch, or the rest of it after `restore`."""

    def state(self) -> Any:
        """The position after the batch that was handed out last."""

    def restore(self, state: Any) -> None:
        """The next epoch begins at that position."""


def import_loader(name: str) -> Callable[[Options], Loader]:
    """What opens the loader of that name; its module is imported only now, since each lives in one environment."""
    opener: Callable[[Options], Loader] = importlib.import_module(MODULES[name]).open_loader
    return opener
