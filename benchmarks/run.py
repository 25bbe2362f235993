"""Measures everything side by side and writes a result page: `make bench`, or

python -m benchmarks.run [--only PART ...] [--small] [--repeats N] [--work DIR]
"""

from __future__ import annotations

import argparse
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import abilities, codec_table, loading, planning, policy, preparing
from benchmarks.environments import OURS, load_average, machine, machine_slug, minestudio, peers
from benchmarks.measure import ROOT, Spread
from benchmarks.recordings import real_source, sample_source
from benchmarks.report import Bars, Table, draw_chart
from pipeline.transcode.ffmpeg import find_ffmpeg
from shards.reader import open_dataset

PARTS = ("preparing", "loading", "abilities", "policy", "codec", "planning")
_OURS = ("torch", "torchvision", "av", "numpy", "webdataset", "pyarrow", "lightning", "timm")
_PEERS = ("litdata", "mosaicml-streaming", "webdataset", "torchcodec", "av", "torch", "numpy")
_MINESTUDIO = ("minestudio", "av", "lmdb", "opencv-python-headless")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--frames", type=int, default=1600, help="source frames of the sample recordings")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--small", action="store_true", help="tiny and once: does everything run?")
    parser.add_argument("--work", type=Path, default=Path("build/bench"), help="recordings and datasets; kept")
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results")
    options = parser.parse_args()
    if options.small:
        options.frames, options.repeats = min(options.frames, 1200), 1
    work = options.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    options.results.mkdir(parents=True, exist_ok=True)
    started, load = datetime.now(UTC), load_average()
    page = options.results / f"{started:%Y-%m-%d}-{machine_slug()}.md"
    tables: list[Table] = []
    panels: list[Bars] = []
    for done in measure(options, work):
        for one in done:
            into = panels if isinstance(one, Bars) else tables
            if one not in into:  # a table that has grown comes again
                into.append(one)
        # Written again after each part, so that what was measured is kept if a later part fails.
        chart = page.with_suffix(".png") if panels else None
        if chart is not None:
            draw_chart(panels, chart)
        page.write_text(make_page(tables, chart, started, load, options), encoding="utf-8")
    print("", *(table.markdown() for table in tables), f"{page}: written.", sep="\n")


def measure(options: argparse.Namespace, work: Path) -> Iterator[list[Table | Bars]]:
    """The chosen parts' tables in order, and panels for the chart, each part when it is done."""
    parts = set(options.only)
    sample, real = sample_source(work, options.frames), real_source(work)
    ours, theirs = preparing.loading_sets(sample, work)
    if "preparing" in parts:
        for source in (sample, real) if not options.small else (sample,):
            if source is not None:
                done = preparing.measure(source, work, options.repeats)
                rates = {name: preparing.rate(done, name) for name in done.trials}
                title = f"preparing ({source.name}), source frames a core-second"
                yield [preparing.table(done), _bars(title, rates)]
        preparing.convert_for_loading(sample, work)
        loading.make_peers_sets(ours)
    if parts & {"loading", "abilities", "planning"} and not theirs.exists():
        raise SystemExit(f"{theirs}: nothing to load yet. Run the part `preparing` first.")
    entrants = loading.contenders(ours, theirs) if parts & {"loading", "abilities"} else []
    if "loading" in parts:
        loaded = loading.measure(entrants, 2 if options.small else 6, options.repeats)
        rates = {name: loading.rate(trials) for name, trials in loaded.trials.items() if "torchcodec" not in name}
        yield [
            loading.table(loaded, loading.check_equal(entrants)),
            _bars("loading, frames a core-second", rates),
        ]
    if "abilities" in parts:
        yield [try_abilities(entrants, ours)]
    if "policy" in parts:
        shapes = [(1, 4)] if options.small else [(1, 16), (1, 32)]
        yield [policy.table(*policy.measure(options.repeats, work, shapes))]
    if "codec" in parts:
        for source in (sample, real):
            if source is not None:
                num_frames = 256 if options.small else 768
                yield [codec_table.measure(source, num_frames, work, options.repeats)]
    if "planning" in parts:
        scales = ([0.1, 1.0], [0.1]) if options.small else ([1.0, 10.0, 100.0], [1.0, 10.0, 100.0])
        for table in planning.measure(ours, work, options.repeats, *scales):
            yield [table]


def try_abilities(entrants: list[loading.Contender], ours: Path) -> Table:
    """Lanes and resume of each loader."""
    dataset = open_dataset(ours)
    lengths = dict(zip(dataset.episodes.ids, dataset.episodes.num_frames.tolist(), strict=True))
    chosen = [
        loading.Contender(one.name, one.name, one.environment, one.data, 0, "none")
        for one in entrants
        if one.num_workers == 0 and one.decode == "planar" and one.name != "libavcodec"
    ]
    of_minestudio = next(one for one in chosen if one.name == "MineStudio")
    theirs = minestudio().run("benchmarks.programs.minestudio_facts", str(of_minestudio.data)).answer["episodes"]
    return abilities.try_all(chosen, {one.name: theirs if one.name == "MineStudio" else lengths for one in chosen})


def make_page(
    tables: list[Table], chart: Path | None, started: datetime, load: float, options: argparse.Namespace
) -> str:
    """The result page."""
    facts = [*machine().items(), ("load average at the start", f"{load:.1f}"), ("ffmpeg", find_ffmpeg().version)]
    for title, versions in (
        ("ours", OURS.versions(*_OURS)),
        ("peers", peers().versions(*_PEERS)),
        ("MineStudio", minestudio().versions(*_MINESTUDIO)),
    ):
        facts.append((title, ", ".join(f"{name} {version}" for name, version in versions.items())))
    asked = ["git", "rev-parse", "--short", "HEAD"]
    commit = (
        subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip() or "unknown"
    )
    command = f"python -m benchmarks.run --only {' '.join(options.only)} --frames {options.frames}"
    lines = [
        f"# Benchmarks of {started:%Y-%m-%d}",
        "",
        f"`{command}` at commit {commit}. Medians of {options.repeats} trials (lowest to highest), in turn.",
        "",
        "A core-second is a second of CPU time of all processes of a program together.",
        "",
        *(f"- {name}: {value}" for name, value in facts),
        "",
    ]
    if chart is not None:
        lines += [f"![chart]({chart.name})", ""]
    return "\n".join(lines) + "\n" + "\n".join(table.markdown() for table in tables)


def _bars(title: str, rates: dict[str, Spread]) -> Bars:
    spreads = list(rates.values())
    return Bars(
        title, list(rates), [s.median for s in spreads], [s.low for s in spreads], [s.high for s in spreads]
    )


if __name__ == "__main__":
    main()
