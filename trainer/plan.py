"""The arithmetic of a run, printed before it starts: what the settings come to."""

from dataclasses import dataclass

from shards.display.wording import number_of, size
from shards.schedule.watch_out import padding_share
from trainer.data.plan import DataPlan
from trainer.settings import RunConfig

FULL_SIZE_FRAMES = 160_000_000
"""Frames of OpenAI's contractor releases 6xx to 10xx, for a plan without data."""
_FLOAT_BYTES = 4


@dataclass(frozen=True)
class PolicyFacts:
    """What the policy's shape says.

    Attributes:
        num_trained: parameters that the losses reach: all but the value head's.
        num_bytes: of weights and buffers.
        flops_per_frame: of the forward pass; None where it was not counted.
        activation_bytes: that the backward pass needs of one lane's window; None where it was not counted.
    """

    num_parameters: int
    num_trained: int
    num_bytes: int
    flops_per_frame: float | None = None
    activation_bytes: int | None = None


def plan_lines(config: RunConfig, num_ranks: int, policy: PolicyFacts, data: DataPlan | None) -> list[str]:
    """The plan, a topic a line; without data, for the full size of the published recordings."""
    settings, trainer, ema = config.policy, config.trainer, config.ema
    lanes = config.data.batch_size * num_ranks
    frames_per_step = lanes * config.data.win_len
    shape = f"hiddim {settings.hiddim}, {settings.num_heads} heads, {settings.num_layers} layers"
    counts = f"{policy.num_parameters:,} parameters, {policy.num_trained:,} trained (no value head)"
    if policy.flops_per_frame is not None:
        counts += f"; {policy.flops_per_frame / 1e9:.2f} GFLOP a frame forward"
    lines = [
        f"policy       {settings.backbone}, {shape}, mem_len {settings.mem_len}",
        f"             {counts}",
    ]
    step = f"step         {number_of(num_ranks, 'rank')} x {config.data.batch_size} lanes x "
    step += f"{config.data.win_len} frames = {frames_per_step:,} frames"
    if trainer.micro_lanes not in (None, config.data.batch_size):
        step += f", {trainer.micro_lanes} lanes at a time"
    if policy.flops_per_frame is not None:
        step += f", {3 * policy.flops_per_frame * frames_per_step / 1e12:.1f} TFLOP forward and backward"
    lines.append(step)
    if config.carries_memory:
        lane_bytes = config.lane_memory_bytes
        lines.append(
            f"memory       {settings.mem_len} frames x {settings.num_layers} layers = {size(lane_bytes)} a lane, "
            f"{size(lane_bytes * config.data.batch_size)} a rank, carried from window to window"
        )
    else:
        lines.append("memory       forgotten at every window")
    steps_per_epoch = data.train.num_steps if data is not None else _steps_at_full_size(config, frames_per_step)
    num_steps = config.total_steps(steps_per_epoch)
    lines += _data_lines(config, lanes, data, steps_per_epoch)
    optimizer = config.optimizer
    decay = "" if optimizer.schedule == "constant" else f", {optimizer.schedule} decay to 0 at step {num_steps:,}"
    clip = "not clipped" if optimizer.gradient_clip is None else f"clipped at {optimizer.gradient_clip:g}"
    lines.append(
        f"optimizer    AdamW, learning rate {optimizer.learning_rate:g} after {optimizer.warmup_steps:,} steps of "
        f"linear warm-up{decay}, weight decay {optimizer.weight_decay:g}, gradients {clip}"
    )
    terms = " + ".join(f"{term.weight:g} x {term.name} ({term.reduction})" for term in config.objectives)
    lines.append(f"loss         {terms}; computed in {trainer.precision}")
    if ema.enabled:
        lines.append(f"average      of the weights, decay {ema.decay:g} every {ema.every_n_steps} steps")
    lines.append(_saving_line(config, policy, num_steps))
    return lines


def _steps_at_full_size(config: RunConfig, frames_per_step: int) -> int:
    return -(-round(FULL_SIZE_FRAMES * config.data.split_ratio) // frames_per_step)


def _data_lines(config: RunConfig, lanes: int, data: DataPlan | None, steps: int) -> list[str]:
    frames_per_step = lanes * config.data.win_len
    if data is None:
        lines = [
            f"data         no data.datasets given; for {FULL_SIZE_FRAMES:,} frames (releases 6xx to 10xx),",
            f"             of which {config.data.split_ratio:.0%} train:",
            f"epoch        {steps:,} steps = {steps * lanes:,} windows, padding aside",
        ]
    else:
        plan, num_groups = data.train, data.train.settings.num_groups
        num_frames = int(data.collection.num_frames[plan.episodes].sum())
        train = f"{len(plan.episodes):,} episodes with {num_frames:,} frames train"
        windows = f"{plan.num_windows:,} windows + {plan.num_padding:,} of padding ({padding_share(plan):.2%})"
        lines = [
            f"data         {train}, {len(data.val.episodes):,} episodes validate",
            f"epoch        {steps:,} steps = {windows}, lanes in {number_of(num_groups, 'group')}",
            *(
                f"mixing       {one.path}: {one.share:.2%} of the windows, to {one.deviation:.2%} over any 1,000 "
                f"steps; seen {one.epochs:.2f} times an epoch"
                for one in plan.shares
            ),
        ]
    total = config.total_steps(steps)
    lines.append(f"run          {total:,} steps = {total / steps:.2f} epochs, {total * frames_per_step:,} frames")
    trainer = config.trainer
    if trainer.val_every is not None:
        limit = trainer.limit_val_steps
        if data is not None:
            steps_text = f"{min(limit or data.val.num_steps, data.val.num_steps):,} steps"
        else:
            steps_text = "the whole split" if limit is None else f"{limit:,} steps"
        lines.append(f"validation   every {trainer.val_every:,} steps, {steps_text}, with memories of its own")
    return lines


@dataclass(frozen=True)
class CheckpointBytes:
    """Sizes on disk: of the weights that stay at each save, of one full checkpoint, and of all of a run."""

    weights: int
    full: int
    total: int


def checkpoint_bytes(config: RunConfig, policy: PolicyFacts, num_steps: int) -> CheckpointBytes:
    """What the checkpoints of a run take on the disk."""
    weights = policy.num_bytes * (2 if config.ema.enabled else 1)
    full = weights + 2 * policy.num_trained * _FLOAT_BYTES  # AdamW's two moments
    num_saves = -(-num_steps // config.trainer.save_every)  # the last one at the end
    # While one is written, the two before it are still there.
    return CheckpointBytes(weights, full, num_saves * weights + min(num_saves, 3) * full)


def _saving_line(config: RunConfig, policy: PolicyFacts, num_steps: int) -> str:
    sizes = checkpoint_bytes(config, policy, num_steps)
    average = " (with their average)" if config.ema.enabled else ""
    return (
        f"checkpoints  every {config.trainer.save_every:,} steps into {config.run_dir}: weights "
        f"{size(sizes.weights)} each time{average}, {size(sizes.full)} for each of the last two full ones, "
        f"{size(sizes.total)} in all"
    )
