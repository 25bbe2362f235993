"""The moving average, the lanes' auditor and the speed meter, around real steps."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import Callback

from shards.errors import RocketError
from tests.synthetic import make_dataset
from tests.trainer.runs import fit, make_run_dataset, small_config
from trainer.build import build_policy
from trainer.callbacks.ema import Ema
from trainer.callbacks.lane_auditor import LaneAuditor
from trainer.callbacks.speed import SpeedMeter
from trainer.learning.module import RocketModule

SHORT = ("trainer.max_steps=7", "trainer.val_every=null")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run_dataset(tmp_path_factory.mktemp("callbacks") / "dataset")


class SlowAverage(Callback):
    """The moving average as it is defined: a copy, then decay x old + (1 - decay) x new every third step."""

    def on_train_batch_end(
        self, trainer: Any, pl_module: RocketModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        now = {name: p.detach().clone() for name, p in pl_module.policy.named_parameters()}
        if trainer.global_step == 1:
            self.average = now
        elif (trainer.global_step - 1) % 3 == 0:
            self.average = {name: 0.9 * old + 0.1 * now[name] for name, old in self.average.items()}


@pytest.mark.parametrize("cpu_offload", [False, True])
def test_average_follows_its_definition_every_nth_step(dataset: Path, tmp_path: Path, cpu_offload: bool) -> None:
    ema = Ema(decay=0.9, every_n_steps=3, cpu_offload=cpu_offload)
    module = fit(small_config(dataset, tmp_path, *SHORT), ema, slow := SlowAverage())
    average = dict(ema.average.module.named_parameters())
    for name, expected in slow.average.items():
        assert torch.allclose(average[name], expected, atol=1e-7), name
    weights = dict(module.policy.named_parameters())
    assert not torch.equal(weights["final_ln.weight"], average["final_ln.weight"])


def test_batch_statistics_are_taken_over_not_averaged(dataset: Path, tmp_path: Path) -> None:
    ema = Ema(decay=0.9, every_n_steps=1)
    module = fit(small_config(dataset, tmp_path, *SHORT), ema)
    averaged = dict(ema.average.module.named_buffers())
    assert all(torch.equal(averaged[name], buffer) for name, buffer in module.policy.named_buffers())


@pytest.mark.parametrize("original", [True, False])
def test_validation_uses_the_weights_that_it_is_told_to(dataset: Path, tmp_path: Path, original: bool) -> None:
    seen = []

    class Look(Callback):
        def on_validation_batch_start(self, trainer: Any, pl_module: RocketModule, *args: Any) -> None:
            seen.append(copy.deepcopy(dict(pl_module.policy.named_parameters())))

        def on_train_batch_start(self, trainer: Any, pl_module: RocketModule, batch: Any, batch_idx: int) -> None:
            self.before = copy.deepcopy(dict(pl_module.policy.named_parameters()))

    ema = Ema(decay=0.9, every_n_steps=1, validate_original_weights=original)
    config = small_config(dataset, tmp_path, "trainer.max_steps=5", "trainer.val_every=5")
    module = fit(config, ema, Look(), slow := SlowAverage(), policy=build_policy(config))
    weights, average = dict(module.policy.named_parameters()), dict(ema.average.module.named_parameters())
    name = "lastlayer.layer.weight"
    assert torch.equal(seen[0][name], weights[name] if original else average[name])
    assert not torch.equal(weights[name], average[name])
    del slow


class Shuffle(Callback):
    """Breaks a lane behind the loader's back; the auditor looks at what the policy gets."""

    def __init__(self, at: int, change: Any) -> None:
        self.at, self.change = at, change

    def on_train_batch_start(self, trainer: Any, pl_module: RocketModule, batch: Any, batch_idx: int) -> None:
        if batch_idx == self.at:
            self.change(batch["host"])


def skip_frames(host: dict[str, Any]) -> None:
    host["start_frame"][1] += 8


def other_episode(host: dict[str, Any]) -> None:
    host["episode"][1] += 1


def forgotten_start(host: dict[str, Any]) -> None:
    host["first"][:, 0] = False


def later_start(host: dict[str, Any]) -> None:
    host["first"][1, 3] = True


def wrong_step(host: dict[str, Any]) -> None:
    host["step"] += 1


@pytest.mark.parametrize(
    ("at", "change", "message"),
    [
        (
            1,
            skip_frames,
            r"epoch 0, step 1, lane 1: the window does not continue at frame 8 of the lane's episode",
        ),
        (
            1,
            other_episode,
            r"step 1, lane 1: the window does not continue at frame 8 of the lane's episode, got ep",
        ),
        (0, forgotten_start, r"step 0, lane 0: first is False where an episode starts"),
        (1, later_start, r"lane 1: an episode starts inside the window, at 3"),
        (2, wrong_step, r"loader: batch of epoch 0, step 3, expected epoch 0, step 2"),
    ],
)
def test_auditor_stops_at_a_broken_lane(dataset: Path, tmp_path: Path, at: int, change: Any, message: str) -> None:
    with pytest.raises(RocketError, match=message):
        fit(
            small_config(dataset, tmp_path, *SHORT), Shuffle(at, change), LaneAuditor(),
        )  # fmt: skip


def test_auditor_follows_every_lane_over_three_epochs(dataset: Path, tmp_path: Path) -> None:
    config = small_config(dataset, tmp_path, "trainer.max_steps=30", "trainer.val_every=null")
    assert fit(config, LaneAuditor()).trainer.current_epoch == 3


def test_auditor_follows_lanes_of_mixed_datasets_over_epochs(dataset: Path, tmp_path: Path) -> None:
    make_dataset(tmp_path / "other", [[35, 60], [22, 9]])
    mix = f"data.datasets=[{{path: {dataset}, weight: 1}}, {{path: {tmp_path / 'other'}, weight: 2}}]"
    config = small_config(dataset, tmp_path, mix, "trainer.max_steps=30", "trainer.val_every=null")
    module = fit(config, LaneAuditor())
    assert module.trainer.current_epoch >= 2
    assert module.policies.gather_memories()["policy"]["lanes"].tolist() == [0, 1, 2, 3, 4]  # of four rows


def test_speed_adds_up_frames_windows_and_waiting(dataset: Path, tmp_path: Path) -> None:
    frames = []

    class Count(Callback):
        def on_train_batch_end(
            self, trainer: Any, pl_module: RocketModule, outputs: Any, batch: Any, batch_idx: int
        ) -> None:
            frames.append(int(batch["valid"].sum()))

    speed = SpeedMeter(flops_per_frame=1e9)
    fit(small_config(dataset, tmp_path, *SHORT, "log_freq=7"), Count(), speed)
    per_frame = speed.figures["speed/windows_per_second"] / speed.figures["speed/frames_per_second"]
    assert per_frame == pytest.approx(7 * 4 / sum(frames))
    assert 0 < speed.figures["speed/data_wait_share"] < 1
    assert "speed/model_flops_use" not in speed.figures  # nobody knows what a CPU could do
