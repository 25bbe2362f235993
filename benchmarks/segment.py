"""What `rocket-prep segment` is worth on the sample game, whose true masks are known, and what its loop costs.

    python -m benchmarks.segment masks FOLDER     events, prompts and masks against the truth
    python -m benchmarks.segment train FOLDER     then a policy trained on made masks against ones on true masks
    python -m benchmarks.segment loop VIDEO       frames a second on one core, with a tracker that costs nothing

`masks` makes the default sample in FOLDER, unless it is there, and tracks with the tests' plain tracker. `train`
comes after it and takes minutes for each seed and kind of masks: true ones, those of them whose events the game
counts, and made ones. All are judged by the same two sets of true masks.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from pipeline.sample.make import SampleSettings, make_sample
from pipeline.segment.follow import follow
from pipeline.segment.settings import SegmentSettings
from pipeline.segment.stretches import Stretch
from pipeline.segment.tracker import Point, TrackedMask
from shards.interaction_types import interaction_type
from tests.pipeline.segment.agreement import Known, known_recordings, overlaps, write_counted
from tests.pipeline.segment.painted import HOTBAR_WORDS, SETTINGS

_TRACKER = "tests.pipeline.segment.palette_tracker:PaletteTracker"
_SEEDS = (1, 2)
_STEPS = 420
_STRETCH_FRAMES = 80
_SAM2_FRAMES_PER_SECOND = 64.1
"""Of SAM 2.1 base plus, compiled, on an A100, with one object. Source: facebookresearch/sam2, README."""
_FULL_SIZE_FRAMES = 250e6


def masks(work: Path) -> None:
    """Print how far events, prompts and masks agree with the true ones."""
    sample, made = work / "sample", work / "made-masks"
    if not sample.exists():
        make_sample(sample, SampleSettings())
    if not made.exists():
        print(_ours("pipeline", "segment", sample, "--out", made, "--tracker", _TRACKER, *HOTBAR_WORDS))
    known = list(known_recordings(sample, SETTINGS))
    _print_events(known)
    _print_guesses(known)
    by_object: dict[tuple[str, str], list[float]] = defaultdict(list)
    for one in known:
        for overlap in overlaps(one, made):
            for key in (("all", ""), (overlap.kind, ""), (overlap.kind, overlap.event)):
                by_object[key].append(overlap.iou)
    print("frames  IoU    none   masks of")
    for (kind, event), values in sorted(by_object.items()):
        print(f"{len(values):6,}  {np.mean(values):.3f}  {np.mean(np.array(values) == 0):5.1%}  {event or kind}")


def _print_events(known: list[Known]) -> None:
    counts: Counter[str] = Counter()
    for one in known:
        for number, true in one.counted():
            found = one.found(true)
            counts["events"] += 1
            counts["found"] += len(found) == 1
            for stretch in found:
                mask = one.true_mask(number, stretch.prompt)
                if mask is not None:
                    x, y = stretch.point
                    counts["seen"] += 1
                    counts["hit"] += bool(mask[int(y * mask.shape[0]), int(x * mask.shape[1])])
    print(f"{counts['found']} of {counts['events']} events found within a frame")
    print(f"{counts['hit']} of {counts['seen']} prompts on the object, where it is seen in the prompt's frame")


def _print_guesses(known: list[Known]) -> None:
    true, guessed, hit = Counter[str](), Counter[str](), Counter[str]()
    for one in known:
        guesses = [(s.kind, s.event_frame) for s in one.guesses(SETTINGS)]
        guessed.update(name for name, _ in guesses)
        for _, interaction in one.counted():
            name = interaction_type(interaction.type).name
            true[name] += 1
            hit[name] += any(other == name and abs(at - interaction.stop + 1) <= 1 for other, at in guesses)
    for name in sorted(true):
        precision = f"{hit[name] / guessed[name]:.0%}" if guessed[name] else "none"
        print(f"from buttons alone: {name} recall {hit[name] / true[name]:.0%}, precision {precision}")


def train(work: Path) -> None:
    """Print how well policies play and imitate that were trained on three kinds of masks."""
    sample, videos, counted = work / "sample", work / "videos", work / "counted-masks"
    if not counted.exists():
        shutil.copytree(sample / "data", videos, copy_function=os.link)
        counted.mkdir()
        for one in known_recordings(sample, SETTINGS):
            write_counted(one, counted)
    sources = {"true": [sample], "counted": [videos, counted], "made": [videos, work / "made-masks"]}
    for name, places in sources.items():
        if not (work / name / "dataset.json").exists():
            _ours("pipeline", "build-shards", *places, "--out", work / name, "frame_width=64", "frame_height=64")
    print("masks    seed  bells rung rightly  loss on true masks  on counted ones  on bells from memory")
    for seed in _SEEDS:
        for name in sources:
            print(_trained(work, name, seed), flush=True)


def _trained(work: Path, name: str, seed: int) -> str:
    """A line of the table of `train`."""
    run = work / f"run-{name}-{seed}"
    weights = run / f"weights/step-{_STEPS:08}.ckpt"
    if not weights.exists():
        _ours("trainer", "demo", f"data.datasets={work / name}", f"run_dir={run}", f"seed={seed}")
    played = work / f"run-{name}-{seed}.json"
    if not played.exists():
        _ours(
            "trainer", "play", weights, "--tasks", "bell", "--episodes", "100", "--lanes", "50", "--json", played
        )
    on_true, on_counted = (
        json.loads(_ours("trainer", "evaluate", weights, work / other, "--json")) for other in ("true", "counted")
    )
    rung = json.loads(played.read_text())
    return (
        f"{name:8} {seed:4}  {rung['tasks'][0]['num_successes']:18}  {on_true['loss']:18.3f}  "
        f"{on_counted['loss']:15.3f}  {on_counted['loss_watched']:20.3f}"
    )


def _ours(package: str, *words: object) -> str:
    """What one of the two commands prints."""
    command = [sys.executable, "-c", f"from {package}.cli import main; main()", *map(str, words)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout


class ConstantTracker:
    """Sees the same disc in every frame."""

    def start(self) -> ConstantTracker:
        return self

    def step(self, frame: NDArray[np.uint8], objects: Mapping[int, Point | None]) -> Mapping[int, TrackedMask]:
        rows, columns = np.ogrid[: frame.shape[0], : frame.shape[1]]
        disc = (rows - frame.shape[0] // 2) ** 2 + (columns - frame.shape[1] // 2) ** 2 < 50**2
        return dict.fromkeys(objects, TrackedMask(disc, 0.9))


def loop(path: Path) -> None:
    """Print what decoding, scaling to 360 rows, holding frames, and judging and encoding masks cost.

    Every frame of the video is in a stretch. What SAM-2 would cost beside it at full size is computed from its
    published speed.
    """
    with av.open(str(path)) as video:
        num_frames = sum(1 for _ in video.decode(video=0))

    def pictures() -> Iterator[Callable[[], NDArray[np.uint8]]]:
        with av.open(str(path)) as video:
            for frame in video.decode(video=0):
                yield lambda frame=frame: frame.to_ndarray(format="rgb24", width=640, height=360)  # type: ignore[misc]

    ends = range(_STRETCH_FRAMES - 1, num_frames, _STRETCH_FRAMES)
    stretches = [
        Stretch("mine", "mine_block:stone", end - _STRETCH_FRAMES + 1, end, end, (0.5, 0.5)) for end in ends
    ]
    start = time.process_time()
    tracks, _ = follow(pictures(), stretches, ConstantTracker(), SegmentSettings())
    seconds = time.process_time() - start
    num_masks = sum(len(track.sights) for track in tracks)
    print(
        f"{num_frames} frames, {num_masks} masks: {num_frames / seconds:.0f} frames a core-second without a model"
    )
    hours = _FULL_SIZE_FRAMES / _SAM2_FRAMES_PER_SECOND / 3600
    print(f"computed for SAM 2.1 base plus, {_FULL_SIZE_FRAMES:,.0f} frames of an object: {hours:,.0f} A100-hours")


def main() -> None:
    commands = {"masks": masks, "train": train, "loop": loop}
    if len(sys.argv) != 3 or sys.argv[1] not in commands:
        sys.exit(__doc__)
    commands[sys.argv[1]](Path(sys.argv[2]))


if __name__ == "__main__":
    main()
