"""What can be set in a training run: types, meanings with their units, defaults.

Each setting is `free` to change when a run goes on, or `fixed`; trainer/changes.py reads these marks and compares.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BeforeValidator,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    SerializerFunctionWrapHandler,
    model_serializer,
)

from shards.errors import SettingsError
from shards.settings import Section, check_settings, setting

free = partial(setting, resume="free")
"""A setting that may change when a run goes on: where, how fast, or how it learns from then on."""
fixed = partial(setting, resume="fixed")
"""A setting with another value of which a run would be a different one."""

EvenInt = Annotated[int, Field(gt=0, multiple_of=2)]  # video stores one colour for 2 x 2 pixels
Share = Annotated[float, Field(gt=0.0, le=1.0)]
Decay = Annotated[float, Field(gt=0.0, lt=1.0)]
AboveOne = Annotated[float, Field(gt=1.0)]
_WORDS = BeforeValidator(lambda value: value.split(",") if isinstance(value, str) else value)
"""`a,b` is a list on a command line: brackets would need quotes in zsh."""
Strings = Annotated[list[str], _WORDS]
WandbMode = Annotated[
    Literal["auto", "online", "offline", "off"],
    BeforeValidator(lambda value: "off" if value is False else value),  # YAML reads a bare `off` as false
]


class DatasetConfig(Section):
    path: str = free(..., "folder or address that rocket-prep build-shards wrote")
    weight: PositiveFloat | None = free(None, "share of the windows, relative to the others; null: by its size")

    @model_serializer(mode="wrap")
    def _short(self, fields: SerializerFunctionWrapHandler) -> Any:
        return self.path if self.weight is None else fields(self)


def _entries(value: Any) -> Any:
    """Datasets as records: a path stands for itself, and `a,b` is a list as for `Strings`."""
    entries = value.split(",") if isinstance(value, str) else [value] if isinstance(value, Path | dict) else value
    if not isinstance(entries, list | tuple):
        return entries
    return [{"path": str(one)} if isinstance(one, str | Path) else one for one in entries]


class DataConfig(Section):
    datasets: Annotated[list[DatasetConfig], BeforeValidator(_entries)] = free(
        [], "folders or addresses that rocket-prep build-shards wrote, read as one; or {path: ..., weight: 2}"
    )
    win_len: PositiveInt = fixed(128, "frames in a window: what a lane gets in one step")
    frame_width: EvenInt = fixed(224, "width of the datasets' frames, px")
    frame_height: EvenInt = fixed(224, "height of the datasets' frames, px")
    enable_segment: bool = fixed(True, "show the policy each frame's object mask and interaction type")
    batch_size: PositiveInt = free(8, "lanes of one rank")
    num_lanes: PositiveInt | None = fixed(
        None, "lanes of all ranks; when given, batch_size follows: num_lanes / ranks"
    )
    num_workers: NonNegativeInt = free(8, "loader processes of one rank; 0 decodes in the training process")
    prefetch_factor: PositiveInt = free(4, "windows that each loader process keeps ready; two batches at least")
    split_ratio: Share = fixed(0.95, "share of the episodes that train; the rest validates")
    shuffle_episodes: bool = fixed(True, "draw the split and each epoch's order by the seed; false: as stored")
    episode_continuous_batch: bool = fixed(True, "lanes of contiguous windows; false: shuffled windows, no memory")
    num_lane_groups: PositiveInt | None = fixed(None, "groups of lanes that shards are tied to; null: one a rank")
    augment: bool = free(False, "vary colour and frame geometry, drawn once for a lane's episode")
    max_damaged_windows: NonNegativeInt = free(0, "windows that damage may cost a rank before the run stops")
    cache_dir: str | None = free(
        None, "local folder for copies of shards that lie at an address; null: none are kept"
    )
    cache_gb: PositiveFloat = free(100.0, "gigabytes that the copies of all ranks of a machine may take together")

    @property
    def weights(self) -> tuple[float, ...]:
        """Of the datasets, 1 where it is not given; empty where none is given."""
        if all(one.weight is None for one in self.datasets):
            return ()
        return tuple(1.0 if one.weight is None else one.weight for one in self.datasets)

    @classmethod
    def of_names(cls, **settings: Any) -> Self:
        """The settings by the names that MineStudio's tutorial gives them, for use from Python.

        Raises:
            SettingsError: a setting is unknown or has a wrong value.
        """
        mode = settings.pop("mode", "raw")
        if mode != "raw":
            raise SettingsError([f"data: mode: got {mode!r}, expected raw. Leave it out."])
        if "dataset_dirs" in settings:
            settings["datasets"] = settings.pop("dataset_dirs")
        return check_settings(cls, settings, "data")


POLICY_SHAPE = ("backbone", "hiddim", "num_heads", "num_layers", "timesteps", "mem_len")
"""The settings that a policy's weights are made for."""


