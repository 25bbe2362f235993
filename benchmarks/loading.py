"""Loading: frames per core-second, time to the first batch and memory of every loader over the same clips."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.environments import OURS, Environment, minestudio, peers
from benchmarks.measure import ProgramFailed, Spread, alternate
from benchmarks.report import Table

_PATIENCE_SECONDS = 240.0
READERS_OF_OUR_CLIPS = ("WebDataset", "LitData", "Streaming")


@dataclass(frozen=True)
class Contender:
    """A loader as it is measured."""

    title: str
    name: str
    environment: Environment
    data: Path
    num_workers: int
    decode: str = "planar"

    def run(self, task: str, *words: str, program: str = "load") -> Any:
        """The answer of the program that opens the loader for this task."""
        chosen = ["--workers", str(self.num_workers), "--decode", self.decode]
        module = f"benchmarks.programs.{program}"
        words = (task, self.name, str(self.data), *chosen, *words)
        return self.environment.run(module, *words, timeout_seconds=_PATIENCE_SECONDS).answer


def contenders(ours: Path, theirs: Path) -> list[Contender]:
    """All loaders, each without and with two processes; the readers of our clips with torchcodec, too."""
    found = [Contender("libavcodec alone (the limit)", "libavcodec", OURS, ours, 0)]
    for num_workers in (0, 2):
        with_workers = f", {num_workers} workers"
        found.append(Contender(f"rocket1{with_workers}", "rocket1", OURS, ours, num_workers))
        found.append(Contender(f"MineStudio{with_workers}", "MineStudio", minestudio(), theirs, num_workers))
        found += [
            Contender(f"{name}{with_workers}", name, peers(), ours, num_workers) for name in READERS_OF_OUR_CLIPS
        ]
    torchcodec = "0 workers, RGB by torchcodec"
    return found + [
        Contender(f"{name}, {torchcodec}", name, peers(), ours, 0, "rgb") for name in READERS_OF_OUR_CLIPS
    ]


def make_peers_sets(ours: Path) -> None:
    """LitData's and Streaming's own files with the same clips lie beside our dataset."""
    for module in ("lit", "mosaic"):
        peers().run(f"benchmarks.loaders.{module}", str(ours))


@dataclass(frozen=True)
class Loaded:
    """Title -> its trials, and title -> why there are none."""

    trials: dict[str, list[dict[str, float]]]
    failures: dict[str, str]


def measure(entrants: list[Contender], num_batches: int, repeats: int) -> Loaded:
    """Every loader's speed, in turn; one that fails is not tried again."""
    print(f"loading: {num_batches} batches of 8 windows of 128 frames", flush=True)
    failures: dict[str, str] = {}

    def attempt(entrant: Contender) -> Any:
        if entrant.title in failures:
            return None
        try:
            return entrant.run("speed", "--batches", str(num_batches))
        except ProgramFailed as problem:
            failures[entrant.title] = problem.reason()
            return None

    trials: dict[str, Callable[[], Any]] = {
        entrant.title: lambda entrant=entrant: attempt(entrant) for entrant in entrants
    }
    done = alternate(trials, repeats)
    return Loaded({title: tried for title, tried in done.items() if title not in failures}, failures)


def check_equal(entrants: list[Contender]) -> dict[str, str]:
    """What each reader of our clips makes of them is, bit by bit, what our loader gives."""
    expected = next(entrant for entrant in entrants if entrant.name == "rocket1").run("digest")["digests"]
    found = {}
    for name in READERS_OF_OUR_CLIPS:
        entrant = next(one for one in entrants if one.name == name and one.decode == "planar")
        digests = entrant.run("digest")["digests"]
        same = [
            window
            for window, sums in digests.items()
            if all(expected[window][field] == value for field, value in sums.items())
        ]
        found[name] = f"{len(same)} of {len(expected)} windows equal"
    return found


def table(loaded: Loaded, equal: dict[str, str]) -> Table:
    """Rates, first batch and memory."""
    rates = {title: rate(trials) for title, trials in loaded.trials.items()}
    limit = next(spread.median for title, spread in rates.items() if title.startswith("libavcodec"))
    result = Table(
        "Loading 128-frame windows with actions and masks, 8 at a time",
        [
            "",
            "frames a core-second",
            "of the limit",
            "first batch after",
            "memory in all",
            "of the largest worker",
        ],
    )
    for title, done in loaded.trials.items():
        worker = max(trial["peak_child_mb"] for trial in done)
        result.add(
            title,
            rates[title].text(),
            f"{100 * rates[title].median / limit:.0f} %",
            f"{Spread.of([trial['first_batch_seconds'] for trial in done]).text(1)} s",
            f"{max(trial['peak_mb'] for trial in done):,.0f} MB",
            f"{worker:,.0f} MB" if ", 2 workers" in title else "",
        )
    for title, reason in loaded.failures.items():
        result.add(title, f"not able: {reason}", "", "", "", "")
    result.notes.append(
        "The readers of our clips make the tensors that ours makes, with the same functions (unless RGB is said): "
        + "; ".join(f"{name} {text}" for name, text in equal.items())
        + ". MineStudio reads its own chunks and makes RGB. Times to the first batch count from the opening on, "
        "after imports."
    )
    return result


def rate(trials: list[dict[str, float]]) -> Spread:
    """Frames a core-second."""
    return Spread.of([trial["frames_per_core_second"] for trial in trials])
