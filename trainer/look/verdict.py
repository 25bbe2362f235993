"""A run's figures in words: learning or not, better than guessing or not, what memory is worth, waiting or not."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from shards.display.wording import count, number_of, percent
from trainer.look.run_folder import Rows

Mark = Literal["good", "bad", "open"]

_FEW_ROWS = 6
_FELL, _MATTERS = 0.03, 0.01
"""Relative changes of a loss: less than the first is no learning; less than the second is no difference."""

_WAITS = 0.1
_TRAP_ACCURACY, _TRAP_F1, _NAMED = 0.9, 0.01, 6


@dataclass(frozen=True)
class Finding:
    """One sentence; `mark` says whether it is good, bad, or not to be told yet."""

    mark: Mark
    text: str


def verdict(rows: Rows, validations: Rows, memory: str) -> list[Finding]:
    """What the figures of a run say, the most important first; `memory` is `trainer.memory`."""
    findings = [_learning(rows)]
    if validations:
        last = validations[-1]
        findings += [*_rising(validations), *_guessing(last), *_remembering(last, memory), *_traps(last)]
    else:
        findings.append(Finding("open", "No validation yet, so nothing is known about other episodes."))
    return [*findings, *_waiting(rows)]


def _learning(rows: Rows) -> Finding:
    losses = [row["train/loss"] for row in rows if np.isfinite(row.get("train/loss", np.nan))]
    if len(losses) < _FEW_ROWS:
        logged = number_of(len(losses), "logged step")
        return Finding("open", f"Too early to say whether it learns: {logged}, expected {_FEW_ROWS} or more.")
    part = max(len(losses) // 10, 2)
    first, last = float(np.mean(losses[:part])), float(np.mean(losses[-part:]))
    change = f"training loss {first:.3f} at the start, {last:.3f} now"
    if last < first - _FELL * abs(first):
        return Finding("good", f"It learns: {change}.")
    return Finding("bad", f"It does not learn: {change}. Look at the learning rate and the gradient norm.")


def _rising(validations: Rows) -> Iterator[Finding]:
    best, last = min(validations, key=lambda figures: figures["loss"]), validations[-1]
    if last["loss"] <= best["loss"] * (1 + _FELL):
        return
    step = f"step {count(best['step'])}"
    text = f"Validation loss has risen from {best['loss']:.3f} at {step} to {last['loss']:.3f}"
    yield Finding("bad", f"{text}: the weights of {step} are better.")


def _guessing(last: Mapping[str, float]) -> Iterator[Finding]:
    guess = last.get("loss_constant_guess")
    if not guess:
        return
    gain = 1 - last["loss"] / guess
    figures = f"validation loss {last['loss']:.3f}, best constant guess {guess:.3f}"
    if gain > _MATTERS:
        yield Finding("good", f"It is better than guessing: {figures}, {percent(gain)} less.")
    else:
        yield Finding("bad", f"It is {'worse than' if gain < -_MATTERS else 'as good as'} guessing: {figures}.")


def _remembering(last: Mapping[str, float], memory: str) -> Iterator[Finding]:
    if memory == "reset":
        yield Finding("open", "Memory is cleared at every window (trainer.memory: reset).")
        return
    for with_name, without_name, where in (
        ("loss_with_memory", "loss_without_memory", "frames with earlier windows of their episode"),
        ("loss_watched", "loss_watched_without_memory", "watched frames"),
    ):
        if with_name not in last or without_name not in last:
            continue
        kept, without = last[with_name], last[without_name]
        figures = f"loss {kept:.3f} with it, {without:.3f} without, on {where}"
        gain = without / kept - 1 if kept > 0 else 0.0
        if gain > _MATTERS:
            yield Finding("good", f"Memory helps: {figures} ({without / kept:.1f} times as much).")
        elif gain < -_MATTERS:
            yield Finding("bad", f"Memory harms: {figures}.")
        else:
            yield Finding("open", f"Memory makes no difference yet: {figures}.")


def _traps(last: Mapping[str, float]) -> Iterator[Finding]:
    """Buttons that are so rare that never pressing them is nearly always right."""
    scores = {key.removeprefix("button_f1/"): last[key] for key in last if key.startswith("button_f1/")}
    names = [
        name
        for name, f1 in scores.items()
        if f1 <= _TRAP_F1 and last.get(f"button_accuracy/{name}", 0.0) >= _TRAP_ACCURACY
    ]
    if names:
        lowest = min(last[f"button_accuracy/{name}"] for name in names)
        listed = ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
        text = f"{number_of(len(names), 'button')} with an accuracy of {percent(lowest)} or more but F1 0"
        yield Finding("bad", f"{text}: rarely pressed, and never rightly by the policy: {listed}.")


def _waiting(rows: Rows) -> Iterator[Finding]:
    shares = [row["speed/data_wait_share"] for row in rows if "speed/data_wait_share" in row]
    if not shares:
        return
    share = float(np.mean(shares[len(shares) // 2 :]))
    if share < _WAITS:
        yield Finding("good", f"It does not wait for data ({percent(share)} of the time).")
    else:
        remedy = "Try more data.num_workers, or a local cache."
        yield Finding("bad", f"It waits for data {percent(share)} of the time. {remedy}")
