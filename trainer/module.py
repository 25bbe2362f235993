"""One training step and one validation step of a policy with memory, as Lightning calls them.

A step changes weights and lanes' memories together or not at all: the memory after a window is kept only once the
optimizer has stepped, so that a checkpoint between steps is always consistent, also after a refused step.
"""

# B lanes of this rank, T frames in the window
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from typing_extensions import override

from trainer.checkpoint import FORMAT, Position, loop_state
from trainer.config import RunConfig
from trainer.guard import LossGuard, LossStop
from trainer.memory import LaneMemory, Memory
from trainer.metrics import ActionCounts, ValidationTable
from trainer.objectives import Objective, Scale, Step

Batch = dict[str, Any]


@dataclass(frozen=True)
class StepReport:
    """What the last training step came to, over all ranks."""

    losses: dict[str, float]
    """`loss` and its parts."""
    gradient_norm: float
    learning_rate: float
    num_frames: float
    """Frames that counted, of all ranks."""
    stop_signal: int
    """Number of the signal that some rank received, 0 for none."""


@dataclass
class _Pending:
    """What a training step leaves behind once the optimizer has stepped."""

    batch: Batch = field(default_factory=dict)
    memories: list[tuple[LaneMemory, Memory]] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    figures: Tensor | None = None
    lane_losses: Tensor | None = None