class PolicyConfig(Section):
    backbone: str = fixed("efficientnet_b0.ra_in1k", "timm model that sees picture and mask (4 channels)")
    hiddim: PositiveInt = fixed(1024, "width of the hidden vectors")
    num_heads: PositiveInt = fixed(8, "attention heads, in the pooling and over time; divides hiddim")
    num_layers: PositiveInt = fixed(4, "transformer blocks over time")
    timesteps: PositiveInt | None = free(None, "frames in a window; null: data.win_len, and else equal to it")
    mem_len: NonNegativeInt = fixed(128, "past frames whose keys and values each block remembers")
    pretrained: bool = free(True, "start the backbone from timm's published weights")
    backbone_weights: str | None = free(None, "local file with those weights; null: from timm's hub")
    init_from: str | None = free(
        None, "weights to start from: checkpoint, MineStudio .ckpt, Hugging Face folder or id"
    )
    batch_norm: Literal["per_rank", "synchronised", "frozen"] = fixed(
        "per_rank", "frames that batch statistics cover"
    )


class ObjectiveConfig(Section):
    name: str = fixed(..., "behavior_cloning, kl_to_teacher, an installed package's, or package.module:Class")
    weight: float = free(1.0, "factor on it")
    reduction: Literal["mean", "sum"] = fixed(
        "mean", "mean of the frames that count; or a window's sum, mean of lanes"
    )
    teacher: str | None = fixed(None, "kl_to_teacher: the frozen policy, a source as for policy.init_from")
    options: dict[str, Any] = fixed({}, "what else an objective of your own takes")


class OptimizerConfig(Section):
    learning_rate: PositiveFloat = free(4e-5, "AdamW's step size after warm-up")
    weight_decay: NonNegativeFloat = free(1e-3, "AdamW's decoupled decay")
    warmup_steps: NonNegativeInt = free(2000, "steps in which the learning rate rises linearly")
    schedule: Literal["constant", "cosine", "linear"] = free(
        "constant", "the learning rate after warm-up: constant, or decaying to zero at the run's last step"
    )
    gradient_clip: PositiveFloat | None = free(1.0, "largest norm of all gradients together; null: no limit")


class TrainerConfig(Section):
    max_steps: PositiveInt | None = free(
        None, "optimizer steps after which the run ends; null: max_epochs decides"
    )
    max_epochs: PositiveInt | None = free(None, "passes over the training split; null: max_steps decides")
    devices: PositiveInt | Literal["auto"] = free("auto", "ranks on one machine; auto: one for each GPU, or one")
    num_nodes: PositiveInt = free(1, "machines")
    micro_lanes: PositiveInt | None = free(
        None,
        "lanes that a rank computes at once, the rest after them, before the optimizer steps; null: all",
    )
    accelerator: Literal["auto", "cpu", "gpu"] = free(
        "auto", "where ranks compute; auto: GPUs where there are some"
    )
    precision: Literal["32-true", "bf16-mixed"] = free("bf16-mixed", "number format of the computation")
    save_every: PositiveInt = free(1000, "steps between checkpoints")
    val_every: PositiveInt | None = free(1000, "steps between validations; null: never")
    limit_val_steps: PositiveInt | None = free(None, "steps of one validation; null: the whole split")
    compile: bool = free(False, "torch.compile the policy's layers")
    activation_checkpointing: bool = free(False, "compute layers again in the backward pass, to save memory")
    memory: Literal["carry", "reset"] = fixed("carry", "keep a lane's memory from window to window, or forget it")
    spike_factor: AboveOne | None = free(10.0, "a loss this many times its running mean is bad; null: only NaN is")
    on_bad_loss: Literal["stop", "skip"] = free(
        "stop", "stop at a bad loss, or skip its step; the window counts towards data.max_damaged_windows"
    )


