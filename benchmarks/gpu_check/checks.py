"""The checks: each a function of the bench that returns what it found, or says why it cannot run here."""

from __future__ import annotations

import csv
import io
import multiprocessing
import os
import socket
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import torch.distributed as dist
from lightning.pytorch.callbacks import Callback, Checkpoint
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from benchmarks.environments import OURS, minestudio
from benchmarks.measure import ROOT, ProgramFailed
from shards.reader import open_dataset
from trainer.build import build_data, build_policy, build_trainer, load_teacher
from trainer.collectives import mean_over_ranks
from trainer.config import load_config, resolve_lanes
from trainer.data.datamodule import RocketDataModule
from trainer.gpu_memory import OTHER_BYTES, gpu_memory
from trainer.learning.module import RocketModule
from trainer.learning.objectives import build_objectives, cloning_losses
from trainer.look.metrics_csv import METRICS_FILE
from trainer.policy import RocketPolicy
from trainer.run import train
from trainer.settings import RunConfig

GOLDEN = ROOT / "tests" / "trainer" / "policy" / "minestudio_golden.pt"
FLOAT32, BFLOAT16, GRADIENTS, LOSSES = 1e-4, 2e-2, 1e-3, 1e-3
"""The largest difference that is taken for rounding, as a share of the largest expected value."""
STEPS = 6
"""Of a short run; the checkpoint is made in its middle."""
SLOWEST_RATIO, LONGEST_WAIT, MEMORY_SHARE = 1.0, 0.02, 1.1


class CannotRun(Exception):
    """What a check needs is not here."""


@dataclass(frozen=True)
class Found:
    """What a check found, and whether that is what it expects."""

    text: str
    good: bool = True


@dataclass(frozen=True)
class Bench:
    """Where the checks run, and at what size.

    Attributes:
        device: cuda or cpu.
        dataset: made by `make_dataset`.
        work: a folder for runs.
        short: settings of the short runs, in float32.
        full: settings of the run that is measured.
        lanes, frames: of the step that is compared with MineStudio's.
    """

    device: str
    dataset: Path
    work: Path
    short: tuple[str, ...]
    full: tuple[str, ...]
    lanes: int
    frames: int

    def config(self, name: str, *settings: str) -> RunConfig:
        """The settings of a run that leaves nothing but its figures and checkpoints."""
        return load_config(
            "demo",
            [
                f"data.datasets={self.dataset}",
                f"run_dir={self.work / name}",
                f"trainer.accelerator={'gpu' if self.device == 'cuda' else 'cpu'}",
                "data.num_workers=0",
                "log_freq=1",
                "optimizer.warmup_steps=1",
                "trainer.val_every=null",
                "ema.enabled=false",
                "logging.page=false",
                *settings,
            ],
        )

    def need_gpu(self) -> None:
        if self.device != "cuda":
            raise CannotRun("no GPU")


# ------------------------------------------------------------------ parity


def parity_float32(bench: Bench) -> Found:
    """Answers, memory and gradients are MineStudio's, with TF32 off."""
    golden, policy = _golden(bench.device)
    answers = _difference_of_answers(golden, policy, bench.device)
    gradients = _difference_of_gradients(golden, policy, bench.device)
    return Found(
        f"answers and memory {answers:.0e}, gradients {gradients:.0e}",
        answers < FLOAT32 and gradients < GRADIENTS,
    )


def parity_bfloat16(bench: Bench) -> Found:
    golden, policy = _golden(bench.device)
    with torch.autocast(bench.device, torch.bfloat16):
        answers = _difference_of_answers(golden, policy, bench.device, with_memory=False)
    return Found(f"answers {answers:.0e}", answers < BFLOAT16)


def _golden(device: str) -> tuple[dict[str, Any], RocketPolicy]:
    if not GOLDEN.is_file():
        raise CannotRun(f"no {GOLDEN.relative_to(ROOT)}: run it from the repository")
    golden = torch.load(GOLDEN, weights_only=True)
    policy = RocketPolicy(**golden["cfg"], pretrained=False)
    policy.load_state_dict(golden["state_dict"])
    return golden, policy.to(device).eval()


def _window(golden: dict[str, Any], window: int, device: str) -> dict[str, Any]:
    image, mask, kind = (golden["inputs"][name][window].to(device) for name in ("image", "obj_mask", "obj_id"))
    return {"image": image, "segment": {"obj_mask": mask, "obj_id": kind}}


@torch.no_grad()
def _difference_of_answers(
    golden: dict[str, Any], policy: RocketPolicy, device: str, *, with_memory: bool = True
) -> float:
    """Over three windows with carried memory."""
    memory, worst = None, 0.0
    for window, expected in enumerate(golden["run_carry"]):
        latents, memory = policy(_window(golden, window, device), memory)
        stride = {"buttons": golden["button_stride"], "camera": 1}
        pairs = [(latents["pi_logits"][head][..., ::n], expected["pi_logits"][head]) for head, n in stride.items()]
        if with_memory:
            pairs += [(latents["vpred"], expected["vpred"]), *zip(memory, expected["memory"], strict=True)]
        worst = max([worst, *(_difference(got, wanted) for got, wanted in pairs)])
    return worst


