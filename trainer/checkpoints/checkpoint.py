"""Checkpoints as files: written aside and renamed, checked before they are trusted, read without running code.

    RUN_DIR/checkpoints/step-00002000.ckpt       everything: the last two
    RUN_DIR/weights/step-00002000.ckpt           weights alone: all
    RUN_DIR/weights/step-00002000-EMA.ckpt       their moving average

A full checkpoint is Lightning's dict with one more entry, `rocket`: format, position, lanes' memories, counts.
Lightning's loop counters in it follow from the position alone (`lightning_parts.loop_state`).
"""

import hashlib
import io
import pickle
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from shards.errors import RocketError, first_line
from trainer.checkpoints.disk import write_atomically, write_when_room
from trainer.settings import RunConfig

FORMAT = 2
FULL_FOLDER, WEIGHTS_FOLDER = "checkpoints", "weights"
EMA_SUFFIX = "-EMA"
AVERAGE_KEY = "ema_state_dict"
"""Where a full checkpoint keeps the moving average; its `state_dict` holds the weights themselves."""
_NAME = re.compile(r"step-(\d{8})\.ckpt")


@dataclass(frozen=True)
class Position:
    """Where a run stands: so many steps of this epoch are done."""

    epoch: int
    step: int
    global_step: int

    @classmethod
    def after(cls, global_step: int, steps_per_epoch: int) -> Self:
        """The position after so many steps since the run's start."""
        epoch, step = divmod(global_step, steps_per_epoch)
        return cls(epoch, step, global_step)


def write_checkpoint(content: Mapping[str, Any], path: Path) -> None:
    """The file is whole under its final name, also after a power cut: written aside, flushed, renamed.

    Raises:
        RocketError: the disk was full, and nobody made room.
    """
    buffer = io.BytesIO()
    torch.save(content, buffer)
    whole = buffer.getbuffer()
    write_when_room(lambda: write_atomically(path, whole), path, len(whole))


def hyper_parameters(config: RunConfig) -> dict[str, Any]:
    """What every checkpoint says about its run; `model` is what MineStudio's loader asks for."""
    return {"model": config.policy_arguments(), "config": config.model_dump()}


def write_weights(
    path: Path,
    state: Mapping[str, Tensor],
    config: RunConfig,
    *,
    averaged: bool = False,
    counts: Mapping[str, Tensor] | None = None,
    epoch: int = 0,
    global_step: int = 0,
) -> None:
    """The file holds a policy's weights, or their average, as a checkpoint that Lightning and MineStudio read.

    Args:
        config: the settings that the policy was made with.
        counts: how often each action was trained on, for the best constant guess.
        epoch, global_step: of the training.
    """
    content = {
        "pytorch-lightning_version": version("lightning"),
        "epoch": epoch,
        "global_step": global_step,
        "hyper_parameters": hyper_parameters(config),
        "state_dict": {f"policy.{name}": tensor for name, tensor in state.items()},
        "rocket": {"format": FORMAT, "averaged": averaged, "counts": counts},
    }
    write_checkpoint(content, path)


def full_path(run_dir: Path, global_step: int) -> Path:
    return run_dir / FULL_FOLDER / f"step-{global_step:08d}.ckpt"


def weights_path(run_dir: Path, global_step: int, averaged: bool = False) -> Path:
    suffix = EMA_SUFFIX if averaged else ""
    return run_dir / WEIGHTS_FOLDER / f"step-{global_step:08d}{suffix}.ckpt"


def full_checkpoints(run_dir: Path) -> list[Path]:
    """The run's full checkpoints, oldest first."""
    return sorted(path for path in (run_dir / FULL_FOLDER).glob("step-*") if _NAME.fullmatch(path.name))


def newest_weights(run_dir: Path) -> Path | None:
    """The run's newest weights that are no average."""
    found = (path for path in (run_dir / WEIGHTS_FOLDER).glob("step-*") if _NAME.fullmatch(path.name))
    return max(found, default=None)


def step_of(path: Path) -> int:
    """The number of steps in a checkpoint's name."""
    match = _NAME.fullmatch(path.name)
    assert match is not None, path
    return int(match.group(1))


