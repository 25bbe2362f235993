"""Settings of a training run: YAML plus `key=value` overrides, checked as a whole before anything starts.

OmegaConf only reads (PyYAML would take `1e-4` for a string); pydantic holds the types and refuses unknown keys.
Every field says beside it what it means, and in which unit.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from yaml import YAMLError  # type: ignore[import-untyped]

from shards.errors import RocketError

PositiveInt = Annotated[int, Field(gt=0)]
NotNegativeInt = Annotated[int, Field(ge=0)]
PositiveFloat = Annotated[float, Field(gt=0.0)]
NotNegativeFloat = Annotated[float, Field(ge=0.0)]
Share = Annotated[float, Field(gt=0.0, le=1.0)]
Decay = Annotated[float, Field(gt=0.0, lt=1.0)]
AboveOne = Annotated[float, Field(gt=1.0)]
Strings = Annotated[list[str], BeforeValidator(lambda value: [value] if isinstance(value, str) else value)]
WandbMode = Annotated[
    Literal["auto", "online", "offline", "off"],
    BeforeValidator(lambda value: "off" if value is False else value),  # YAML reads a bare `off` as false
]


class ConfigError(RocketError):
    """The settings are wrong; `problems` holds one finished line for each thing to mend."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = list(problems)


class UsageError(RocketError):
    """The command line itself is malformed; commands end with status 2."""


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, protected_namespaces=())


class DataConfig(Section):
    datasets: Strings = []  # folders or addresses that rocket-prep build-shards wrote, read as one
    win_len: PositiveInt = 128  # frames in a window: what a lane gets in one step
    frame_width: PositiveInt = 224  # pixels; the datasets' own
    frame_height: PositiveInt = 224  # pixels; the datasets' own
    enable_segment: bool = True  # show the policy each frame's object mask and interaction type
    batch_size: PositiveInt = 8  # lanes of one rank
    num_lanes: PositiveInt | None = None  # lanes of all ranks; when given, batch_size becomes num_lanes / ranks
    num_workers: NotNegativeInt = 8  # loader processes of one rank; 0 decodes in the training process
    prefetch_factor: PositiveInt = 4  # windows that each loader process keeps ready; two batches are at least
    split_ratio: Share = 0.95  # share of the episodes that train; the rest validates
    shuffle_episodes: bool = True  # draw the split and each epoch's order by the seed; false: as stored
    episode_continuous_batch: bool = True  # lanes of contiguous windows; false: shuffled windows, no memory
    num_lane_groups: PositiveInt | None = None  # groups of lanes that shards are tied to; null: one a rank
    augment: bool = False  # vary colour and frame geometry, drawn once for a lane's episode
    max_damaged_windows: NotNegativeInt = 0  # windows that damage may cost a rank before the run stops
    cache_dir: str | None = None  # local folder for copies of shards that lie at an address; null: none are kept
    cache_gb: PositiveFloat = 100.0  # gigabytes that the copies of all ranks of a machine may take together


class PolicyConfig(Section):
    backbone: str = "efficientnet_b0.ra_in1k"  # timm model that sees picture and mask (4 channels)
    hiddim: PositiveInt = 1024  # width of the hidden vectors
    num_heads: PositiveInt = 8  # attention heads, in the pooling and over time; divides hiddim
    num_layers: PositiveInt = 4  # transformer blocks over time
    timesteps: PositiveInt | None = None  # frames in a window; null: data.win_len, and else equal to it
    mem_len: NotNegativeInt = 128  # past frames whose keys and values each block remembers
    pretrained: bool = True  # start the backbone from timm's published weights
    backbone_weights: str | None = None  # local file with those weights; null: from timm's hub
    init_from: str | None = None  # weights to start from: checkpoint, MineStudio .ckpt, Hugging Face folder or id
    batch_norm: Literal["per_rank", "synchronised", "frozen"] = "per_rank"  # frames that batch statistics cover