def _difference_of_gradients(golden: dict[str, Any], policy: RocketPolicy, device: str) -> float:
    """Over two windows, in training mode without dropout."""
    without_dropout(policy.train())
    memory, inputs = None, golden["inputs"]
    for window in range(2):
        latents, memory = policy(_window(golden, window, device), memory)
        action = {name: inputs[f"action_{name}"][window].squeeze(-1).to(device) for name in ("buttons", "camera")}
        losses = cloning_losses(latents["pi_logits"], action, inputs["mask"][window].bool().to(device))  # type: ignore[arg-type]
        losses.total.sum(1).mean().backward()
    gradients = {name: parameter.grad for name, parameter in policy.named_parameters()}
    return max(
        _difference(gradients[name], wanted) for name, wanted in golden["grads_train_bn"]["tensors"].items()
    )


def _difference(got: Tensor, wanted: Tensor) -> float:
    got, wanted = got.detach().cpu().double(), wanted.double()
    return float((got - wanted).abs().max() / wanted.abs().max().clamp_min(1e-30))


def without_dropout(policy: nn.Module) -> None:
    """The policy is deterministic in training mode."""
    for layer in policy.modules():
        if isinstance(layer, nn.Dropout):
            layer.p = 0.0
        elif isinstance(layer, nn.MultiheadAttention):
            layer.dropout = 0.0


# ----------------------------------------------------------------- loading


def pinned_loading(bench: Bench) -> Found:
    """Batches that the device reads from pinned slots, used again and again, are those of plain memory."""
    config = resolve_lanes(bench.config("pinned", *bench.short, "data.num_workers=2"), 1)
    device, count = torch.device(bench.device), 0
    plain, pinned = (build_data(config, rank=0, num_ranks=1) for _ in range(2))
    # What the data module asks its trainer for.
    pinned.trainer = SimpleNamespace(strategy=SimpleNamespace(root_device=device), training=False)  # type: ignore[assignment]
    for data in (plain, pinned):
        data.setup()
    try:
        for expected, batch in zip(plain.train_dataloader(), pinned.train_dataloader(), strict=True):
            moved = pinned.transfer_batch_to_device(batch, device, 0)
            del batch
            assert _fields(moved).keys() == _fields(expected).keys()
            for name, wanted in _fields(expected).items():
                if not torch.equal(_fields(moved)[name].cpu(), wanted):
                    return Found(f"batch {count}: {name} differs", good=False)
            count += 1
    finally:
        plain.teardown()
        pinned.teardown()
    return Found(
        f"{count} batches equal to the bit{'' if bench.device == 'cuda' else ', without pinning: no GPU'}"
    )


def _fields(batch: Any) -> dict[str, Tensor]:
    flat: dict[str, Tensor] = {}
    for name, value in batch.items():
        flat |= (
            {f"{name}/{inner}": one for inner, one in value.items()} if isinstance(value, dict) else {name: value}
        )
    return flat


# -------------------------------------------------------------- short runs


def one_rank(bench: Bench) -> Found:
    """DDP on one rank, over NCCL where there is a GPU: losses of a few steps as without."""
    config = resolve_lanes(bench.config("one", *bench.short), 1)
    batches = _some_batches(config, bench.device, num_batches=STEPS)
    expected = _train_by_hand(config, bench.device, batches, wrap=lambda policy: policy)
    backend = "nccl" if bench.device == "cuda" else "gloo"
    dist.init_process_group(backend, rank=0, world_size=1, store=dist.HashStore())
    try:
        ddp = _train_by_hand(
            config,
            bench.device,
            batches,
            wrap=lambda policy: DistributedDataParallel(policy, gradient_as_bucket_view=True),
        )
        mean_over_ranks(torch.ones(3), torch.device(bench.device))
    finally:
        dist.destroy_process_group()
    return _as_expected(ddp, expected, f"{backend}, ")


def _some_batches(config: RunConfig, device: str, num_batches: int) -> list[Any]:
    data: RocketDataModule = build_data(config, rank=0, num_ranks=1)
    data.setup()
    try:
        batches = [
            data.transfer_batch_to_device(batch, torch.device(device), 0) for batch in data.train_dataloader()
        ]
    finally:
        data.teardown()
    return batches[:num_batches]


def _train_by_hand(
    config: RunConfig, device: str, batches: list[Any], wrap: Callable[[nn.Module], nn.Module]
) -> list[float]:
    policy = build_policy(config).to(device).train()
    policy.value_head.requires_grad_(requires_grad=False)
    optimizer = torch.optim.AdamW([p for p in policy.parameters() if p.requires_grad], lr=1e-4)
    module, memory, losses = wrap(policy), policy.initial_state(len(batches[0]["valid"])), []
    torch.manual_seed(0)
    for batch in batches:
        latents, memory = module(batch, memory)
        loss = cloning_losses(latents["pi_logits"], batch["action"], batch["valid"]).total.mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss))
    return losses