class RocketModule(LightningModule):
    """A policy in training: objectives, optimizer, lanes' memories, validation table.

    Attributes:
        report: figures of the last step.
        validation: figures of the last validation, by name without `val/`.
        lost_windows: (shard, frames) of each window that damage cost any rank, known when training has ended.
        requested_signal: set by whoever wants the run to stop after this step; a signal's number.
    """

    def __init__(
        self,
        policy: nn.Module,
        config: RunConfig,
        objectives: Sequence[Objective],
        name_of_episode: Callable[[int], str] = str,
    ) -> None:
        """Wrap the policy for training.

        Args:
            policy: a `RocketPolicy`; its value head is frozen unless an objective uses it.
            config: the run's settings.
            objectives: the terms of the loss.
            name_of_episode: what messages call the episode with this index.
        """
        super().__init__()
        self.policy = policy
        self.config = config
        self.objectives = list(objectives)
        self.name_of_episode = name_of_episode
        self.guard = LossGuard(config.trainer.spike_factor)
        self.counts = ActionCounts()
        self.report: StepReport | None = None
        self.validation: dict[str, float] = {}
        self.lost_windows: list[tuple[str, int]] = []
        self.requested_signal = 0
        self._lanes: dict[str, LaneMemory] = {}
        self._pending = _Pending()
        self._table: ValidationTable | None = None
        self._buffers_before: list[Tensor] = []
        self._on_host: Batch = {}
        if hasattr(policy, "value_head"):
            trained = any(objective.uses_value_head for objective in objectives)
            for parameter in policy.value_head.linear.parameters():  # type: ignore[union-attr]
                parameter.requires_grad_(trained)
        self._freeze_batch_norm()

    # ---------------------------------------------------------------- memory

    @property
    def lanes(self) -> range:
        """Global lanes of this rank."""
        per_rank = self.config.data.batch_size
        return range(self.global_rank * per_rank, (self.global_rank + 1) * per_rank)

    def memory_names(self) -> list[str]:
        """Who remembers: the policy, and each objective's teacher."""
        teachers = [i for i, objective in enumerate(self.objectives) if objective.teacher is not None]
        return ["policy", *(f"teacher {index}" for index in teachers)]

    def lane_memory(self, stage: str, name: str = "policy") -> LaneMemory:
        """The memories of this rank's lanes; training and validation have their own."""
        key = f"{stage} {name}"
        if key not in self._lanes:
            player = self.policy if name == "policy" else self.objectives[int(name.split()[1])].teacher
            self._lanes[key] = LaneMemory(player.initial_state, self.lanes)  # type: ignore[union-attr, arg-type]
        return self._lanes[key]

    def _see(self, player: nn.Module, memory: LaneMemory, batch: Batch) -> tuple[Any, Memory | None]:
        """What the player says about the windows, and its memory after them (None where none is kept)."""
        if self.config.trainer.memory == "reset" or not self.config.data.episode_continuous_batch:
            latents, _ = player(batch, None)
            return latents, None
        return player(batch, memory.fetch(batch["lane"], batch["first"]))  # type: ignore[no-any-return]

    # -------------------------------------------------------------- training

    @override
    def on_before_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Keep on the host what callbacks check, so that nobody waits for the device.

        The batch as it came stays alive until the next one comes: by then this step has waited for the device, so
        that an unfinished copy never reads memory that the loader fills anew.
        """
        del dataloader_idx
        self._on_host = batch
        names = ("lane", "episode", "start_frame", "stop_frame", "last", "damaged", "step", "epoch")
        host = {name: batch[name].numpy().copy() for name in names if name in batch}
        host["first"] = batch["first"].numpy().copy()
        host["num_frames"] = batch["valid"].sum(1).numpy()
        return {**batch, "host": host, "has_padding": not bool(batch["valid"].all())}

    @override
    def on_train_start(self) -> None:
        for objective in self.objectives:
            if objective.teacher is not None:
                objective.teacher.to(self.device)

    @override
    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Draw this step's random numbers from (seed, step, rank) alone.

        So they are the same after a restart, whatever else drew numbers before: loaders, validation, checkpoints.
        """
        del batch, batch_idx
        torch.manual_seed(_mix(self.config.seed, self.trainer.global_step, self.global_rank))
        buffers = list(self.policy.buffers())
        if not self._buffers_before:
            self._buffers_before = [torch.empty_like(buffer) for buffer in buffers]
        torch._foreach_copy_(self._buffers_before, buffers)

    @override
    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The weighted sum of the objectives, scaled so that the mean over ranks is the global batch's loss."""
        del batch_idx
        valid_BT = batch["valid"]
        scale = Scale(self._mean_over_ranks(valid_BT.sum().float()), num_lanes=len(valid_BT))
        pending = _Pending(batch)
        memory = self.lane_memory("train")
        latents, after = self._see(self.policy, memory, batch)
        if after is not None:
            pending.memories.append((memory, after))

        total = torch.zeros((), device=self.device)
        by_frame_BT = torch.zeros_like(valid_BT, dtype=torch.float32)
        parts: dict[str, Tensor] = {}
        for index, objective in enumerate(self.objectives):
            teacher_latents = None
            if objective.teacher is not None:
                memory = self.lane_memory("train", f"teacher {index}")
                with torch.no_grad():
                    teacher_latents, after = self._see(objective.teacher, memory, batch)
                if after is not None:
                    pending.memories.append((memory, after))
            result = objective.loss(Step(latents, batch, scale, teacher_latents))
            total = total + objective.config.weight * result.loss
            by_frame_BT += objective.config.weight * result.by_frame
            parts |= result.parts
        signal = torch.tensor(float(self.requested_signal), device=self.device)
        figures = {"loss": total.detach(), **parts, "num_frames": scale.num_frames, "signal": signal}
        pending.names = list(figures)
        pending.figures = torch.stack([value.float() for value in figures.values()])
        pending.lane_losses = by_frame_BT.sum(1)
        self._pending = pending
        return total

    @override
    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip, and refuse a step that would harm the weights.

        Raises:
            LossStop: the loss or the gradients are no numbers, or the loss is a spike; on every rank alike.
        """
        del gradient_clip_val, gradient_clip_algorithm
        parameters = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        limit = self.config.optimizer.gradient_clip or float("inf")
        norm = torch.nn.utils.clip_grad_norm_(parameters, limit)
        assert self._pending.figures is not None
        # One wait for the device a step, here, where its result still decides something.
        values = torch.cat([self._mean_over_ranks(self._pending.figures), norm.detach().float()[None]]).tolist()
        figures = dict(zip([*self._pending.names, "norm"], values, strict=True))
        norm_value, signal, frames = figures.pop("norm"), figures.pop("signal"), figures.pop("num_frames")
        world_size = self.trainer.world_size
        self.report = StepReport(
            losses=figures,
            gradient_norm=norm_value,
            learning_rate=float(optimizer.param_groups[0]["lr"]),
            num_frames=frames * world_size,
            stop_signal=round(signal * world_size),
        )
        problem = self.guard.verdict(figures["loss"], norm_value)
        if problem is not None:
            raise self._refuse(problem)

    @override
    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Step, then let the lanes remember: both or neither."""
        super().optimizer_step(*args, **kwargs)
        batch = self._pending.batch
        for memory, after in self._pending.memories:
            memory.store(batch["lane"], after)
        self.counts.add(batch["action"], batch["valid"])
        self._pending = _Pending()

    @override
    def configure_optimizers(self) -> Any:
        """AdamW over what is trained, and a linear rise of its step size."""
        settings = self.config.optimizer
        parameters = [parameter for parameter in self.policy.parameters() if parameter.requires_grad]
        optimizer = torch.optim.AdamW(
            parameters,
            lr=settings.learning_rate,
            weight_decay=settings.weight_decay,
            fused=self.device.type == "cuda",
        )
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: _warmup_share(step, settings.warmup_steps)
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _refuse(self, problem: str) -> LossStop:
        """The exception that names step, lane and episode; batch statistics are as before the step."""
        torch._foreach_copy_(list(self.policy.buffers()), self._buffers_before)
        batch, lane_losses = self._pending.batch, self._pending.lane_losses
        assert lane_losses is not None
        columns = [lane_losses, *(batch[name] for name in ("lane", "episode", "start_frame"))]
        rows = torch.stack([column.double() for column in columns], dim=1)
        rows = self.trainer.strategy.all_gather(rows).reshape(-1, 4).cpu()
        self._pending = _Pending()
        losses = rows[:, 0].nan_to_num(nan=torch.inf)
        loss, lane, episode, start = rows[int(losses.argmax())].tolist()
        frames = f"frames {int(start)} to {int(start) + self.config.data.win_len - 1}"
        return LossStop(
            f"step {self.trainer.global_step + 1}: {problem}; the largest share has lane {int(lane)}, episode "
            f"{self.name_of_episode(int(episode))}, {frames} (its sum of losses is {loss:.4g}). "
            "The weights are as before this step. Look at those frames with rocket-prep preview, or lower "
            "optimizer.learning_rate, and go on with --resume auto."
        )

    @override
    def on_train_end(self) -> None:
        """Learn what all ranks lost to damage."""
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        lost = [(window.damage.shard, window.num_frames) for window in (*data.damage.lost, *data.val_damage.lost)]
        everywhere = [lost]
        if self.trainer.world_size > 1:
            everywhere = [[] for _ in range(self.trainer.world_size)]
            torch.distributed.all_gather_object(everywhere, lost)
        self.lost_windows = [window for rank in everywhere for window in rank]

    # ------------------------------------------------------------ validation

    @override
    def on_validation_start(self) -> None:
        """Validation starts from empty memories of its own."""
        for name in self.memory_names():
            self.lane_memory("val", name).reset()
        self._table = ValidationTable(self.config.data.win_len, self.device)

    @override
    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        del batch_idx
        assert self._table is not None
        memory = self.lane_memory("val")
        latents, after = self._see(self.policy, memory, batch)
        without = None
        if after is not None:
            memory.store(batch["lane"], after)
            if self.config.validation.compare_memory:
                without = self.policy(batch, None)[0]["pi_logits"]
        self._table.add(latents["pi_logits"], batch, without)

    @override
    def on_validation_epoch_end(self) -> None:
        assert self._table is not None
        self._table.reduce(self._sum_over_ranks)
        self.validation = self._table.summary(self.gather_counts())
        self._table = None

    # ----------------------------------------------------------- checkpoints

    def hyper_parameters(self) -> dict[str, Any]:
        """What every file with weights says about itself; `model` is what MineStudio's loader asks for."""
        return {"model": self.config.policy_arguments(), "config": self.config.model_dump()}

    def gather_counts(self) -> dict[str, Tensor]:
        """How often each action was trained on, by all ranks; every rank must call it."""
        return {
            name: self._sum_over_ranks(tensor.to(self.device)).cpu()
            for name, tensor in self.counts.tensors().items()
        }

    @property
    def position(self) -> Position:
        """Where the run stands between two steps."""
        return Position.after(self.trainer.global_step, self.trainer.datamodule.plan.num_steps)  # type: ignore[attr-defined]

    @override
    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add all that Lightning does not know of; every rank must take part."""
        position = self.position
        checkpoint["hyper_parameters"] = self.hyper_parameters()
        checkpoint["loops"] = {"fit_loop": loop_state(self.trainer.fit_loop.state_dict(), position)}
        checkpoint["rocket"] = {
            "format": FORMAT,
            "position": asdict(position),
            "memories": {name: self.lane_memory("train", name).gather() for name in self.memory_names()},
            "guard": self.guard.state_dict(),
            "counts": self.gather_counts(),
        }

    @override
    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take this rank's part, on any number of ranks with the same lanes, and set Lightning's counters."""
        rocket = checkpoint["rocket"]
        for name in self.memory_names():
            if name in rocket["memories"]:  # a teacher that is new starts from empty memories
                self.lane_memory("train", name).load_state_dict(rocket["memories"][name])
        self.guard.load_state_dict(rocket["guard"])
        counts = rocket["counts"]
        if self.global_rank != 0:  # the sum over ranks must stay what it was
            counts = {name: torch.zeros_like(tensor) for name, tensor in counts.items()}
        self.counts.load_state_dict(counts)
        position = Position(**rocket["position"])
        fit_loop = self.trainer.fit_loop
        checkpoint["loops"] = {"fit_loop": loop_state(fit_loop.state_dict(), position)}
        self._apply_optimizer_settings(checkpoint, position)

    def _apply_optimizer_settings(self, checkpoint: dict[str, Any], position: Position) -> None:
        """Let the settings of this run rule over those that optimizer and schedule were saved with."""
        settings = self.config.optimizer
        saved = checkpoint["hyper_parameters"]["config"]["optimizer"]
        if settings.model_dump() == saved:
            return
        rate = settings.learning_rate * _warmup_share(position.global_step, settings.warmup_steps)
        for group in checkpoint["optimizer_states"][0]["param_groups"]:
            group |= {"lr": rate, "initial_lr": settings.learning_rate, "weight_decay": settings.weight_decay}
        schedule = checkpoint["lr_schedulers"][0]
        schedule["base_lrs"] = [settings.learning_rate for _ in schedule["base_lrs"]]
        schedule["_last_lr"] = [rate for _ in schedule["base_lrs"]]

    # --------------------------------------------------------------- helpers

    @override
    def train(self, mode: bool = True) -> RocketModule:
        super().train(mode)
        self._freeze_batch_norm()
        return self

    def _freeze_batch_norm(self) -> None:
        if self.config.policy.batch_norm == "frozen":
            for layer in self.policy.modules():
                if isinstance(layer, _BatchNorm):
                    layer.eval()

    def _mean_over_ranks(self, tensor: Tensor) -> Tensor:
        return self.trainer.strategy.reduce(tensor, reduce_op="mean")

    def _sum_over_ranks(self, tensor: Tensor) -> Tensor:
        return self.trainer.strategy.reduce(tensor.clone(), reduce_op="sum")


def _warmup_share(step: int, warmup_steps: int) -> float:
    """Share of the full learning rate at a 0-based step."""
    return min((step + 1) / max(warmup_steps, 1), 1.0)


def _mix(seed: int, step: int, rank: int) -> int:
    """A seed that differs for each (seed, step, rank): splitmix64 over the three."""
    state = 0
    for value in (seed, step, rank):
        state = (state + value + 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
        state ^= state >> 31
    return state & 0x7FFFFFFFFFFFFFFF
