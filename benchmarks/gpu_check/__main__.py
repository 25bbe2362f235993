"""Runs every check in a process of its own, prints one table and writes a dated page: `make gpu-check`, or

python -m benchmarks.gpu_check [--device cpu|cuda] [--results DIR] [--work DIR]

It needs the project's own packages and no network. Without a GPU the parts that a CPU can do run at a small size.
The exit status is 1 if a check fails.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import torch

from benchmarks.environments import load_average, machine, machine_slug, our_versions
from benchmarks.gpu_check.bench import Bench
from benchmarks.gpu_check.dataset import make_dataset
from benchmarks.gpu_check.processes import Row, run_checks
from benchmarks.gpu_check.runs import STEPS
from benchmarks.measure import ROOT
from benchmarks.report import Table

_SHORT = (
    f"trainer.max_steps={STEPS}",
    f"trainer.save_every={STEPS // 2}",
    "data.batch_size=4",
    "trainer.precision=32-true",
)
_OURS = ("torch", "lightning", "timm", "av", "numpy")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    here = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument("--device", choices=("cpu", "cuda"), default=here)
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results")
    parser.add_argument("--work", type=Path, help="folder for the dataset and the runs; default: a temporary one")
    options = parser.parse_args()
    started, load = datetime.now(UTC), load_average()
    work = Path(tempfile.mkdtemp(prefix="gpu-check-", dir=options.work))
    try:
        rows = list(run_checks(make_bench(options.device, work)))
    finally:
        shutil.rmtree(work, ignore_errors=True)
    page = options.results / f"{started:%Y-%m-%d}-gpu-check-{machine_slug()}.md"
    text = make_page(rows, options.device, started, load)
    options.results.mkdir(parents=True, exist_ok=True)
    page.write_text(text, encoding="utf-8")
    print("", text, f"{page}: written.", sep="\n")
    sys.exit(any(row.result == "FAIL" for row in rows))


def make_bench(device: str, work: Path) -> Bench:
    """Full size on a GPU; on a CPU the smallest policy, dataset and step that the checks can run with."""
    policy: tuple[str, ...]
    full: tuple[str, ...]
    if device == "cuda":
        dataset = make_dataset(
            work / "dataset", size_px=224, clip_frames=128, num_episodes=20, clips_per_episode=16
        )
        policy = ("policy.backbone=efficientnet_b0.ra_in1k", "policy.hiddim=1024", "policy.num_heads=8")
        policy += ("policy.num_layers=4", "policy.mem_len=128", "data.frame_width=224", "data.frame_height=224")
        short = ("data.win_len=16", "policy.timesteps=16")
        full = ("data.win_len=128", "policy.timesteps=128", "data.batch_size=8", "trainer.precision=bf16-mixed")
        workers = f"data.num_workers={min(8, max(os.cpu_count() or 1, 2) - 1)}"
        lanes, frames = 8, 128
    else:
        dataset = make_dataset(work / "dataset", size_px=32, clip_frames=16, num_episodes=12, clips_per_episode=3)
        policy = ("policy.hiddim=32", "policy.num_heads=2", "policy.mem_len=12")
        policy += ("data.frame_width=32", "data.frame_height=32")
        short = ("data.win_len=8", "policy.timesteps=8")
        full, workers = (*short, "data.batch_size=4"), "data.num_workers=1"
        lanes, frames = 1, 2
    return Bench(
        device=device,
        dataset=dataset,
        work=work,
        short=(*policy, *short, *_SHORT),
        full=(*policy, *full, workers),
        lanes=lanes,
        frames=frames,
    )


def make_page(rows: list[Row], device: str, started: datetime, load: float) -> str:
    """The table, and what it was made with."""
    facts = [
        *machine().items(),
        ("load average at the start", f"{load:.1f}"),
        ("CUDA", torch.version.cuda or "none"),
    ]
    facts.append(("ours", ", ".join(f"{name} {version}" for name, version in our_versions(*_OURS).items())))
    table = Table("Checks", ["check", "result", "found", "expected"])
    for row in rows:
        table.add(row.check.name, row.result, row.found.replace("|", "/"), row.check.expected)
    title = (
        "a GPU"
        if device == "cuda"
        else "the parts that a CPU can do: no GPU was used, nothing here is measured on one"
    )
    lines = [
        f"# GPU check of {started:%Y-%m-%d}",
        "",
        f"`python -m benchmarks.gpu_check --device {device}`: {title}.",
    ]
    return "\n".join([*lines, "", *(f"- {name}: {value}" for name, value in facts), "", table.markdown()])


if __name__ == "__main__":
    main()
