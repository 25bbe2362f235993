"""One training step and one validation step of a policy with memory, as Lightning calls them.

A step changes weights and lanes' memories together or not at all: the memory after a window is kept only once the
optimizer has stepped, so that a checkpoint between steps is always consistent, also after a refused step.
"""

# B lanes of this rank, T frames in the window
import logging
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any, Self, cast

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from typing_extensions import override

from shards.errors import SettingsError
from trainer.checkpoints.checkpoint import FORMAT, Position, hyper_parameters
from trainer.collectives import gather_objects, mean_over_ranks, sum_over_ranks
from trainer.data.layout import Batch, rows_of_batch
from trainer.learning.guard import BadStep, LossGuard, LossStop
from trainer.learning.metrics import ValidationTable, count_actions, no_counts
from trainer.learning.objectives import Objective, Scale, Step
from trainer.learning.optimizer import apply_settings, build_optimizer, match_layouts
from trainer.learning.policies import PolicyAndTeachers, teacher_name
from trainer.learning.step import StepReport, UnfinishedStep, step_seed
from trainer.lightning_parts import loop_state
from trainer.settings import RunConfig

_log = logging.getLogger(__name__)


class RocketModule(LightningModule):
    """A policy in training: objectives, optimizer, lanes' memories, validation table.

    Attributes:
        report: figures of the last step; None before the first.
        validation: figures of the last validation, by name without `val/`.
        lost_windows: (shard, frames) of each window that damage cost any rank, known when training has ended.
        requested_signal: set by whoever wants the run to stop after this step; a signal's number.
        logs_itself: losses go to the trainer's loggers by `self.log`; false where a Reporter writes rows of them.
        validation_due: a validation follows the last step; kept in checkpoints.
        skipped: bad steps that were left out so far (`trainer.on_bad_loss=skip`); kept in checkpoints.
    """

    _step: UnfinishedStep
    """The training step that is under way."""
    _buffers_before: list[Tensor]
    """The policy's buffers before it."""
    _table: ValidationTable
    """The validation that is under way."""

    def __init__(
        self,
        policy: nn.Module,
        config: RunConfig,
        objectives: Sequence[Objective],
    ) -> None:
        """Wrap the policy for training; its value head is frozen unless an objective uses it."""
        super().__init__()
        self.policy = policy
        self.config = config
        self.objectives = list(objectives)
        self.guard = LossGuard(config.trainer.spike_factor)
        self.counts = no_counts()
        self.report: StepReport | None = None
        self.validation: dict[str, float] = {}
        self.lost_windows: list[tuple[str, int]] = []
        self.requested_signal = 0
        self.logs_itself = True
        self.validation_due = False
        self.skipped: list[BadStep] = []
        self.policies = PolicyAndTeachers(
            policy, self.objectives, lambda: self.config.carries_memory, self.lanes_of
        )
        if hasattr(policy, "value_head"):
            trained = any(objective.uses_value_head for objective in objectives)
            for parameter in policy.value_head.linear.parameters():  # type: ignore[union-attr]
                parameter.requires_grad_(trained)
        self._freeze_batch_norm()

    def lanes_of(self, stage: str) -> range:
        """Global lanes of this rank in `train` or `val`."""
        if stage == "train":
            lanes: range = self.trainer.datamodule.lanes  # type: ignore[attr-defined]
            return lanes
        per_rank = self.config.data.batch_size
        return range(self.global_rank * per_rank, (self.global_rank + 1) * per_rank)

    @override
    def setup(self, stage: str) -> None:
        """Take over the data module's settings.

        Raises:
            SettingsError: what was set twice differs, or cannot be done.
        """
        module = self.trainer.datamodule  # type: ignore[attr-defined]
        if module is None:  # `evaluate` hands over its loader alone
            return
        own, data = self.config.data, module.config
        clip, trainer_clip = self.config.optimizer.gradient_clip, self.trainer.gradient_clip_val
        problems = [
            f"data.{name}: got {getattr(data, name)} in the data module and {getattr(own, name)} for training. "
            "Set both to one value."
            for name in ("batch_size", "win_len")
            if name in own.model_fields_set and getattr(own, name) != getattr(data, name)
        ]
        if clip is not None and trainer_clip is not None and clip != trainer_clip:
            problems.append(
                f"optimizer.gradient_clip: got {clip}, but gradient_clip_val={trainer_clip} in Trainer. Set one."
            )
        if self.trainer.accumulate_grad_batches != 1:  # each step begins with empty gradients and steps once
            problems.append(
                f"accumulate_grad_batches: got {self.trainer.accumulate_grad_batches} in Trainer, expected 1. "
                "Set a larger data.batch_size, and trainer.micro_lanes to the lanes that a GPU computes at once."
            )
        if problems:
            raise SettingsError(problems)
        self.config = self.config.model_copy(update={"data": data})

    # -------------------------------------------------------------- training

    @override
    def on_before_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Keep on the host what callbacks check, so that nobody waits for the device."""
        del dataloader_idx
        names = ("lane", "episode", "start_frame", "stop_frame", "last", "damaged", "step", "epoch")
        rows = cast(dict[str, Tensor], batch)
        host = {name: rows[name].numpy().copy() for name in names if name in rows}
        host["first"] = batch["first"].numpy().copy()
        host["num_frames"] = batch["valid"].sum(1).numpy()
        return {**batch, "host": host, "has_padding": not bool(batch["valid"].all())}

    @override
    def on_train_start(self) -> None:
        self.policies.teachers_to(self.device)
        for optimizer in self.trainer.optimizers:
            match_layouts(optimizer)

    @override
    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Compute all micro-batches but the last one, whose backward pass is where ranks exchange gradients."""
        del batch_idx
        self._buffers_before = [buffer.clone() for buffer in self.policy.buffers()]
        for optimizer in self.trainer.optimizers:
            optimizer.zero_grad()
        num_frames = mean_over_ranks(batch["valid"].sum().float(), self.device)
        self._step = UnfinishedStep(batch, Scale(num_frames, num_lanes=len(batch["valid"])))
        *others, _ = self._micro_batches(batch)
        for rows in others:
            with self.trainer.precision_plugin.train_step_context():
                loss = self._micro_step(batch, rows)
            loss.backward()  # type: ignore[no-untyped-call]

    @override
    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The loss of the last micro-batch. All add up, and their mean over ranks is the global batch's loss."""
        del batch_idx
        return self._micro_step(batch, self._micro_batches(batch)[-1])

    @override
    def optimizer_zero_grad(self, *args: Any, **kwargs: Any) -> None:
        """Keep the gradients of the micro-batches before the last; `on_train_batch_start` has emptied them."""

    def _micro_batches(self, batch: Batch) -> list[slice]:
        """The rows that are computed at once."""
        num_rows = len(batch["valid"])
        at_once = self.config.trainer.micro_lanes or num_rows
        return [slice(start, min(start + at_once, num_rows)) for start in range(0, num_rows, at_once)]

    def _micro_step(self, whole: Batch, rows: slice) -> Tensor:
        """The weighted sum of the objectives for some rows, as a part of the step's loss.

        It depends on the place of the rows in the global batch, not on the rank: random numbers are drawn from
        (seed, step, place), and running statistics are those of the first rows, as DDP has them of the first rank.
        So they are the same on any number of ranks, and after a restart, whatever else drew numbers before.
        """
        batch = rows_of_batch(whole, rows)
        step = self._step
        first_row = self.global_rank * len(whole["valid"]) + rows.start
        place = first_row // (rows.stop - rows.start)
        torch.manual_seed(step_seed(self.config.seed, self.trainer.global_step, place))
        self.policy.updates_statistics = rows.start == 0
        # Not for longer than this: who copies the policy copies its hooks.
        watch = self.policy.recurrent.register_forward_pre_hook(step.watch_gradients)  # type: ignore[union-attr]
        latents, memories = self.policies.forward_with_memory("train", batch)
        watch.remove()
        total = torch.zeros((), device=self.device)
        by_frame_BT = torch.zeros_like(batch["valid"], dtype=torch.float32)
        parts: dict[str, Tensor] = {}
        for index, objective in enumerate(self.objectives):
            teacher_latents = None
            if objective.teacher is not None:
                with torch.no_grad():
                    teacher_latents, of_teacher = self.policies.forward_with_memory(
                        "train", batch, teacher_name(index)
                    )
                memories += of_teacher
            result = objective.loss(Step(latents, batch, step.scale, teacher_latents))
            total = total + objective.config.weight * result.loss
            by_frame_BT += objective.config.weight * result.by_frame
            parts |= result.parts
        step.memories += [(memory, batch["lane"], after) for memory, after in memories]
        step.add({"loss": total.detach(), **parts}, by_frame_BT)
        return total

    @override
    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip, and refuse a step that would harm the weights: stop, or skip it if the settings say so.

        Raises:
            LossStop: the loss or the gradients are no numbers, or the loss is a spike; on every rank alike.
        """
        del gradient_clip_algorithm
        parameters = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        limit = self.config.optimizer.gradient_clip or gradient_clip_val or float("inf")
        for parameter in parameters:
            if parameter.grad is not None and parameter.grad.stride() != parameter.stride():  # fused AdamW refuses
                parameter.grad = torch.empty_like(parameter).copy_(parameter.grad)
        norm = torch.nn.utils.clip_grad_norm_(parameters, limit)
        step = self._step
        rate = float(optimizer.param_groups[0]["lr"])
        self.report = step.report(norm, rate, self.requested_signal, self.device)
        problem = self.guard.verdict(self.report.losses["loss"], self.report.gradient_norm)
        if problem is not None:
            self._refuse(step, self.report, problem)
            for parameter in parameters:
                parameter.grad = None  # so that the optimizer changes nothing

    @override
    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Step, then let the lanes remember: both or neither."""
        super().optimizer_step(*args, **kwargs)
        step = self._step
        step.remember()
        if step.lanes_to_reset is None:
            self.counts = {head: counts.to(self.device) for head, counts in self.counts.items()}
            count_actions(self.counts, step.batch["action"], step.batch["valid"])
        del self._step

    @override
    def configure_optimizers(self) -> Any:
        """AdamW over what is trained, and its learning rate."""
        parameters = [parameter for parameter in self.policy.parameters() if parameter.requires_grad]
        return build_optimizer(parameters, self.config.optimizer, lambda: self._num_steps)

    def _refuse(self, step: UnfinishedStep, report: StepReport, problem: str) -> None:
        """Batch statistics are as before the step, and it is skipped, or LossStop is raised: the settings say."""
        torch._foreach_copy_(list(self.policy.buffers()), self._buffers_before)
        size, (lane, episode, start, stop), lanes = step.worst_lane(report.gradient_norm, self.device)
        name = self.name_of_episode(episode)
        bad = BadStep(self.trainer.global_step + 1, problem, lane, name, start, stop, size)
        limit = self.config.data.max_damaged_windows
        if self.config.trainer.on_bad_loss == "stop":
            raise bad.stop()
        self.skipped.append(bad)
        if self.global_rank == 0:
            _log.warning(f"{bad}; skipped ({len(self.skipped)} of at most {limit}, data.max_damaged_windows).")
        if len(self.skipped) > limit:
            raise LossStop(
                f"{bad}; {len(self.skipped)} windows are skipped, expected at most {limit} "
                "(data.max_damaged_windows). Look at those frames with rocket-prep preview, or raise the limit."
            )
        step.lanes_to_reset = lanes

    @override
    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        if self.logs_itself and self.report is not None:
            self.log_dict({f"train/{name}": value for name, value in self.report.losses.items()})

    @override
    def on_train_end(self) -> None:
        """Learn what all ranks lost to damage."""
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        lost = [(window.damage.shard, window.num_frames) for window in (*data.damage.lost, *data.val_damage.lost)]
        self.lost_windows = [window for rank in gather_objects(lost) for window in rank]

    # ------------------------------------------------------------ validation

    @override
    def on_validation_start(self) -> None:
        """Validation starts from empty memories of its own, with the running statistics that are saved."""
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            for buffer in self.policy.buffers():
                torch.distributed.broadcast(buffer, 0)
        self.policies.memory("val").reset()
        self._table = ValidationTable(self.config.data.win_len, self.device)

    @override
    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        del batch_idx
        for rows in self._micro_batches(batch):
            part = rows_of_batch(batch, rows)
            latents, memories = self.policies.forward_with_memory("val", part)
            for memory, after in memories:
                memory.store(part["lane"], after)
            without = None
            if memories and self.config.validation.compare_memory:
                without = self.policy(part, None)[0]["pi_logits"]
            self._table.add(latents["pi_logits"], part, without)

    @override
    def on_validation_epoch_end(self) -> None:
        self._table.reduce(lambda sums: sum_over_ranks(sums, self.device))
        self.validation = self._table.summary(self.gather_counts())
        if self.logs_itself:
            self.log_dict({f"val/{name}": value for name, value in self.validation.items()}, sync_dist=True)

    # ----------------------------------------------------------- checkpoints

    def gather_counts(self) -> dict[str, Tensor]:
        """How often each action was trained on, by all ranks; every rank must call it."""
        return {name: sum_over_ranks(tensor, self.device).cpu() for name, tensor in self.counts.items()}

    @property
    def position(self) -> Position:
        """The run's position between two steps."""
        return Position.after(self.trainer.global_step, self.trainer.datamodule.data.train.num_steps)  # type: ignore[attr-defined]

    @override
    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add all that Lightning does not know of; every rank must take part."""
        checkpoint["hyper_parameters"] = hyper_parameters(self.config)
        checkpoint["epoch"] = self.position.epoch  # Lightning's depends on how the run ended
        checkpoint["loops"] = self._loops(self.position)
        checkpoint["rocket"] = {
            "format": FORMAT,
            "position": asdict(self.position),
            "memories": self.policies.gather_memories(),
            "guard": {"mean": self.guard.mean, "num_steps": self.guard.num_steps},
            "counts": self.gather_counts(),
            "validation_due": self.validation_due,
            "skipped": [asdict(bad) for bad in self.skipped],
        }

    @override
    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take this rank's part of it, on any number of ranks with the same lanes."""
        rocket = checkpoint["rocket"]
        self.policies.load_memories(rocket["memories"])
        self.guard = replace(self.guard, **rocket["guard"])
        self.validation_due = rocket["validation_due"]
        self.skipped = [BadStep(**bad) for bad in rocket["skipped"]]
        # The sum over ranks must stay what it was.
        self.counts = rocket["counts"] if self.global_rank == 0 else no_counts()
        position = Position(**rocket["position"])
        checkpoint["loops"] = self._loops(position)
        apply_settings(checkpoint, self.config.optimizer, position.global_step, self._num_steps)

    @property
    def _num_steps(self) -> int:
        """Of the whole run."""
        return self.config.total_steps(self.trainer.datamodule.data.train.num_steps)  # type: ignore[attr-defined]

    def _loops(self, position: Position) -> dict[str, Any]:
        return {"fit_loop": loop_state(self.trainer.fit_loop.state_dict(), **asdict(position))}

    # --------------------------------------------------------------- helpers

    @override
    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        self._freeze_batch_norm()
        return self

    def name_of_episode(self, episode: int) -> str:
        """What messages call an episode."""
        if episode < 0:
            return "none (padding)"
        return str(self.trainer.datamodule.data.collection.episode_ids[episode])  # type: ignore[attr-defined]

    def _freeze_batch_norm(self) -> None:
        if self.config.policy.batch_norm == "frozen":
            for layer in self.policy.modules():
                if isinstance(layer, _BatchNorm):
                    layer.eval()
