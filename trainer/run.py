"""A training run from its settings to its summary: check, plan, fit, report."""

import shlex
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import Logger

from shards.errors import RocketError, SettingsError
from trainer.build import build_data, build_policy, build_trainer, build_wandb, load_teacher
from trainer.callbacks.checkpoints import Checkpoints
from trainer.callbacks.csv_logger import MetricsCsv
from trainer.callbacks.ema import Ema
from trainer.callbacks.lane_auditor import LaneAuditor
from trainer.callbacks.reporter import LastValidation, PageWriter, ProgressLine, Reporter, validation_text
from trainer.callbacks.signals import StopSignals, requeue_under_slurm
from trainer.callbacks.speed import SpeedMeter
from trainer.changes import write_record
from trainer.checkpoints.checkpoint import newest_weights, set_aside
from trainer.data.datamodule import RocketDataModule
from trainer.devices import count_ranks, starts_ranks
from trainer.dry_run import start_lines
from trainer.launch import join_ranks, start_ranks
from trainer.learning.guard import AgreedStop, RunInterrupted
from trainer.learning.module import RocketModule
from trainer.learning.objectives import build_objectives
from trainer.look.run_folder import METRICS_FILE
from trainer.plan import PolicyFacts
from trainer.play.validation import PlayValidation
from trainer.policy_facts import count_weights, policy_facts
from trainer.prepare import Start, prepare, prepare_together
from trainer.rank_watch import RankWatch
from trainer.ranks import is_main_process, line_printer
from trainer.settings import RunConfig