def two_ranks(bench: Bench) -> Found:
    """Two ranks train as one that computes their lanes one half after the other."""
    if bench.device == "cuda" and torch.cuda.device_count() < 2:
        raise CannotRun("no second GPU")
    settings = (*bench.short, "data.num_lane_groups=2", "trainer.micro_lanes=2")
    config = bench.config("two", *settings, "data.num_lanes=4", "trainer.devices=2")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("fork")
    ranks = [context.Process(target=_one_of_two, args=(config, rank, port)) for rank in range(2)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join()
    ended = [process.exitcode for process in ranks]
    if any(ended):
        return Found(f"the ranks ended with {ended}", good=False)
    expected = short_run(bench.config("alone", *settings, "data.num_lanes=4"))
    return _as_expected(_losses(config), expected, "nccl, " if bench.device == "cuda" else "gloo, ")


def _one_of_two(config: RunConfig, rank: int, port: int) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2", "NODE_RANK": "0"}
    os.environ["LOCAL_RANK"] = str(rank)
    train(config, out=io.StringIO())


def checkpointing(bench: Bench) -> Found:
    expected = short_run(bench.config("eager", *bench.short))
    return _as_expected(
        short_run(bench.config("checkpointing", *bench.short, "trainer.activation_checkpointing=true")), expected
    )


def resume(bench: Bench) -> Found:
    """A run that goes on from the checkpoint in its middle ends as the whole one."""
    whole = bench.config("whole", *bench.short)
    expected = short_run(whole)
    middle = Path(whole.run_dir) / "checkpoints" / f"step-{STEPS // 2:08d}.ckpt"
    again = short_run(bench.config("resumed", *bench.short), resume=str(middle))
    return _as_expected(again, expected[STEPS // 2 :])


def compiled(bench: Bench) -> Found:
    bench.need_gpu()  # compiling takes longer than all other checks on a CPU
    expected = short_run(bench.config("plain", *bench.short), dropout=False)
    return _as_expected(
        short_run(bench.config("compiled", *bench.short, "trainer.compile=true"), dropout=False), expected
    )


def short_run(config: RunConfig, resume: str | None = None, dropout: bool = True) -> list[float]:
    """The losses of a run of `rocket-train`, by step."""

    def make_policy(config: RunConfig, fetch_weights: bool) -> RocketPolicy:
        policy = build_policy(config, fetch_weights)
        if not dropout:  # a compiler draws other numbers
            without_dropout(policy)
        return policy

    train(config, resume, out=io.StringIO(), make_policy=make_policy)
    return _losses(config)


def _losses(config: RunConfig) -> list[float]:
    with open(Path(config.run_dir) / METRICS_FILE, newline="") as file:
        return [float(row["train/loss"]) for row in csv.DictReader(file) if row["train/loss"]]


def _as_expected(losses: Sequence[float], expected: Sequence[float], prefix: str = "") -> Found:
    if len(losses) != len(expected) or not losses:
        return Found(f"{prefix}{len(losses)} losses, expected {len(expected)}", good=False)
    worst = max(abs(got / wanted - 1) for got, wanted in zip(losses, expected, strict=True))
    return Found(f"{prefix}{len(losses)} losses, largest difference {worst:.0e}", worst < LOSSES)


# ------------------------------------------------------------------- speed


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
    return bench.lanes * bench.frames / statistics.median(answer["seconds"])


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
    computed = gpu_memory(config).total
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


@dataclass(frozen=True)
class Check:
    """A row of the table: what is tried, and what is expected."""

    name: str
    expected: str
    run: Callable[[Bench], Found]


CHECKS = (
    Check(
        "parity, float32",
        f"MineStudio's to {FLOAT32:.0e} (answers), {GRADIENTS:.0e} (gradients)",
        parity_float32,
    ),
    Check("parity, bfloat16", f"MineStudio's float32 to {BFLOAT16:.0e}", parity_bfloat16),
    Check("pinned loading", "as from plain memory, to the bit", pinned_loading),
    Check("DDP on one rank", f"losses as without, to {LOSSES:.0e}", one_rank),
    Check("two ranks", f"losses as on one, to {LOSSES:.0e}", two_ranks),
    Check("activation checkpointing", f"losses as without, to {LOSSES:.0e}", checkpointing),
    Check("resume in the middle", f"losses as of the whole run, to {LOSSES:.0e}", resume),
    Check(
        "step beside MineStudio's",
        f"on a GPU at least {SLOWEST_RATIO:g} times as fast (1.5 on an H100 is the aim)",
        against_minestudio,
    ),
    Check("whole run", f"on a GPU under {LONGEST_WAIT:.0%} waiting for data", whole_run),
    Check("peak memory", f"at most {MEMORY_SHARE:g} times what --dry-run computes", peak_memory),
    Check("NVDEC", "mean difference under 2 levels", nvdec),
    Check("compiled layers", f"losses as without, to {LOSSES:.0e}", compiled),
)
