"""What the tests of trainer/data share: data modules over synthetic datasets, and batches as plain arrays."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from tests.synthetic import HEIGHT, WIDTH
from trainer.data.datamodule import RocketDataModule

WIN_LEN = 16


def make_module(*datasets: Any, **settings: Any) -> RocketDataModule:
    """A data module over datasets of tests/synthetic.py, set up; everything trains, nothing is in a process."""
    defaults: dict[str, Any] = {
        "win_len": WIN_LEN,
        "frame_width": WIDTH,
        "frame_height": HEIGHT,
        "batch_size": 4,
        "num_workers": 0,
        "split_ratio": 1.0,
        "num_lane_groups": 1,
        "seed": 5,
    }
    module = RocketDataModule(datasets=list(datasets), **{**defaults, **settings})
    module.setup()
    return module


def plain(batch: dict[str, Any]) -> dict[str, np.ndarray]:
    """A copy of a batch as arrays, nested names joined by a slash."""
    arrays: dict[str, np.ndarray] = {}
    for name, value in batch.items():
        if isinstance(value, dict):
            arrays |= {f"{name}/{inner}": array for inner, array in plain(value).items()}
        else:
            arrays[name] = value.numpy().copy()
    return arrays


def take(module: RocketDataModule, num_epochs: int = 1) -> list[dict[str, np.ndarray]]:
    """The batches of the next epochs."""
    loader = module.train_dataloader()
    return [plain(batch) for _ in range(num_epochs) for batch in loader]


def joined(ranks: Iterable[list[dict[str, np.ndarray]]]) -> list[dict[str, np.ndarray]]:
    """The global batches of all ranks' batches."""
    return [
        {
            name: np.concatenate([part[name] for part in parts]) if parts[0][name].ndim else parts[0][name]
            for name in parts[0]
        }
        for parts in zip(*ranks, strict=True)
    ]


def assert_same(found: list[dict[str, np.ndarray]], expected: list[dict[str, np.ndarray]]) -> None:
    """Both are the same batches, in the same order, byte for byte."""
    assert len(found) == len(expected)
    for number, (one, other) in enumerate(zip(found, expected, strict=True)):
        assert one.keys() == other.keys()
        for name in one:
            assert one[name].dtype == other[name].dtype
            assert np.array_equal(one[name], other[name]), f"batch {number}: {name} differs"
