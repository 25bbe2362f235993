"""A run's settings from a file or a name, checked, with what follows from the number of ranks."""

from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from shards.errors import RocketError, SettingsError, UsageError
from shards.places import on_this_machine
from shards.reader import read_info
from shards.schedule.settings import nearest_divisor
from shards.settings import check_settings, nearest, override, read_yaml
from trainer.settings import RunConfig


def config_names() -> list[str]:
    """Names that stand for a file, wherever the project is installed."""
    folder = resources.files("configs")
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def config_path(name_or_path: str) -> Path:
    """The file that a CONFIG argument means: a path, or a name in configs/.

    Raises:
        SettingsError: it is neither; the nearest name is suggested.
    """
    path = Path(name_or_path)
    if path.is_file():
        return path
    names = config_names()
    if name_or_path.removesuffix(".yaml") in names:
        return Path(str(resources.files("configs") / f"{name_or_path.removesuffix('.yaml')}.yaml"))
    meant = nearest(name_or_path, names)
    hint = f" Did you mean {meant}?" if meant else ""
    raise SettingsError([f"{name_or_path}: no such file, expected a path or one of {', '.join(names)}.{hint}"])


def load_config(name_or_path: str, overrides: Sequence[str] = ()) -> RunConfig:
    """The checked settings of a file with `key=value` overrides applied in order.

    A file may name another as its `base`, whose settings stand where it has none.

    Raises:
        SettingsError: with every problem of file and overrides, a line each.
        UsageError: an override has no `=`.
    """
    path = config_path(name_or_path)
    content = read_yaml(path)
    while (base := content.pop("base", None)) is not None:
        content = _laid_over(read_yaml(config_path(str(base))), content)
    config = parse_config(content, path.name, overrides)
    given = [word.partition("=")[0] for word in overrides]
    if config.data.num_lanes is not None and "data.batch_size" in given and "data.num_lanes" not in given:
        problem = f"{path.name}: data.batch_size: has no effect beside data.num_lanes = {config.data.num_lanes}."
        raise SettingsError([f"{problem} Use data.num_lanes instead, or set data.num_lanes=null."])
    return config


def _laid_over(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Both, with the values of `above` where both have one."""
    both = below | above
    for key in below.keys() & above.keys():
        if isinstance(below[key], dict) and isinstance(above[key], dict):
            both[key] = _laid_over(below[key], above[key])
    return both


def parse_config(content: Any, where: str, overrides: Sequence[str] = ()) -> RunConfig:
    """The checked settings of a plain dict, as a checkpoint holds them, with overrides on top.

    Raises:
        SettingsError: with every problem, a line each; `where` names the source.
        UsageError: an override has no `=`.
    """
    return check_settings(RunConfig, override(content, overrides, where), where)


def check_places(config: RunConfig) -> None:
    """Return if the run's folder can be one, and its datasets are there; all of it without torch."""
    for key, place in (("run_dir", config.run_dir), ("data.cache_dir", config.data.cache_dir)):
        try:
            on_this_machine(place)
        except RocketError as error:
            raise SettingsError([f"{key}: {error}"]) from None
    for dataset in config.data.datasets:
        read_info(dataset.path)


def go_on_in(config: RunConfig, run_dir: str, overrides: Sequence[str]) -> RunConfig:
    """The settings with that folder as the run's, for `--resume RUN_DIR`.

    Raises:
        UsageError: an override names another folder, or the folder holds no run.
    """
    if any(word.startswith("run_dir=") for word in overrides) and Path(run_dir) != Path(config.run_dir):
        raise UsageError(
            f"--resume {run_dir}: run_dir={config.run_dir} names another folder. Give one of the two."
        )
    if not (Path(run_dir) / "checkpoints").is_dir():
        raise UsageError(
            f"--resume {run_dir}: no checkpoints in this folder. Give the folder of a run, its run_dir."
        )
    return config.model_copy(update={"run_dir": run_dir})


def resolve_lanes(config: RunConfig, num_ranks: int) -> RunConfig:
    """The settings with batch_size, num_lanes and micro_lanes all filled in for this many ranks.

    Raises:
        SettingsError: the lanes do not divide among the ranks, or a rank's lanes not into micro-batches.
    """
    num_lanes = config.data.num_lanes or config.data.batch_size * num_ranks
    if num_lanes % num_ranks:
        below = num_lanes // num_ranks * num_ranks
        choices = " or ".join(str(n) for n in (below, below + num_ranks) if n)
        problem = f"data.num_lanes = {num_lanes} is not divisible by {num_ranks} ranks."
        raise SettingsError([f"{problem} Use {choices}."])
    per_rank = num_lanes // num_ranks
    micro_lanes = min(config.trainer.micro_lanes or per_rank, per_rank)
    if per_rank % micro_lanes:
        problem = f"trainer.micro_lanes: got {micro_lanes}, expected a divisor of the {per_rank} lanes of a rank."
        raise SettingsError([f"{problem} Use {nearest_divisor(per_rank, micro_lanes)}."])
    data = config.data.model_copy(update={"batch_size": per_rank, "num_lanes": num_lanes})
    trainer = config.trainer.model_copy(update={"micro_lanes": micro_lanes})
    return config.model_copy(update={"data": data, "trainer": trainer})
