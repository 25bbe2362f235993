"""MosaicML Streaming over our clips, written as MDS once (`python -m benchmarks.loaders.mosaic DATASET`)."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import streaming

from benchmarks.loaders import NUM_LANES, Decode, Options
from benchmarks.loaders.decoding import PeerLoader, decode_window

_PLACE = "mds"


class Windows(streaming.StreamingDataset):
    def __init__(self, folder: str, how: Decode, batch_size: int) -> None:
        # As many canonical nodes as lanes: unshuffled, each place of the batch then reads on from where it was.
        super().__init__(local=folder, batch_size=batch_size, shuffle=False, num_canonical_nodes=NUM_LANES)
        self._how = how

    def __getitem__(self, index: Any) -> Any:
        return decode_window(super().__getitem__(index), self._how)


def open_loader(options: Options) -> PeerLoader:
    streaming.base.util.clean_stale_shared_memory()
    folder = str(options.data.with_name(f"{options.data.name}-{_PLACE}"))
    dataset = Windows(folder, options.decode, options.batch_size)
    return PeerLoader(
        streaming.StreamingDataLoader(dataset, batch_size=options.batch_size, num_workers=options.num_workers)
    )


def main() -> None:
    from benchmarks.loaders.lit import clip_places, members

    path = Path(sys.argv[1])
    out = path.with_name(f"{path.name}-{_PLACE}")
    shutil.rmtree(out, ignore_errors=True)
    columns = {"json": "bytes", "mp4": "bytes", "arrays": "bytes"}
    with streaming.MDSWriter(out=str(out), columns=columns, size_limit=1 << 24) as writer:
        for place in clip_places(path):
            writer.write(members(place))


if __name__ == "__main__":
    main()
