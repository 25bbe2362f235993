"""Settings from files and `key=value` overrides, checked as a whole before anything starts.

OmegaConf only reads (PyYAML would take `1e-4` for a string); pydantic holds the types and refuses unknown keys.
The settings themselves are in trainer/settings.py.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import BaseModel, ValidationError
from yaml import YAMLError  # type: ignore[import-untyped]

from shards.errors import RocketError
from trainer.settings import ObjectiveConfig, RunConfig


class ConfigError(RocketError):
    """The settings are wrong; `problems` holds one finished line for each thing to mend."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = list(problems)


class UsageError(RocketError):
    """The command line itself is malformed; commands end with status 2."""


def config_names() -> list[str]:
    """Names that stand for a file, wherever the project is installed."""
    folder = resources.files("configs")
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def config_path(name_or_path: str) -> Path:
    """The file that a CONFIG argument means: a path, or a name in configs/.

    Raises:
        ConfigError: it is neither; the nearest name is suggested.
    """
    path = Path(name_or_path)
    if path.is_file():
        return path
    names = config_names()
    if name_or_path.removesuffix(".yaml") in names:
        return Path(str(resources.files("configs") / f"{name_or_path.removesuffix('.yaml')}.yaml"))
    hint = _nearest(name_or_path, names)
    raise ConfigError([f"{name_or_path}: no such file, expected a path or one of {', '.join(names)}.{hint}"])


def load_config(name_or_path: str, overrides: Sequence[str] = ()) -> RunConfig:
    """The checked settings of a file with `key=value` overrides applied in order.

    Raises:
        ConfigError: with every problem of file and overrides, a line each.
        UsageError: an override has no `=`.
    """
    path = config_path(name_or_path)
    try:
        tree = OmegaConf.load(path)
    except (YAMLError, OmegaConfBaseException, OSError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path}: not readable as YAML: {_first_line(error)}. Mend the file."]) from error
    where = path.name
    if not OmegaConf.is_dict(tree):
        raise ConfigError(
            [f"{where}: holds {type(OmegaConf.to_object(tree)).__name__}, expected key: value lines."]
        )
    return parse_config(_overridden(tree, overrides, where), where)


def apply_overrides(content: dict[str, Any], overrides: Sequence[str], where: str) -> dict[str, Any]:
    """The nested dict with `key=value` overrides applied in order.

    Raises:
        ConfigError: an override that cannot be read or placed.
        UsageError: one has no `=`.
    """
    return _overridden(OmegaConf.create(content), overrides, where)


def _overridden(tree: Any, overrides: Sequence[str], where: str) -> dict[str, Any]:
    problems = []
    for override in overrides:
        key, separator, text = override.partition("=")
        if not separator or not key:
            raise UsageError(f"{override}: not an override, expected KEY=VALUE, such as trainer.max_steps=100.")
        try:
            value = OmegaConf.from_dotlist([f"value={text}"])["value"]
            OmegaConf.update(tree, key, value, merge=False, force_add=True)
        except (YAMLError, OmegaConfBaseException, ValueError, TypeError, IndexError, AttributeError) as error:
            problems.append(f"{where}: {key} cannot be set to {text!r}: {_first_line(error)}.")
    try:
        content = OmegaConf.to_container(tree, resolve=True)
    except OmegaConfBaseException as error:
        problems.append(f"{where}: {_first_line(error)}.")
    if problems:
        raise ConfigError(problems)
    return content  # type: ignore[return-value]


def parse_config(content: Any, where: str) -> RunConfig:
    """The checked settings of a plain dict, as a checkpoint holds them.

    Args:
        content: nested dict of the keys of `RunConfig`.
        where: what to call the source in messages.

    Raises:
        ConfigError: with every problem, a line each.
    """
    found: list[str] = []
    config = None
    try:
        config = RunConfig.model_validate(content)
    except ValidationError as error:
        found += _describe_all(error.errors(), where)
    if config is not None:
        found += [f"{where}: {problem}" for problem in contradictions(config)]
    if config is None or found:
        raise ConfigError(list(dict.fromkeys(found)))
    return config


