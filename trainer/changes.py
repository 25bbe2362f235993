"""What changes when a run goes on: its settings beside those of its checkpoint, and the history in its folder.

RUN_DIR/config.yaml     the settings of the newest start
RUN_DIR/datasets.json   the fingerprint of each of its datasets, by path
RUN_DIR/changes.jsonl   a line for each setting that a start has changed, with which earlier ones can be had
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shards.errors import SettingsError
from shards.reader import read_info
from shards.settings import CONFIG_FILE, Setting, flat, read_yaml, settings_of, shown
from trainer.checkpoints.disk import write_atomically
from trainer.settings import ObjectiveConfig, RunConfig

DATASETS_FILE = "datasets.json"
HISTORY_FILE = "changes.jsonl"


@dataclass(frozen=True)
class Change:
    """A setting that differs from the one that the run was saved with."""

    key: str
    old: Any
    new: Any
    refused: bool

    def __str__(self) -> str:
        return f"{self.key}: {shown(self.old)} -> {shown(self.new)}"


def changes_on_resume(saved: dict[str, Any], config: RunConfig) -> list[Change]:
    """What differs between a checkpoint's settings and today's, lanes resolved, in the order of the settings.

    A change is refused where it would make the run a different one. Settings that the checkpoint does not know,
    being older, count as their defaults; those that are gone since do not count.
    """
    old, new = flat(saved), flat(config.model_dump())
    return [
        change
        for setting in settings_of(RunConfig)
        for change in _changes(setting, old.get(setting.key, setting.default), new[setting.key])
    ]


def check_changes(changes: Sequence[Change], checkpoint: Path) -> None:
    """Return if a run can go on from the checkpoint with these changes.

    Raises:
        SettingsError: naming each that would make it a different run.
    """
    refused = [
        f"{one.key}: got {shown(one.new)}, expected {shown(one.old)} as in {checkpoint}: a run cannot change it. "
        f"Set {one.key}={shown(one.old)}, or train from the beginning in another run_dir, without --resume."
        for one in changes
        if one.refused
    ]
    if refused:
        raise SettingsError(refused)


def notes_on_record(run_dir: Path, changes: Sequence[Change], config: RunConfig) -> list[str]:
    """A line where the folder's record of its settings is missing, or was edited for nothing.

    The changes since the run's checkpoint are told anyway.
    """
    path = run_dir / CONFIG_FILE
    if not path.is_file():
        return [f"{path}: missing, so it is written again; the checkpoint tells the settings until now."]
    try:
        content = read_yaml(path)
    except SettingsError:
        return [f"{path}: not readable, so it is written again; the checkpoint tells the settings until now."]
    told = {one.key for one in changes}
    ignored = [one for one in changes_on_resume(content, config) if one.key not in told]
    if not ignored:
        return []
    differences = ", ".join(
        f"{one.key} is {shown(one.old)} there and {shown(one.new)} in this run" for one in ignored
    )
    words = " ".join(f"{one.key}={shown(one.old)}" for one in ignored)
    return [f"{path}: is a record that no run reads: {differences}. To change the run, add {words}"]


def write_record(run_dir: Path, config: RunConfig, changes: Sequence[Change], step: int, date: str) -> None:
    """The folder holds today's settings, the datasets' fingerprints, and what changed in its history.

    A change that is there already for that step, from a start that came to no checkpoint, is not repeated.

    Raises:
        OSError: the folder cannot be written.
    """
    from omegaconf import OmegaConf

    history = read_history(run_dir)
    known = [{**entry, "date": date} for entry in history]
    entries = [{"step": step, "date": date, "key": one.key, "old": one.old, "new": one.new} for one in changes]
    new = [entry for entry in entries if entry not in known]
    if new:
        lines = "".join(f"{json.dumps(entry)}\n" for entry in [*history, *new])
        write_atomically(run_dir / HISTORY_FILE, lines.encode())
    fingerprints = {one.path: read_info(one.path).fingerprint for one in config.data.datasets}
    write_atomically(run_dir / DATASETS_FILE, f"{json.dumps(fingerprints, indent=1)}\n".encode())
    write_atomically(run_dir / CONFIG_FILE, OmegaConf.to_yaml(OmegaConf.create(config.model_dump())).encode())


def read_history(run_dir: Path) -> list[dict[str, Any]]:
    """The changes of a run's settings in order: step, date, key, old and new value; none without a history."""
    path = run_dir / HISTORY_FILE
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return [json.loads(line) for line in lines]


def _changes(setting: Setting, old: Any, new: Any) -> Iterator[Change]:
    if setting.key == "objectives" and isinstance(old, list) and len(old) == len(new):
        for place, (before, now) in enumerate(zip(old, new, strict=True)):
            for part in settings_of(ObjectiveConfig):
                named = Setting(f"objectives.{place}.{part.key}", "", "", part.default, part.marks)
                yield from _changes(named, before.get(part.key, part.default), now[part.key])
    elif old != new:
        yield Change(setting.key, old, new, setting.marks["resume"] == "fixed")
