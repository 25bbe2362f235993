"""Checkpoint files: whole or not there, checked, read without running code."""

import os
import pickle
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from shards.errors import RocketError
from trainer.checkpoints.checkpoint import (
    Position,
    fault_of,
    full_path,
    newest_whole,
    policy_state,
    read_checkpoint,
    read_full,
    write_checkpoint,
)

CONTENT: dict[str, Any] = {
    "state_dict": {"policy.weight": torch.arange(100_000.0)},
    "optimizer_states": [],
    "rocket": {"format": 2},
}


def save(path: Path, content: dict[str, Any] = CONTENT) -> Path:
    write_checkpoint(content, path)
    return path


def test_saved_checkpoint_reads_back_equal_and_leaves_nothing_aside(tmp_path: Path) -> None:
    path = save(tmp_path / "checkpoints" / "step-00000001.ckpt")
    assert torch.equal(read_full(path)["state_dict"]["policy.weight"], CONTENT["state_dict"]["policy.weight"])
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_failed_save_leaves_the_old_file(tmp_path: Path) -> None:
    path = save(tmp_path / "step-00000001.ckpt")
    before = path.read_bytes()
    with pytest.raises((pickle.PicklingError, AttributeError), match="local object"):
        save(path, {**CONTENT, "bad": lambda: None})
    assert path.read_bytes() == before


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_truncated_file_is_not_whole(tmp_path: Path, share: float) -> None:
    path = save(tmp_path / "step-00000001.ckpt")
    os.truncate(path, int(path.stat().st_size * share))
    assert re.match("not whole", fault_of(path) or "")


def test_one_flipped_bit_is_found_by_the_checksum(tmp_path: Path) -> None:
    path = save(tmp_path / "step-00000001.ckpt")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert re.match(r"damaged \(.*/data/0 fails its checksum\)", fault_of(path) or "")


def test_whole_file_has_no_fault(tmp_path: Path) -> None:
    assert fault_of(save(tmp_path / "step-00000001.ckpt")) is None


def test_newest_whole_checkpoint_is_taken_and_broken_ones_are_told(tmp_path: Path) -> None:
    for step in (5, 100, 20):
        save(full_path(tmp_path, step))
    (tmp_path / "checkpoints" / ".step-00000200.ckpt.part").write_bytes(b"a save that was cut off")
    os.truncate(full_path(tmp_path, 100), 1000)
    path, faults = newest_whole(tmp_path)
    assert path == full_path(tmp_path, 20)
    assert faults == [
        f"{full_path(tmp_path, 100)}: not whole (file is not a zip file); the one before it is taken."
    ]


def test_folder_without_checkpoints_gives_none(tmp_path: Path) -> None:
    assert newest_whole(tmp_path) == (None, [])


class Trap:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch trapped",)


def test_checkpoint_that_would_run_code_is_refused_and_does_not(tmp_path: Path) -> None:
    path = tmp_path / "step-00000001.ckpt"
    torch.save({"state_dict": {}, "trap": Trap()}, path)
    with pytest.raises(RocketError, match="would run code when loaded"):
        read_checkpoint(path)
    assert not Path("trapped").exists()


def test_missing_checkpoint_is_named() -> None:
    with pytest.raises(RocketError, match=r"nowhere.ckpt: no such checkpoint\. Give a \.ckpt file"):
        read_checkpoint(Path("nowhere.ckpt"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"state_dict": {}}, r"not made by rocket-train\. Start from it with policy\.init_from="),
        ({"state_dict": {}, "rocket": {"format": 9}}, "checkpoint format 9, expected 2"),
        ({"state_dict": {}, "rocket": {"format": 2}}, "holds weights alone, so a run cannot go on from it"),
    ],
)
def test_file_that_a_run_cannot_go_on_from_says_why(tmp_path: Path, content: dict[str, Any], message: str) -> None:
    path = save(tmp_path / "x.ckpt", content)
    with pytest.raises(RocketError, match=message):
        read_full(path)


def test_average_is_read_from_a_full_checkpoint_only(tmp_path: Path) -> None:
    content = {**CONTENT, "ema_state_dict": {"policy": {"weight": torch.ones(1)}, "num_updates": torch.tensor(3)}}
    assert policy_state(Path("x"), content, averaged=True)["weight"] == 1
    assert list(policy_state(Path("x"), content)) == ["weight"]
    with pytest.raises(RocketError, match=r"x: holds no moving average\. Use the -EMA\.ckpt file"):
        policy_state(Path("x"), CONTENT, averaged=True)


def test_position_is_epoch_and_step() -> None:
    assert Position.after(0, 10) == Position(0, 0, 0)
    assert Position.after(9, 10) == Position(0, 9, 9)
    assert Position.after(10, 10) == Position(1, 0, 10)
    assert Position.after(23, 10) == Position(2, 3, 23)
