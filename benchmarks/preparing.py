"""Preparing: source frames per core-second, bytes a frame, quality and memory of ours, MineStudio's and ffmpeg."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.bare_ffmpeg import ffmpeg_command, kept_frames
from benchmarks.environments import Environment, minestudio
from benchmarks.measure import Finished, Spread, alternate, run_program
from benchmarks.recordings import NUM_COPIES, Source, link_copies
from benchmarks.report import Table
from shards.reader import Dataset, open_dataset

NUM_WORKERS = min(2, os.cpu_count() or 1)


@dataclass(frozen=True)
class Prepared:
    """One trial: what it used, and what it left.

    Attributes:
        core_seconds: of all processes, by part; "all" is the sum.
        num_bytes: of the output, by part.
        num_frames: frames in the output.
    """

    core_seconds: dict[str, float]
    wall_seconds: float
    peak_process_mb: float
    num_bytes: dict[str, int]
    num_frames: int


def prepare_ours(source: Source, out: Path) -> Prepared:
    """Our build, with its default settings but for smaller shards: some for each of a loader's processes."""
    shutil.rmtree(out, ignore_errors=True)
    program = [
        str(Path(sys.executable).parent / "rocket-prep"),
        "build-shards",
        str(source.many),
        "--out",
        str(out),
    ]
    done = run_program([*program, "--workers", str(NUM_WORKERS), f"shard_frames={source.num_frames}"])
    dataset = open_dataset(out)
    sizes = {"video": 0, "actions and masks": 0, "in all": sum(dataset.info.files["shard_bytes"])}
    for episode in range(len(dataset.episodes)):
        for row in dataset.clip_rows(episode):
            sizes["video"] += row.mp4_size
            sizes["actions and masks"] += row.arrays_size + row.json_size
    return _prepared(done, {"all": done.core_seconds}, sizes, int(dataset.episodes.num_frames.sum()))


def prepare_minestudio(source: Source, out: Path, environment: Environment) -> Prepared:
    """MineStudio's whole route: its script for raw recordings, then its converters."""
    shutil.rmtree(out, ignore_errors=True)
    root, lmdb = out / "intermediate", out / "lmdb"
    shutil.copytree(source.minestudio, root, copy_function=os.link)
    script = "minestudio.data.minecraft.tools.process_all_openai"
    first = environment.run(script, "--nb-worker", str(NUM_WORKERS), "--input-dir", str(root))
    masks = ["--segmentation"] if source.has_masks else []
    converter = "benchmarks.programs.minestudio_convert"
    second = environment.run(converter, str(root), str(lmdb), "--workers", str(NUM_WORKERS), *masks)
    facts = environment.run("benchmarks.programs.minestudio_facts", str(lmdb)).answer
    core_seconds: dict[str, float] = second.answer["core_seconds"]
    converting = sum(core_seconds.values())
    return Prepared(
        {
            "all": first.core_seconds + converting,
            "raw to intermediate": first.core_seconds,
            "converting": converting,
            **core_seconds,
        },
        first.wall_seconds + sum(second.answer["wall_seconds"].values()),
        max(first.peak_process_mb, second.peak_process_mb),
        facts["num_bytes"],
        facts["num_frames"],
    )


def prepare_with_ffmpeg(source: Source, out: Path, dataset: Dataset) -> Prepared:
    """The limit: ffmpeg decodes the recordings, scales and encodes the very frames that our dataset holds.

    One ffmpeg a recording with one thread for each step, `NUM_WORKERS` recordings at a time; no actions, no masks,
    no cursor, no episodes.
    """
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    lines = []
    for name, frames in kept_frames(dataset).items():
        command = ffmpeg_command(source.many / f"{name}.mp4", out / name, frames)
        lines.append("\x1f".join(command))
    done = run_program([sys.executable, "-m", "benchmarks.programs.run_all", str(NUM_WORKERS), *lines])
    files = list(out.rglob("*.mp4"))
    num_frames = int(dataset.episodes.num_frames.sum())
    return _prepared(done, {"all": done.core_seconds}, {"video": sum(f.stat().st_size for f in files)}, num_frames)


def convert_for_loading(source: Source, work: Path) -> tuple[Path, Path]:
    """Our dataset that `measure` left, and MineStudio's of the same recordings and copies."""
    intermediate, theirs = work / f"minestudio-{source.name}" / "intermediate", work / "minestudio-many"
    shutil.rmtree(theirs, ignore_errors=True)
    for kind in ("videos", "actions", "segmentation"):
        link_copies(intermediate / kind, theirs / "intermediate" / kind)
    words = [str(theirs / "intermediate"), str(theirs / "lmdb"), "--workers", str(NUM_WORKERS), "--segmentation"]
    minestudio().run("benchmarks.programs.minestudio_convert", *words)
    return loading_sets(source, work)


