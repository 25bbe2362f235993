"""The policy: step time and memory of ours and MineStudio's, in the same loop."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.environments import OURS, Environment, minestudio
from benchmarks.measure import Spread, alternate
from benchmarks.report import Table

_PROGRAM = "benchmarks.programs.policy_step"


def measure(repeats: int, work: Path, chosen: list[tuple[int, int]]) -> tuple[dict[str, list[Any]], float]:
    """Trials by name, and the largest relative difference of the two policies' answers with the same weights."""
    print("policy", flush=True)
    trials: dict[str, Callable[[], Any]] = {}
    for lanes, frames in chosen:
        shape = ["--lanes", str(lanes), "--frames", str(frames)]
        where = f"cpu, {lanes} x {frames} frames"
        for name, environment in (("rocket1", OURS), ("MineStudio", minestudio())):
            trials[f"{name}, {where}"] = _trial(environment, name, shape)
    done = alternate(trials, repeats)
    saved = str(work / "policy.pt")
    minestudio().run(_PROGRAM, "MineStudio", "--frames", "8", "--save", saved)
    compared = OURS.run(_PROGRAM, "rocket1", "--frames", "8", "--compare", saved).answer
    Path(saved).unlink()
    return done, float(compared["largest_relative_error"])


def table(results: dict[str, list[Any]], error: float) -> Table:
    """Seconds, core-seconds and memory a step."""
    result = Table(
        "A training step at full size (EfficientNet-B0, 224 px, width 1024): forward, backward, clip, AdamW",
        ["", "seconds a step", "core-seconds a step", "frames a second", "peak memory"],
    )
    for name, trials in results.items():
        seconds = Spread.of([value for trial in trials for value in trial["seconds"]])
        cores = Spread.of([value for trial in trials for value in trial["core_seconds"]])
        lanes, frames = (int(word) for word in name.split(", ")[-1].removesuffix(" frames").split(" x "))
        result.add(
            name,
            seconds.text(2),
            cores.text(2),
            f"{lanes * frames / seconds.median:,.1f}",
            f"{max(trial['peak_mb'] for trial in trials):,.0f} MB",
        )
    result.notes.append(
        "With MineStudio's weights and the same frames, the largest difference of any action's log-probability "
        f"over two windows is {error:.0e} of the largest one."
    )
    return result


def _trial(environment: Environment, name: str, words: list[str]) -> Callable[[], Any]:
    return lambda: environment.run(_PROGRAM, name, *words).answer
