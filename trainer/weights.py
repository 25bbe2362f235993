"""A policy's weights in and out: MineStudio's checkpoints, Hugging Face folders and repositories, safetensors.

The parameters carry MineStudio's names, so the two directions differ only in what surrounds the names.
"""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from shards.errors import RocketError, first_line
from trainer.checkpoints.disk import write_atomically
from trainer.settings import POLICY_SHAPE

MINESTUDIO_PREFIX = "mine_policy."
"""MineLightning's checkpoints put it before every name."""
OUR_PREFIX = "policy."
WEIGHTS_FILES = ("model.safetensors", "pytorch_model.bin")
CONFIG_FILE = "config.json"

StateDict = dict[str, Tensor]


@dataclass(frozen=True)
class Weights:
    """Weights by the policy's names, and the policy settings found beside them."""

    state_dict: StateDict
    settings: dict[str, Any]
    source: str


def from_minestudio(state_dict: Mapping[str, Tensor]) -> StateDict:
    """The policy's state dict of MineStudio's, of a MineLightning checkpoint's, or of one of ours."""
    return {name.removeprefix(MINESTUDIO_PREFIX).removeprefix(OUR_PREFIX): x for name, x in state_dict.items()}


def to_minestudio(state_dict: Mapping[str, Tensor]) -> StateDict:
    """MineStudio's state dict of the policy's, on the CPU and contiguous.

    Takes the policy's own state dict or a training module's, of which it keeps the policy.
    """
    names = {name: name.replace("_orig_mod.", "") for name in state_dict}  # torch.compile's wrapper
    if any(name.startswith(OUR_PREFIX) for name in names.values()):
        names = {old: new.removeprefix(OUR_PREFIX) for old, new in names.items() if new.startswith(OUR_PREFIX)}
    return {new: state_dict[old].detach().cpu().contiguous() for old, new in names.items()}


def read_weights(source: str | Path) -> Weights:
    """Weights by the policy's names: of a checkpoint, a Hugging Face folder or repository id, a safetensors file.

    Args:
        source: a Lightning `.ckpt`, a `.safetensors` file, a folder with `model.safetensors` and
            `config.json`, or a repository id such as `CraftJarvis/MineStudio_ROCKET-1.12w_EMA`.

    Raises:
        RocketError: nothing there, or not weights, or not readable without running code from the file.
    """
    text = str(source)
    if os.path.isdir(text):
        return _read_folder(Path(text))
    if os.path.isfile(text):
        return _read_file(Path(text), {})
    if re.fullmatch(r"[\w-]+/[\w.-]+", text) and Path(text).suffix not in (".ckpt", ".safetensors", ".pt", ".bin"):
        return _read_repository(text)
    raise RocketError(
        f"{text}: no such file or folder, expected a .ckpt or .safetensors file, a Hugging Face folder "
        "or a repository as owner/name."
    )


def load_weights(policy: nn.Module, weights: Weights) -> None:
    """The policy has exactly these weights.

    Raises:
        RocketError: names are missing or unexpected, or shapes differ; all of them are listed.
    """
    expected = policy.state_dict()
    got = weights.state_dict
    problems = [
        f"shape of {name}: got {tuple(got[name].shape)}, expected {tuple(tensor.shape)}"
        for name, tensor in expected.items()
        if name in got and got[name].shape != tensor.shape
    ]
    problems += [f"missing: {name}" for name in expected if name not in got]
    problems += [f"unexpected: {name}" for name in got if name not in expected]
    if problems:
        raise RocketError(
            f"{weights.source}: weights do not fit the policy, {len(problems)} names differ"
            f"{_settings_hint(weights)}.\n  " + "\n  ".join(problems)
        )
    policy.load_state_dict(got, strict=True)


def export_weights(
    state_dict: Mapping[str, Tensor], out: str | Path, settings: Mapping[str, Any] | None = None
) -> Path:
    """MineStudio's class loads `out` with strict=True; the path of the weights file.

    Args:
        state_dict: the policy's or a training module's, raw or averaged.
        out: a `.safetensors` file, or a folder for `from_pretrained` that gets `config.json` too.
        settings: the policy's (`policy.config`), for the folder.
    """
    out = Path(out)
    tensors = to_minestudio(state_dict)
    if out.suffix == ".safetensors":
        path = out
    else:
        out.mkdir(parents=True, exist_ok=True)
        path = out / WEIGHTS_FILES[0]
        (out / CONFIG_FILE).write_text(json.dumps(_shape(settings or {}), indent=2) + "\n")
    write_atomically(path, safetensors.torch.save(tensors, metadata={"format": "pt"}))
    return path


def _read_folder(folder: Path) -> Weights:
    settings: dict[str, Any] = {}
    if (folder / CONFIG_FILE).is_file():
        settings = _shape(json.loads((folder / CONFIG_FILE).read_text()))
    for name in WEIGHTS_FILES:
        if (folder / name).is_file():
            return _read_file(folder / name, settings)
    raise RocketError(f"{folder}: no weights, expected {' or '.join(WEIGHTS_FILES)} in the folder.")


def _read_repository(repository: str) -> Weights:
    from huggingface_hub import hf_hub_download

    try:
        config = Path(hf_hub_download(repository, CONFIG_FILE))
        hf_hub_download(repository, WEIGHTS_FILES[0])
    except Exception as error:  # the hub's client lets its transport's errors through
        raise RocketError(
            f"{repository}: not a file or folder here, and not to be had from the Hugging Face hub: "
            f"{first_line(error)}. Download it elsewhere and give the folder's path."
        ) from error
    weights = _read_folder(config.parent)
    return Weights(weights.state_dict, weights.settings, repository)


def _read_file(path: Path, settings: dict[str, Any]) -> Weights:
    if path.suffix == ".safetensors":
        try:
            return Weights(from_minestudio(safetensors.torch.load_file(path)), settings, str(path))
        except SafetensorError as error:
            raise RocketError(f"{path}: not a complete safetensors file: {error}. Download it again.") from error
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # bytes that are no pickle fail in any way they like
        foreign = re.search(r"GLOBAL (\S+)", str(error))
        if foreign is not None:
            raise RocketError(
                f"{path}: holds more than weights ({foreign.group(1)}), loading it could run code. "
                "Save its state_dict alone, or as safetensors, where you trust it."
            ) from error
        raise RocketError(f"{path}: not a checkpoint that torch can read: {first_line(error)}.") from error
    if not isinstance(content, dict):
        raise RocketError(f"{path}: not a checkpoint, got a {type(content).__name__}, expected a state dict.")
    hyperparameters = content.get("hyper_parameters") or {}
    if isinstance(hyperparameters, dict) and isinstance(hyperparameters.get("model"), dict):
        settings = settings or _shape(hyperparameters["model"])
    state_dict = content.get("state_dict", content)
    if not state_dict or not all(isinstance(value, Tensor) for value in state_dict.values()):
        raise RocketError(f"{path}: no weights inside, got the keys {sorted(map(str, content))[:8]}.")
    return Weights(from_minestudio(state_dict), settings, str(path))


def _shape(config: Mapping[str, Any]) -> dict[str, Any]:
    return {name: config[name] for name in POLICY_SHAPE if name in config}


def _settings_hint(weights: Weights) -> str:
    if not weights.settings:
        return ""
    return "; they were made with " + ", ".join(
        f"policy.{name}={value}" for name, value in weights.settings.items()
    )