def loading_sets(source: Source, work: Path) -> tuple[Path, Path]:
    """Where our dataset and MineStudio's lie."""
    return work / f"ours-{source.name}", work / "minestudio-many" / "lmdb"


@dataclass(frozen=True)
class Measured:
    """All trials of a source by program, and the quality of what ours and MineStudio's left."""

    source: Source
    trials: dict[str, list[Prepared]]
    quality: dict[str, dict[str, float]]


def measure(source: Source, work: Path, repeats: int) -> Measured:
    """Prepare one source by all programs in turn; what they left stays in `work`."""
    print(
        f"preparing: {source.name}, {source.num_frames} frames in {source.num_recordings} recordings", flush=True
    )
    ours, theirs = work / f"ours-{source.name}", work / f"minestudio-{source.name}"
    prepare_ours(source, ours)
    dataset = open_dataset(ours)
    trials: dict[str, Callable[[], Any]] = {
        "rocket1": lambda: prepare_ours(source, ours),
        "ffmpeg alone": lambda: prepare_with_ffmpeg(source, work / f"ffmpeg-{source.name}", dataset),
        "MineStudio": lambda: prepare_minestudio(source, theirs, minestudio()),
    }
    done = alternate(trials, repeats)
    quality = {}
    for name, folder, recordings in (
        ("rocket1", ours, source.many),
        ("MineStudio", theirs / "lmdb", source.contractor),
    ):
        words = [name, str(folder), str(recordings)]
        quality[name] = minestudio().run("benchmarks.programs.video_quality", *words).answer
    return Measured(source, done, quality)


def table(measured: Measured) -> Table:
    """Rates, sizes, quality and memory of one source."""
    source = measured.source
    result = Table(
        f"Preparing {source.num_frames} frames in {source.num_recordings} recordings ({source.name})",
        [
            "",
            "source frames a core-second",
            "video bytes a frame",
            "luma PSNR",
            "RGB PSNR / SSIM",
            "memory a process",
        ],
    )

    def row(name: str, program: str, part: str) -> None:
        trials = measured.trials[program]
        made = trials[0]
        has_video = part in ("all", "image")
        quality = measured.quality.get(program, {}) if has_video else {}
        sizes = made.num_bytes.get("video", made.num_bytes.get("image", 0)) if has_video else 0
        result.add(
            name,
            rate(measured, program, part).text(),
            f"{sizes / made.num_frames:,.0f}" if sizes else "",
            f"{quality['luma_psnr']:.1f} dB" if quality else "",
            f"{quality['rgb_psnr']:.1f} dB / {quality['rgb_ssim']:.3f}" if quality else "",
            f"{max(trial.peak_process_mb for trial in trials):,.0f} MB" if part == "all" else "",
        )

    row("rocket1", "rocket1", "all")
    row("ffmpeg alone (the limit)", "ffmpeg alone", "all")
    row("MineStudio, whole route", "MineStudio", "all")
    for part, name in MINESTUDIO_PARTS.items():
        if part in measured.trials["MineStudio"][0].core_seconds:
            row(f"MineStudio, {name}", "MineStudio", part)
    ours, limit, theirs = (rate(measured, name).median for name in ("rocket1", "ffmpeg alone", "MineStudio"))
    converting = rate(measured, "MineStudio", "converting").median
    result.notes.append(
        f"So ours is {ours / theirs:.1f} times MineStudio's route, {ours / converting:.1f} times its converters "
        f"alone, and {100 * ours / limit:.0f} % of the limit."
    )
    return result


MINESTUDIO_PARTS = {
    "raw to intermediate": "process_all_openai alone",
    "converting": "its converters alone",
    "image": "image converter",
    "action": "action converter",
    "segmentation": "segmentation converter",
}


def rate(measured: Measured, program: str, part: str = "all") -> Spread:
    """Source frames a core-second."""
    num_frames = measured.source.num_frames * (1 if program == "MineStudio" else NUM_COPIES)
    return Spread.of([num_frames / trial.core_seconds[part] for trial in measured.trials[program]])


def _prepared(
    done: Finished, core_seconds: dict[str, float], num_bytes: dict[str, int], num_frames: int
) -> Prepared:
    return Prepared(core_seconds, done.wall_seconds, done.peak_process_mb, num_bytes, num_frames)
