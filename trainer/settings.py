"""What can be set in a training run: types, meanings, defaults. trainer/config.py reads it from files.

Every field says beside it what it means, and in which unit.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

PositiveInt = Annotated[int, Field(gt=0)]
NotNegativeInt = Annotated[int, Field(ge=0)]
PositiveFloat = Annotated[float, Field(gt=0.0)]
NotNegativeFloat = Annotated[float, Field(ge=0.0)]
Share = Annotated[float, Field(gt=0.0, le=1.0)]
Decay = Annotated[float, Field(gt=0.0, lt=1.0)]
AboveOne = Annotated[float, Field(gt=1.0)]
Strings = Annotated[list[str], BeforeValidator(lambda value: [value] if isinstance(value, str) else value)]
Addresses = Annotated[
    list[Annotated[str, BeforeValidator(lambda value: str(value) if isinstance(value, Path) else value)]],
    BeforeValidator(lambda value: [value] if isinstance(value, str | Path) else value),
]
WandbMode = Annotated[
    Literal["auto", "online", "offline", "off"],
    BeforeValidator(lambda value: "off" if value is False else value),  # YAML reads a bare `off` as false
]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, protected_namespaces=())


class DataConfig(Section):
    datasets: Addresses = []  # folders or addresses that rocket-prep build-shards wrote, read as one
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

    @classmethod
    def of_names(cls, **settings: Any) -> DataConfig:
        """The settings by the names that MineStudio's tutorial gives them, for use from Python."""
        if "dataset_dirs" in settings:
            settings["datasets"] = settings.pop("dataset_dirs")
        if settings.pop("mode", "raw") != "raw":
            raise ValueError("mode: only raw is known.")
        return cls(**settings)


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


OBJECTIVE_NAMES: tuple[str, ...] = get_args(ObjectiveConfig.model_fields["name"].annotation)
