"""How fast training and decoding are, where the time goes, and what memory they take."""

from __future__ import annotations

import statistics
import time
from typing import Any

import torch
from lightning.pytorch.callbacks import Callback, Checkpoint
from torch import Tensor

from benchmarks.environments import OURS, minestudio
from benchmarks.gpu_check.bench import Bench, CannotRun, Found
from benchmarks.measure import ProgramFailed
from shards.reader import open_dataset
from trainer.build import build_data, build_policy, build_trainer, load_teacher
from trainer.config import resolve_lanes
from trainer.gpu_memory import OTHER_BYTES, gpu_memory
from trainer.learning.module import RocketModule
from trainer.learning.objectives import build_objectives
from trainer.policy_facts import policy_facts
from trainer.settings import RunConfig

SLOWEST_RATIO, LONGEST_WAIT, MEMORY_SHARE = 1.0, 0.02, 1.1


def against_minestudio(bench: Bench) -> Found:
    """Frames a second of both policies in one loop: forward, backward, clip, AdamW on frames that are there."""
    words = ["--device", bench.device, "--lanes", str(bench.lanes), "--frames", str(bench.frames)]
    words += ["--steps", "8"] if bench.device == "cuda" else ["--steps", "1", "--small"]
    ours = OURS.run("benchmarks.programs.policy_step", "rocket1", *words).answer
    text = f"ours {_rate(bench, ours):,.1f} frames a second, peak {ours['peak_mb'] / 1024:.1f} GB"
    try:
        theirs = minestudio().run("benchmarks.programs.policy_step", "MineStudio", *words).answer
    except SystemExit:  # there is no environment for it
        return Found(f"{text}; MineStudio is not installed, so there is no ratio")
    except ProgramFailed as failure:
        return Found(f"{text}; MineStudio: {failure.reason()}", good=False)
    ratio = _rate(bench, ours) / _rate(bench, theirs)
    text += f"; MineStudio {_rate(bench, theirs):,.1f}, peak {theirs['peak_mb'] / 1024:.1f} GB; ratio {ratio:.2f}"
    return Found(text, ratio >= SLOWEST_RATIO or bench.device == "cpu")


def _rate(bench: Bench, answer: dict[str, Any]) -> float:
    return float(bench.lanes * bench.frames / statistics.median(answer["seconds"]))


class Stopwatch(Callback):
    """What share of a run each part of a step takes, once the first steps have warmed everything up.

    Attributes:
        frames_per_second, wait_share: of the steps between the two numbers, which wait for the device as ever.
        seconds: by part, of the steps after them, in which every part waits for the device.
    """

    def __init__(self, warm_steps: int, plain_steps: int) -> None:
        self._warm, self._end_of_plain = warm_steps, warm_steps + plain_steps
        self._step, self._at, self._began = 0, 0.0, 0.0
        self.seconds = dict.fromkeys(("data", "forward", "backward", "optimizer"), 0.0)
        self._waited = self._frames = 0.0
        self.frames_per_second = self.wait_share = 0.0

    def _mark(self, part: str, module: Any) -> None:
        if self._step >= self._end_of_plain:
            if module.device.type == "cuda":
                torch.cuda.synchronize()
            self.seconds[part] += time.perf_counter() - self._at
            self._at = time.perf_counter()

    def on_train_batch_start(self, _trainer: Any, pl_module: Any, *_: Any) -> None:
        if self._step < self._end_of_plain:
            self._waited += time.perf_counter() - self._at
        self._mark("data", pl_module)

    def on_before_backward(self, _trainer: Any, pl_module: Any, _loss: Any) -> None:
        self._mark("forward", pl_module)

    def on_after_backward(self, _trainer: Any, pl_module: Any) -> None:
        self._mark("backward", pl_module)

    def on_train_batch_end(self, _trainer: Any, pl_module: Any, *_: Any) -> None:
        self._mark("optimizer", pl_module)
        self._step += 1
        self._frames += pl_module.report.num_frames
        self._at = time.perf_counter()
        if self._step == self._warm:
            self._began, self._waited, self._frames = self._at, 0.0, 0.0
        elif self._step == self._end_of_plain:
            seconds = self._at - self._began
            self.frames_per_second, self.wait_share = self._frames / seconds, self._waited / seconds


class _NoCheckpoint(Checkpoint):
    """Keeps Lightning from adding its own."""


def _fit(config: RunConfig, *callbacks: Callback) -> None:
    config = resolve_lanes(config, 1)
    module = RocketModule(build_policy(config), config, build_objectives(config.objectives, load_teacher))
    data = build_data(config)
    try:
        build_trainer(config, 1, [_NoCheckpoint(), *callbacks], []).fit(module, datamodule=data)
    finally:
        data.teardown()


def whole_run(bench: Bench) -> Found:
    """Frames a second of a run with its loader, and a profile of its steps."""
    watch = Stopwatch(warm_steps=4, plain_steps=12)
    _fit(bench.config("speed", *bench.full, "trainer.max_steps=24"), watch)
    total = sum(watch.seconds.values())
    profile = ", ".join(f"{part} {seconds / total:.0%}" for part, seconds in watch.seconds.items())
    text = f"{watch.frames_per_second:,.0f} frames a second, waiting for data {watch.wait_share:.1%}; {profile}"
    return Found(text, watch.wait_share < LONGEST_WAIT or bench.device == "cpu")


def peak_memory(bench: Bench) -> Found:
    """What the dry run computes is what a run takes."""
    bench.need_gpu()
    config = resolve_lanes(bench.config("peak", *bench.full, "trainer.max_steps=4"), 1)
    computed = gpu_memory(config, policy_facts(config)).total
    _fit(config)
    allocated, reserved = torch.cuda.max_memory_allocated(), torch.cuda.max_memory_reserved()
    free, whole = torch.cuda.mem_get_info()
    beside = whole - free - torch.cuda.memory_reserved()  # CUDA's context, and other programs on this GPU
    text = (
        f"computed {computed / 1e9:.1f} GB ({(computed - OTHER_BYTES) / 1e9:.1f} of tensors); measured "
        f"{allocated / 1e9:.1f} GB of tensors, {reserved / 1e9:.1f} reserved, {beside / 1e9:.1f} beside"
    )
    return Found(text, reserved + beside <= MEMORY_SHARE * computed)


def nvdec(bench: Bench) -> Found:
    """A clip decoded by the GPU and by the CPU shows the same."""
    try:
        from torchcodec.decoders import VideoDecoder
    except ImportError:
        raise CannotRun("torchcodec is not installed") from None
    except (OSError, RuntimeError) as error:
        raise CannotRun(f"torchcodec cannot be loaded: {str(error).splitlines()[0]}") from None
    bench.need_gpu()
    dataset = open_dataset(bench.dataset)
    video = dataset.read_clip(0, dataset.clip_rows(0)[0]).video
    shown: dict[str, Tensor] = {}
    rates: dict[str, float] = {}
    for device in ("cpu", "cuda"):
        for _ in range(2):  # the first time warms up
            began = time.perf_counter()
            decoder = VideoDecoder(video, device=device)
            frames = decoder.get_frames_in_range(0, dataset.info.clip_frames).data
            torch.cuda.synchronize()
            rates[device] = len(frames) / (time.perf_counter() - began)
        shown[device] = frames.cpu().float()
    difference = float((shown["cpu"] - shown["cuda"]).abs().mean())
    return Found(
        f"{rates['cuda']:,.0f} frames a second by NVDEC, {rates['cpu']:,.0f} by one CPU thread; "
        f"mean difference {difference:.2f} levels",
        difference < 2,
    )