class ObjectiveConfig(Section):
    name: Literal["behavior_cloning", "kl_to_teacher"]  # which loss
    weight: float = 1.0  # factor on it
    reduction: Literal["mean", "sum"] = "mean"  # mean of the frames that count; or a window's sum, mean of lanes
    teacher: str | None = None  # kl_to_teacher: the frozen policy, a source as for policy.init_from


class OptimizerConfig(Section):
    learning_rate: PositiveFloat = 4e-5  # AdamW's step size after warm-up
    weight_decay: NotNegativeFloat = 1e-3  # AdamW's decoupled decay
    warmup_steps: NotNegativeInt = 2000  # steps in which the learning rate rises linearly
    gradient_clip: PositiveFloat | None = 1.0  # largest norm of all gradients together; null: no limit


class TrainerConfig(Section):
    max_steps: PositiveInt | None = None  # optimizer steps after which the run ends; null: max_epochs decides
    max_epochs: PositiveInt | None = None  # passes over the training split; null: max_steps decides
    devices: PositiveInt | Literal["auto"] = "auto"  # ranks on one machine; auto: one for each GPU, or one
    num_nodes: PositiveInt = 1  # machines
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"  # where ranks compute; auto: GPUs where there are some
    precision: Literal["32-true", "bf16-mixed"] = "bf16-mixed"  # number format of the computation
    save_every: PositiveInt = 1000  # steps between checkpoints
    val_every: PositiveInt | None = 1000  # steps between validations; null: never
    limit_val_steps: PositiveInt | None = None  # steps of one validation; null: the whole split
    compile: bool = False  # torch.compile the policy's layers
    activation_checkpointing: bool = False  # compute layers again in the backward pass, to save memory
    memory: Literal["carry", "reset"] = "carry"  # keep a lane's memory from window to window, or forget it
    spike_factor: AboveOne | None = 10.0  # stop at a loss this many times its running mean; null: only at NaN


class ValidationConfig(Section):
    watch_events: Strings = []  # frames whose interaction's event holds one of these get a loss of their own
    compare_memory: bool = True  # also the loss without carried memory; validation takes twice as long


class EmaConfig(Section):
    enabled: bool = True  # keep an exponential moving average of the weights
    decay: Decay = 0.999  # what an update keeps of the old average
    every_n_steps: PositiveInt = 8  # steps between updates
    validate_original_weights: bool = True  # validate the weights themselves, not the average
    cpu_offload: bool = False  # keep the average in the machine's memory, not in the GPU's


class LoggingConfig(Section):
    wandb: WandbMode = "auto"  # auto: online where there is a key, else offline into run_dir
    project: str = "rocket1"  # the project's name in wandb
    page: bool = True  # leave a page with the run's curves in run_dir when it ends


class RunConfig(Section):
    run_dir: str = "runs/rocket1"  # folder for metrics.csv and checkpoints
    seed: NotNegativeInt = 0  # draws the split, the order, goals, first weights and dropout
    log_freq: PositiveInt = 20  # steps between lines in metrics.csv and wandb
    data: DataConfig = DataConfig()
    policy: PolicyConfig = PolicyConfig()
    objectives: list[ObjectiveConfig] = [ObjectiveConfig(name="behavior_cloning")]  # losses, added up
    optimizer: OptimizerConfig = OptimizerConfig()
    trainer: TrainerConfig = TrainerConfig()
    validation: ValidationConfig = ValidationConfig()
    ema: EmaConfig = EmaConfig()
    logging: LoggingConfig = LoggingConfig()

    @property
    def timesteps(self) -> int:
        """Frames in a window, as the policy sees them."""
        return self.data.win_len

    def policy_arguments(self) -> dict[str, Any]:
        """What `RocketPolicy` needs to be built in this shape; no weights."""
        policy = self.policy
        return {
            "backbone": policy.backbone,
            "hiddim": policy.hiddim,
            "num_heads": policy.num_heads,
            "num_layers": policy.num_layers,
            "timesteps": self.timesteps,
            "mem_len": policy.mem_len,
        }


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


OBJECTIVE_NAMES: tuple[str, ...] = get_args(ObjectiveConfig.model_fields["name"].annotation)
