"""Plain WebDataset over our shards: its pipeline, its splitting by node and worker, its batching."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import webdataset

from benchmarks.loaders import Batch, Options
from benchmarks.loaders.decoding import as_batch, decode_window


class WebLoader:
    def __init__(self, options: Options) -> None:
        shards = sorted(str(path) for path in options.data.glob("*.tar"))
        dataset = webdataset.WebDataset(
            shards, shardshuffle=False, nodesplitter=webdataset.split_by_node, empty_check=False
        )
        decode = options.decode
        dataset = dataset.map(
            lambda sample: decode_window({**sample, "arrays": sample["safetensors.gz"]}, decode)
        ).batched(options.batch_size, collation_fn=_collate, partial=True)
        self._loader = webdataset.WebLoader(dataset, batch_size=None, num_workers=options.num_workers)

    def epoch(self) -> Iterator[Batch]:
        for batch in self._loader:
            yield as_batch(batch)

    def state(self) -> Any:
        raise NotImplementedError(
            "WebDataset has no position: neither its dataset nor its loader has a state_dict"
        )

    def restore(self, state: Any) -> None:
        raise NotImplementedError


def _collate(windows: list[dict[str, Any]]) -> Any:
    from torch.utils.data import default_collate

    return default_collate(windows)


def open_loader(options: Options) -> WebLoader:
    return WebLoader(options)
