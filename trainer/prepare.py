"""What is checked before a run takes a GPU: settings, machine, data, checkpoint."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shards.errors import RocketError
from shards.schedule.lanes import lanes_of_rank
from trainer.changes import Change, changes_on_resume, check_changes, notes_on_record
from trainer.checkpoints.checkpoint import (
    Position,
    content_hash,
    fault_of,
    full_checkpoints,
    newest_whole,
    read_full,
    step_of,
)
from trainer.collectives import gather_objects
from trainer.config import resolve_lanes
from trainer.data.plan import STATE_NAME, DataPlan
from trainer.devices import check_devices, count_ranks, starts_ranks
from trainer.learning.guard import AgreedStop
from trainer.learning.objectives import find_objective
from trainer.look.run_folder import METRICS_FILE
from trainer.rank_watch import name_of_this_rank
from trainer.ranks import is_main_process
from trainer.settings import RunConfig

AUTO = "auto"
"""`--resume auto`: the newest whole checkpoint of the run's folder."""


@dataclass(frozen=True)
class Start:
    """A run that may begin: settings that fit together, the machine, the data and the checkpoint."""

    config: RunConfig
    num_ranks: int
    data: DataPlan | None
    checkpoint: Path | None
    position: Position | None
    validation_due: bool
    """The checkpoint was made before a validation, which is still to do."""
    changes: list[Change]
    """Settings that differ from the checkpoint's."""
    notes: list[str]


def prepare(config: RunConfig, resume: str | None, dry_run: bool = False) -> Start:
    """Check everything that can be checked before a GPU is taken.

    Args:
        resume: None, `auto`, or a checkpoint's path.
        dry_run: the machine need not have the devices, and there may be no data.
    """
    num_ranks = count_ranks(config)
    config = resolve_lanes(config, num_ranks)
    if not dry_run:
        from trainer.policy.backbone import check_name  # loads timm, which a dry run can often do without

        check_devices(config)
        check_name(config.policy.backbone)
    for objective in config.objectives:
        find_objective(objective.name)
    run_dir = Path(config.run_dir)
    checkpoint, notes = _choose_checkpoint(run_dir, resume)
    content: dict[str, Any] = {}
    changes: list[Change] = []
    position, validation_due = None, False
    if checkpoint is not None:
        content = read_full(checkpoint)
        position = Position(**content["rocket"]["position"])
        validation_due = content["rocket"]["validation_due"]
        newer = [path for path in full_checkpoints(run_dir) if step_of(path) > position.global_step]
        if newer and resume != AUTO and is_main_process():
            raise RocketError(
                f"{run_dir}: holds a newer checkpoint than {checkpoint.name}, {newer[-1].name}. "
                "Go on with --resume auto, or branch off into another run_dir."
            )
        changes = changes_on_resume(content["hyper_parameters"]["config"], config)
        check_changes(changes, checkpoint)
        if checkpoint in full_checkpoints(run_dir):
            notes += notes_on_record(run_dir, changes, config)
    if not config.data.datasets and dry_run:
        return Start(config, num_ranks, None, checkpoint, position, validation_due, changes, notes)
    data = DataPlan.open(config.data, config.seed, num_ranks)
    if checkpoint is not None:
        state = content[STATE_NAME]
        if config.data.num_lane_groups is None:
            data = data.with_groups(state.get("num_groups"))
        try:
            data.saved_position(state)
        except RocketError as error:
            raise RocketError(f"{checkpoint}: {str(error).removeprefix('checkpoint: ')}") from error
    data.check_shards(lanes_of_rank(0, num_ranks, data.train.settings.num_lanes))
    return Start(config, num_ranks, data, checkpoint, position, validation_due, changes, notes)


def prepare_together(config: RunConfig, resume: str | None, join: Callable[[], None]) -> Start:
    """As `prepare`, on all ranks alike, once `join` has brought them together.

    All follow the main process's choice of a checkpoint, or stop together.

    Raises:
        AgreedStop: on every rank, if one of them cannot start, or would start from another checkpoint.
        RocketError: in the main process, before there are other ranks.
    """
    start, problem = _attempt(config, resume) if is_main_process() else (None, None)
    if problem is not None and starts_ranks():
        raise RocketError(problem)
    join()
    chosen, problem = gather_objects((start.checkpoint if start is not None else None, problem))[0]
    if problem is not None:
        raise AgreedStop(problem)
    if start is None:
        start, problem = _attempt(config, str(chosen) if chosen is not None else None)
    found = gather_objects((name_of_this_rank(), problem, _content(start)))
    expected = found[0][2]
    problems = [
        f"{name}: {problem}"
        if problem
        else f"{name}: {chosen} is another file there, got {content}, expected {expected}."
        for name, problem, content in found
        if content != expected
    ]
    if chosen is not None and any(str(chosen) in problem for problem in problems):
        problems[-1] += " Put run_dir on a folder that all machines share, or copy the checkpoint to each of them."
    if problems:
        raise AgreedStop("\n".join(problems))
    assert start is not None
    return start


def _attempt(config: RunConfig, resume: str | None) -> tuple[Start | None, str | None]:
    """A start, or what is wrong with it."""
    try:
        return prepare(config, resume), None
    except RocketError as error:
        return None, str(error)


def _content(start: Start | None) -> str | None:
    """The step at which a rank starts, and a hash of what it starts from; None where it cannot."""
    if start is None or start.checkpoint is None or start.position is None:
        return None if start is None else "no checkpoint"
    return f"step {start.position.global_step} ({content_hash(start.checkpoint)})"


def _choose_checkpoint(run_dir: Path, resume: str | None) -> tuple[Path | None, list[str]]:
    """The checkpoint to go on from, and what is to be said about others."""
    if resume is None:
        begun = full_checkpoints(run_dir)
        if is_main_process() and (begun or (run_dir / METRICS_FILE).exists()):
            last = f" up to {begun[-1].name}" if begun else ""
            raise RocketError(
                f"{run_dir}: holds a run already{last}. Go on with --resume auto, or choose another run_dir."
            )
        return None, []
    if resume != AUTO:
        path = Path(resume)
        fault = fault_of(path) if path.is_file() else None
        if fault is not None:
            raise RocketError(f"{path}: {fault}. Use --resume auto, which takes the newest whole one.")
        return path, []
    chosen, faults = newest_whole(run_dir)
    if chosen is None:
        if faults:
            raise RocketError(
                f"{run_dir}: none of its {len(faults)} checkpoints is whole. Start again in another run_dir, from "
                f"its newest weights: policy.init_from={run_dir}/weights/..."
            )
        return None, [f"{run_dir}: no checkpoint yet, so the run starts at the beginning."]
    return chosen, faults
