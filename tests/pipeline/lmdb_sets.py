"""LMDB environments as MineStudio's program writes them."""

import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

CHUNK = 32


def write_environment(folder: Path, episodes: Mapping[str, Sequence[bytes | None]], **meta: Any) -> None:
    """An environment whose episodes have these chunks, None where one is missing."""
    lmdb = pytest.importorskip("lmdb", reason="the optional package lmdb is not installed")
    folder.mkdir(parents=True)
    infos = [
        {"episode": name, "episode_idx": number, "num_frames": CHUNK * len(chunks)}
        for number, (name, chunks) in enumerate(episodes.items())
    ]
    values = {
        "__chunk_size__": CHUNK,
        "__chunk_infos__": infos,
        "__num_episodes__": len(infos),
        "__num_total_frames__": sum(info["num_frames"] for info in infos),
        **meta,
    }
    with lmdb.open(str(folder), map_size=1 << 24) as environment, environment.begin(write=True) as transaction:
        for key, value in values.items():
            transaction.put(key.encode(), pickle.dumps(value))
        for number, chunks in enumerate(episodes.values()):
            for place, chunk in enumerate(chunks):
                if chunk is not None:
                    transaction.put(str((number, place * CHUNK)).encode(), chunk)