def train(
    config: RunConfig,
    resume: str | None = None,
    command: str = "rocket-train CONFIG",
    out: TextIO | None = None,
) -> int:
    """Train until the run's end, a stop that is asked for, or an error; the process's exit status.

    Args:
        resume: None, `auto`, or a checkpoint's path.
        command: how to start this run again, for messages.
        out: where the plan and the summary go; standard output if None.
    """
    resume_command = f"{command} --resume auto"
    num_ranks = count_ranks(config)
    with RankWatch(Path(config.run_dir), resume_command) as watch:

        def join() -> None:
            if starts_ranks():
                watch.follow(start_ranks(num_ranks // config.trainer.num_nodes))
            join_ranks(config, num_ranks)
            watch.connect()

        start = prepare(config, resume) if num_ranks == 1 else prepare_together(config, resume, join)
        return _train(start, resume_command, line_printer(out))


def _train(start: Start, resume_command: str, print_line: Callable[[str], None]) -> int:
    """Train this rank's part of a run that may begin; the process's exit status."""
    config = start.config
    for note in start.notes:
        print_line(note)
    assert start.data is not None
    num_steps = config.total_steps(start.data.train.num_steps)
    if start.position is not None and start.position.global_step >= num_steps and not start.validation_due:
        print_line(
            f"{start.checkpoint}: all {num_steps:,} steps are done. Set a larger trainer.max_steps to train on."
        )
        return 0
    policy = build_policy(config, fetch_weights=start.checkpoint is None)
    facts = policy_facts(config) if torch.cuda.is_available() else count_weights(policy)
    for line in start_lines(start, facts):
        print_line(line)
    run_dir = Path(config.run_dir)
    if start.checkpoint is not None and is_main_process():
        set_aside(run_dir, start.checkpoint)
    data = build_data(config)
    module = RocketModule(policy, config, build_objectives(config.objectives, load_teacher))
    if config.trainer.activation_checkpointing:
        policy.enable_activation_checkpointing()
    if config.trainer.compile:
        policy.compile_layers()
    callbacks, checkpoints = _callbacks(config, start, facts, resume_command)
    loggers = _loggers(config, start)
    lightning_trainer = build_trainer(_with_room(config, start, num_steps), start.num_ranks, callbacks, loggers)
    interrupted: RunInterrupted | None = None
    try:
        lightning_trainer.fit(
            module,
            datamodule=data,
            ckpt_path=str(start.checkpoint) if start.checkpoint else None,
            weights_only=True,
        )
    except RunInterrupted as stop:
        interrupted = stop
    except AgreedStop as stop:
        saved = f" Saved before it: {checkpoints.last_saved}." if checkpoints.last_saved else ""
        raise AgreedStop(f"{stop}{saved}") from stop
    finally:
        data.teardown()
        _finish_wandb()
    if not is_main_process():
        return 0
    if interrupted is not None:
        print_line(str(interrupted))
        requeued = requeue_under_slurm(interrupted.signal_number)
        if requeued is not None:
            print_line(requeued)
        return 128 + interrupted.signal_number
    for line in summary_lines(run_dir, module, data, checkpoints, lightning_trainer.global_step):
        print_line(line)
    return 0


def summary_lines(
    run_dir: Path, module: RocketModule, data: RocketDataModule, checkpoints: Checkpoints, global_step: int
) -> list[str]:
    """The summary: what was written, what was lost, what to type next."""
    lines = []
    report, validation = module.report, module.validation
    if report is not None:
        lines.append(f"step {global_step:,}: loss {report.losses['loss']:.4f}")
    if validation:
        lines.append(validation_text(validation))
    if module.skipped:
        lines.append(f"skipped: {len(module.skipped)} steps with bad losses, the last: {module.skipped[-1]}")
    lost = module.lost_windows
    if lost:
        frames, shards = sum(frames for _, frames in lost), sorted({shard for shard, _ in lost})
        lines.append(
            f"damage: {len(lost)} windows with {frames:,} frames were masked, in {', '.join(shards)}. "
            "Run: rocket-prep verify DATASET --repair SOURCE"
        )
    lines.append(f"written: {run_dir / METRICS_FILE}, {checkpoints.last_saved}, {run_dir / 'weights'}/")
    if module.config.logging.page:
        lines.append(write_page(run_dir))
    newest = newest_weights(run_dir)
    datasets = " ".join(shlex.quote(one.path) for one in data.config.datasets)
    if newest is not None:
        lines.append(f"next: rocket-train evaluate {shlex.quote(str(newest))} {datasets}")
    return lines


def write_page(run_dir: Path, *, frames: bool = True) -> str:
    """The run's page is in its folder; a line about it. Its failure does not fail the run."""
    from trainer.look.run_page import write_run_page

    try:
        return f"page: {write_run_page(run_dir, frames=frames)}"
    except (RocketError, OSError) as error:
        return f"page: not written, {error}"


def _with_room(config: RunConfig, start: Start, num_steps: int) -> RunConfig:
    """The settings, with one more step than the run has where only its last validation is left to do.

    Lightning does nothing at all once the last step is done.
    """
    if start.position is None or start.position.global_step < num_steps:
        return config
    longer = {"max_steps": num_steps + 1, "max_epochs": None}
    return config.model_copy(update={"trainer": config.trainer.model_copy(update=longer)})


def _callbacks(
    config: RunConfig, start: Start, facts: PolicyFacts, resume_command: str
) -> tuple[list[Callback], Checkpoints]:
    assert start.data is not None
    speed = SpeedMeter(facts.flops_per_frame)
    num_steps = config.total_steps(start.data.train.num_steps)
    progress, run_dir = ProgressLine(speed, num_steps), Path(config.run_dir)
    pages = PageWriter(lambda: write_page(run_dir, frames=False))

    def saved(step: int, path: Path) -> None:
        progress.note(f"step {step}/{num_steps}  saved {path}")
        pages.is_due = True

    checkpoints = Checkpoints(run_dir, config.trainer.save_every, resume_command, saved)
    callbacks: list[Callback] = [StopSignals()]
    if config.data.episode_continuous_batch:
        callbacks.append(LaneAuditor())
    if config.validation.play_episodes:
        callbacks.append(PlayValidation(config))
    if config.ema.enabled:
        callbacks.append(Ema(**config.ema.model_dump(exclude={"enabled"})))
    callbacks += [speed, Reporter(speed), progress, LastValidation(num_steps)]
    if config.logging.page:
        callbacks.append(pages)
    return [*callbacks, checkpoints], checkpoints


def _loggers(config: RunConfig, start: Start) -> list[Logger]:
    """Loggers of the main process; the others write nothing."""
    if not is_main_process():
        return []
    run_dir = Path(config.run_dir)
    resume_step = start.position.global_step if start.position is not None else 0
    try:
        write_record(run_dir, config, start.changes, resume_step, datetime.now(UTC).isoformat(timespec="seconds"))
    except OSError as error:
        raise SettingsError(
            [f"run_dir: {run_dir} cannot be written: {error.strerror}. Choose another."]
        ) from error
    loggers: list[Logger] = [MetricsCsv(run_dir / METRICS_FILE, resume_step)]
    wandb_logger = build_wandb(config, resumed=start.checkpoint is not None)
    return loggers if wandb_logger is None else [*loggers, wandb_logger]


def _finish_wandb() -> None:
    if "wandb" in sys.modules:
        import wandb

        if wandb.run is not None:
            wandb.finish()