def contradictions(config: RunConfig) -> Iterator[str]:
    """Yield what no single field can know: settings that do not fit each other."""
    policy, data, trainer = config.policy, config.data, config.trainer
    if policy.timesteps is not None and policy.timesteps != data.win_len:
        yield (
            f"policy.timesteps = {policy.timesteps} is not data.win_len = {data.win_len}; "
            "a window is what the policy gets in one step. Set both to one value."
        )
    if policy.hiddim % policy.num_heads:
        divisors = [n for n in range(1, policy.hiddim + 1) if policy.hiddim % n == 0]
        nearest = sorted(divisors, key=lambda n: abs(n - policy.num_heads))[:2]
        yield (
            f"policy.hiddim = {policy.hiddim} is not divisible by policy.num_heads = {policy.num_heads}. "
            f"Use {' or '.join(str(n) for n in sorted(nearest))} heads."
        )
    if trainer.max_steps is None and trainer.max_epochs is None:
        yield "trainer.max_steps and trainer.max_epochs are both null, so the run would never end. Set one."
    if not config.objectives:
        yield "objectives is empty, expected at least one. Add: - name: behavior_cloning"
    for index, objective in enumerate(config.objectives):
        if objective.name == "kl_to_teacher" and objective.teacher is None:
            yield f"objectives[{index}].teacher is null, expected the teacher's checkpoint. Set its path."
        if objective.name != "kl_to_teacher" and objective.teacher is not None:
            yield f"objectives[{index}].teacher is set, but {objective.name} has no teacher. Remove it."
    if policy.backbone_weights is not None and not policy.pretrained:
        yield "policy.backbone_weights is set, but policy.pretrained is false. Set policy.pretrained=true."
    if data.frame_width % 2 or data.frame_height % 2:
        yield (
            f"data.frame_width and data.frame_height = {data.frame_width} and {data.frame_height}, expected even "
            "numbers: video stores one colour for 2 x 2 pixels. Use the datasets' own size."
        )


def resolve_lanes(config: RunConfig, num_ranks: int) -> RunConfig:
    """The settings with batch_size and num_lanes both filled in for this many ranks.

    Raises:
        ConfigError: num_lanes is given and does not divide among the ranks.
    """
    data = config.data
    if data.num_lanes is None:
        return config.model_copy(
            update={"data": data.model_copy(update={"num_lanes": data.batch_size * num_ranks})}
        )
    if data.num_lanes % num_ranks:
        below = data.num_lanes // num_ranks * num_ranks
        choices = " or ".join(str(n) for n in (below, below + num_ranks) if n)
        raise ConfigError(
            [f"data.num_lanes = {data.num_lanes} is not divisible by {num_ranks} ranks. Use {choices}."]
        )
    return config.model_copy(update={"data": data.model_copy(update={"batch_size": data.num_lanes // num_ranks})})


def all_keys(model: type[BaseModel] = RunConfig, prefix: str = "") -> list[str]:
    """Every key that a file or override may set, dotted, in order."""
    keys = []
    for name, field in model.model_fields.items():
        annotation = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            keys += all_keys(annotation, f"{prefix}{name}.")
        else:
            keys.append(prefix + name)
    return keys


_EXPECTED = {
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "text",
    "list_type": "a list",
    "model_type": "key: value lines",
    "model_attributes_type": "key: value lines",
    "greater_than": "more than {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
    "literal_error": "{expected}",
}
_UNION_BRANCHES = {"constrained-int", "literal['auto']"}  # pydantic adds the tried branch to a field's place


def _describe_all(found: Sequence[Any], where: str) -> list[str]:
    """Put pydantic's findings into the house's words, one line a key."""
    wrong_values: dict[str, tuple[Any, list[str]]] = {}
    lines = []
    for problem in found:
        parts = [part for part in problem["loc"] if part not in _UNION_BRANCHES]
        key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts).lstrip(".")
        if problem["type"] == "extra_forbidden":
            section = key.rpartition(".")[0]
            in_list = "[" in section
            keys = [f"{section}.{name}" for name in ObjectiveConfig.model_fields] if in_list else all_keys()
            keys += [] if section else list(RunConfig.model_fields)
            lines.append(f"{where}: {key} is an unknown key.{_nearest(key, keys)}")
        elif problem["type"] == "missing":
            lines.append(f"{where}: {key} is missing. Add it.")
        else:
            expected = _EXPECTED.get(problem["type"], problem["msg"]).format(**problem.get("ctx", {}))
            wrong_values.setdefault(key, (problem["input"], []))[1].append(expected)
    for key, (given, expected_any) in wrong_values.items():
        expected = " or ".join(expected_any)
        hint = _nearest(str(given), expected.replace("'", "").replace(" or ", ", ").split(", "))
        lines.append(f"{where}: {key} has the wrong value, got {given!r}, expected {expected}.{hint}")
    return lines


def _nearest(word: str, candidates: Sequence[str]) -> str:
    """A sentence that offers the nearest candidate, or nothing."""
    by_last_part = {candidate.rpartition(".")[2]: candidate for candidate in candidates}
    close = difflib.get_close_matches(word, candidates, n=1, cutoff=0.7)
    if not close:
        close = [
            by_last_part[part]
            for part in difflib.get_close_matches(word.rpartition(".")[2], list(by_last_part), n=1, cutoff=0.7)
        ]
    return f" Did you mean {close[0]}?" if close else ""


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].rstrip(".")