def fault_of(path: Path) -> str | None:
    """What is wrong with the file, or None: every byte is compared with its checksum."""
    try:
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
    except (zipfile.BadZipFile, OSError, EOFError, ValueError) as error:
        return f"not whole ({first_line(error).lower()})"
    return None if broken is None else f"damaged ({broken} fails its checksum)"


def content_hash(path: Path) -> str:
    """A short hash over the names, sizes and checksums of all that a whole checkpoint holds.

    Raises:
        RocketError: it is not a whole checkpoint.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = [(entry.filename, entry.file_size, entry.CRC) for entry in archive.infolist()]
    except (zipfile.BadZipFile, OSError) as error:
        raise RocketError(f"{path}: not readable: {error}. Use an older checkpoint of the run.") from error
    return hashlib.sha256(repr(entries).encode()).hexdigest()[:16]


def newest_whole(run_dir: Path) -> tuple[Path | None, list[str]]:
    """The newest full checkpoint that is whole, and a line for each newer one that is not."""
    faults: list[str] = []
    for path in reversed(full_checkpoints(run_dir)):
        fault = fault_of(path)
        if fault is None:
            return path, faults
        faults.append(f"{path}: {fault}; the one before it is taken.")
    return None, faults


def set_aside(run_dir: Path, chosen: Path) -> None:
    """Rename broken checkpoints that are newer than the chosen one, so that nobody counts on them."""
    for path in full_checkpoints(run_dir):
        if chosen.parent == path.parent and path.name > chosen.name:
            path.rename(path.with_name(path.name + ".broken"))


def checkpoint_in(path: Path) -> Path:
    """The path; of a run's folder its newest weights, or else its newest full checkpoint.

    Raises:
        RocketError: the folder holds neither.
    """
    if not path.is_dir():
        return path
    found = newest_weights(path) or next(reversed(full_checkpoints(path)), None)
    if found is None:
        raise RocketError(f"{path}: no checkpoint in this folder. Give the folder of a run, or a checkpoint.")
    return found


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The checkpoint's dict, tensors on the CPU.

    Raises:
        RocketError: no such file, not a checkpoint, or one that would run code.
    """
    if not path.is_file():
        raise RocketError(f"{path}: no such checkpoint. Give a .ckpt file, or --resume auto.")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise RocketError(
            f"{path}: holds more than numbers and would run code when loaded. Use a checkpoint of rocket-train."
        ) from error
    except (RuntimeError, EOFError, OSError, zipfile.BadZipFile) as error:
        raise RocketError(
            f"{path}: not readable: {first_line(error)}. Use an older checkpoint of the run."
        ) from error
    if not isinstance(content, dict) or "state_dict" not in content:
        raise RocketError(f"{path}: not a checkpoint, expected a dict with state_dict.")
    return content


def read_full(path: Path) -> dict[str, Any]:
    """A checkpoint that a run can go on from.

    Raises:
        RocketError: it is none, or of a format that is not known here.
    """
    content = read_checkpoint(path)
    rocket = content.get("rocket")
    if not isinstance(rocket, dict):
        raise RocketError(f"{path}: not made by rocket-train. Start from it with policy.init_from={path}.")
    if rocket.get("format") != FORMAT:
        raise RocketError(
            f"{path}: checkpoint format {rocket.get('format')}, expected {FORMAT}. Use the version that wrote it."
        )
    if "optimizer_states" not in content:
        raise RocketError(
            f"{path}: holds weights alone, so a run cannot go on from it. Use one of the folder {FULL_FOLDER}, or "
            f"start a new run with policy.init_from={path}."
        )
    return content


def policy_state(path: Path, content: Mapping[str, Any], averaged: bool = False) -> dict[str, Tensor]:
    """The policy's weights in a checkpoint, or their moving average.

    Raises:
        RocketError: there is no average in it.
    """
    if not averaged:
        prefix = "policy."
        state = content["state_dict"]
        return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
    if AVERAGE_KEY not in content:
        raise RocketError(f"{path}: holds no moving average. Use the {EMA_SUFFIX}.ckpt file beside its weights.")
    average: dict[str, Tensor] = content[AVERAGE_KEY]["policy"]
    return average