class ValidationConfig(Section):
    watch_events: Strings = free(
        [],
        "frames whose interaction's event holds one of these get a loss of their own; without masks, the frames "
        "of the second before the game counts such an event",
    )
    compare_memory: bool = free(True, "also the loss without carried memory; validation takes twice as long")
    play_episodes: NonNegativeInt = free(0, "episodes that the policy plays at each validation; 0: none")
    play_env: str = free("sample", "where it plays: sample, or a gymnasium id such as their/Env-v0")


class EmaConfig(Section):
    enabled: bool = fixed(True, "keep an exponential moving average of the weights")
    decay: Decay = free(0.999, "what an update keeps of the old average")
    every_n_steps: PositiveInt = free(8, "steps between updates")
    validate_original_weights: bool = free(True, "validate the weights themselves, not the average")
    cpu_offload: bool = free(False, "keep the average in the machine's memory, not in the GPU's")


class LoggingConfig(Section):
    wandb: WandbMode = free("auto", "auto: online where there is a key, else offline into run_dir")
    project: str = free("rocket1", "the project's name in wandb")
    page: bool = free(True, "leave a page with the run's curves in run_dir when it ends")


class RunConfig(Section):
    run_dir: str = free("runs/rocket1", "folder for metrics.csv and checkpoints")
    seed: NonNegativeInt = fixed(0, "draws the split, the order, goals, first weights and dropout")
    log_freq: PositiveInt = free(20, "steps between lines in metrics.csv and wandb")
    data: DataConfig = DataConfig()
    policy: PolicyConfig = PolicyConfig()
    objectives: list[ObjectiveConfig] = fixed([ObjectiveConfig(name="behavior_cloning")], "losses, added up")
    optimizer: OptimizerConfig = OptimizerConfig()
    trainer: TrainerConfig = TrainerConfig()
    validation: ValidationConfig = ValidationConfig()
    ema: EmaConfig = EmaConfig()
    logging: LoggingConfig = LoggingConfig()

    def contradictions(self) -> Iterator[str]:
        policy, data, trainer = self.policy, self.data, self.trainer
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
        if data.weights and not data.episode_continuous_batch:
            yield (
                "data.datasets: got weights, expected none with shuffled windows. Use "
                "data.episode_continuous_batch=true."
            )
        if not self.objectives:
            yield "objectives is empty, expected at least one. Add: - name: behavior_cloning"
        for index, objective in enumerate(self.objectives):
            if objective.name == "kl_to_teacher" and objective.teacher is None:
                yield f"objectives[{index}].teacher is null, expected the teacher's checkpoint. Set its path."
            if objective.name == "behavior_cloning" and objective.teacher is not None:
                yield f"objectives[{index}].teacher is set, but {objective.name} has no teacher. Remove it."
        if policy.backbone_weights is not None and not policy.pretrained:
            yield "policy.backbone_weights is set, but policy.pretrained is false. Set policy.pretrained=true."

    @property
    def carries_memory(self) -> bool:
        """Whether lanes remember from window to window."""
        return self.trainer.memory == "carry" and self.data.episode_continuous_batch

    @property
    def lane_memory_bytes(self) -> int:
        """What a lane remembers: keys and values in float32, and a flag, of each frame and layer."""
        return self.policy.num_layers * self.policy.mem_len * (2 * self.policy.hiddim * 4 + 1)

    def total_steps(self, steps_per_epoch: int) -> int:
        """Optimizer steps of the whole run."""
        limits = [self.trainer.max_steps] if self.trainer.max_steps is not None else []
        if self.trainer.max_epochs is not None:
            limits.append(self.trainer.max_epochs * steps_per_epoch)
        return min(limits)

    def policy_arguments(self) -> dict[str, Any]:
        """What `RocketPolicy` needs to be built in this shape; no weights."""
        return self.policy.model_dump(include=set(POLICY_SHAPE)) | {"timesteps": self.data.win_len}
