"""The training step: what is trained, what is remembered, what is left alone."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import Callback

from tests.trainer.runs import fit, make_run_dataset, small_config
from trainer.build import build_policy
from trainer.callbacks.lane_auditor import LaneAuditor
from trainer.learning.guard import LossStop
from trainer.learning.metrics import count_actions, no_counts
from trainer.learning.module import RocketModule

SHORT = ("trainer.max_steps=6", "trainer.val_every=null")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run_dataset(tmp_path_factory.mktemp("module") / "dataset")


class Watch(Callback):
    """Remembers every step's report, and what else is asked for."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.rates: list[float] = []
        self.batches: list[dict[str, Any]] = []
        self.without_gradient: set[str] = set()

    def on_before_optimizer_step(self, trainer: Any, pl_module: RocketModule, optimizer: Any) -> None:
        trained = {id(p) for group in optimizer.param_groups for p in group["params"]}
        for name, parameter in pl_module.policy.named_parameters():
            assert (id(parameter) in trained) == parameter.requires_grad, name
            if parameter.requires_grad and parameter.grad is None:
                self.without_gradient.add(name)

    def on_train_batch_end(
        self, trainer: Any, pl_module: RocketModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.losses.append(pl_module.report.losses["loss"])
        self.rates.append(pl_module.report.learning_rate)
        self.batches.append({name: batch[name].clone() for name in ("episode", "start_frame", "valid", "first")})


def test_every_trained_parameter_gets_a_gradient_and_the_value_head_is_left_alone(
    dataset: Path, tmp_path: Path
) -> None:
    config = small_config(dataset, tmp_path, *SHORT, "trainer.max_steps=1")
    policy = build_policy(config)
    before = policy.value_head.linear.weight.clone()
    fit(config, watch := Watch(), policy=policy)
    assert watch.without_gradient == set()
    assert torch.equal(policy.value_head.linear.weight, before)
    assert [name for name, p in policy.named_parameters() if not p.requires_grad] == [
        name for name, _ in policy.named_parameters() if name.startswith("value_head.")
    ]


def test_learning_rate_rises_linearly_and_then_rests(dataset: Path, tmp_path: Path) -> None:
    config = small_config(dataset, tmp_path, *SHORT, "optimizer.learning_rate=0.008", "optimizer.warmup_steps=4")
    fit(config, watch := Watch())
    assert watch.rates == pytest.approx([0.002, 0.004, 0.006, 0.008, 0.008, 0.008])


def test_memory_matters_to_the_loss_and_can_be_reset(dataset: Path, tmp_path: Path) -> None:
    runs = {}
    for memory in ("carry", "reset"):
        fit(small_config(dataset, tmp_path, *SHORT, f"trainer.memory={memory}"), watch := Watch())
        runs[memory] = watch
    # The first step's lanes start their episodes, so nobody has a past; later ones have.
    assert runs["carry"].losses[0] == runs["reset"].losses[0]
    assert runs["carry"].losses[1:] != runs["reset"].losses[1:]


def test_lanes_remember_what_one_long_window_would_have_seen(dataset: Path, tmp_path: Path) -> None:
    """With a learning rate of almost nothing, memory after the steps is that of replaying the windows."""
    config = small_config(
        dataset, tmp_path, *SHORT, "optimizer.learning_rate=1e-30", "optimizer.weight_decay=0.0",
        "policy.batch_norm=frozen", "trainer.max_steps=3",
    )  # fmt: skip
    policy = build_policy(config)
    for layer in policy.modules():
        if isinstance(layer, torch.nn.Dropout):
            layer.p = 0.0
        if isinstance(layer, torch.nn.MultiheadAttention):
            layer.dropout = 0.0

    class Replay(Callback):
        memory: Any = None

        def on_train_batch_end(
            self, trainer: Any, pl_module: RocketModule, outputs: Any, batch: Any, batch_idx: int
        ) -> None:
            with torch.no_grad():
                _, self.memory = pl_module.policy(batch, self.memory)

    module = fit(config, replay := Replay(), policy=policy)
    kept = module.policies.memory("train").gather()["memory"]
    for ours, expected in zip(kept, replay.memory, strict=True):
        counts = replay.memory[0] if expected.dtype == torch.bool else None
        assert counts is None or torch.equal(ours, expected)
        if expected.dtype != torch.bool:
            seen = replay.memory[0].squeeze(1)[..., None]
            assert torch.allclose(ours * seen, expected * seen, atol=1e-6)


def test_validation_leaves_training_as_it_is(dataset: Path, tmp_path: Path) -> None:
    """Its memories, random numbers and weights are its own."""
    fit(small_config(dataset, tmp_path, *SHORT), without := Watch())
    fit(small_config(dataset, tmp_path, *SHORT, "trainer.val_every=2"), between := Watch())
    assert between.losses == without.losses


def test_randomness_of_a_step_depends_on_the_step_alone(dataset: Path, tmp_path: Path) -> None:
    class Dice(Callback):
        def on_train_batch_end(self, *args: Any) -> None:
            torch.rand(100)

    fit(small_config(dataset, tmp_path, *SHORT), plain := Watch())
    fit(small_config(dataset, tmp_path, *SHORT), Dice(), gambling := Watch())
    assert gambling.losses == plain.losses


def test_mean_loss_is_over_the_frames_of_all_lanes(dataset: Path, tmp_path: Path) -> None:
    config = small_config(dataset, tmp_path, *SHORT)
    module = fit(config, watch := Watch())
    assert module.report.num_frames == int(watch.batches[-1]["valid"].sum())


def test_action_counts_are_those_of_the_frames_that_were_trained_on(dataset: Path, tmp_path: Path) -> None:
    counts = no_counts()

    class Count(Callback):
        def on_train_batch_end(
            self, trainer: Any, pl_module: RocketModule, outputs: Any, batch: Any, batch_idx: int
        ) -> None:
            count_actions(counts, batch["action"], batch["valid"])

    module = fit(small_config(dataset, tmp_path, *SHORT), Count())
    for name, expected in counts.items():
        assert torch.equal(module.counts[name], expected)


def test_frozen_batch_statistics_do_not_move_and_others_do(dataset: Path, tmp_path: Path) -> None:
    for batch_norm, moves in (("frozen", False), ("per_rank", True)):
        config = small_config(dataset, tmp_path, *SHORT, f"policy.batch_norm={batch_norm}", "trainer.max_steps=2")
        policy = build_policy(config)
        before = {name: buffer.clone() for name, buffer in policy.named_buffers() if "running" in name}
        fit(config, policy=policy)
        after = dict(policy.named_buffers())
        assert any(not torch.equal(after[name], value) for name, value in before.items()) == moves


def test_loss_that_is_no_number_stops_with_step_lane_and_episode_and_harms_nothing(
    dataset: Path, tmp_path: Path
) -> None:
    config = small_config(dataset, tmp_path, *SHORT)
    policy = build_policy(config)
    states: list[dict[str, torch.Tensor]] = []

    class Poison(Callback):
        """A damaged batch: the third step's frames of lane 2 come out of the policy as no numbers."""

        def on_train_batch_start(self, trainer: Any, pl_module: RocketModule, batch: Any, batch_idx: int) -> None:
            if batch_idx == 2:
                states.append({name: tensor.clone() for name, tensor in policy.state_dict().items()})
                memory = pl_module.policies.memory("train")
                states.append({str(i): tensor for i, tensor in enumerate(memory.gather()["memory"])})
                self.handle = policy.pi_head["buttons"].register_forward_hook(spoil)

        def on_exception(self, trainer: Any, pl_module: RocketModule, exception: BaseException) -> None:
            states.append({str(i): x for i, x in enumerate(pl_module.policies.memory("train").gather()["memory"])})

    def spoil(layer: Any, args: Any, logits: torch.Tensor) -> torch.Tensor:
        mask = torch.zeros_like(logits)
        mask[2] = math.nan
        return logits + mask

    with pytest.raises(
        LossStop,
        match=r"step 3: the loss is nan; the largest share has lane 2, episode ep0\d\d, frames \d+ to \d+",
    ):
        fit(config, Poison(), policy=policy)
    weights, memory_before, memory_after = states
    assert all(torch.equal(policy.state_dict()[name], value) for name, value in weights.items())
    assert all(torch.equal(memory_after[name], value) for name, value in memory_before.items())


class Spoil(Callback):
    """Lane 2 gives no numbers in the third step: its losses, or its gradients alone."""

    def __init__(self, policy: Any, gradients_alone: bool = False) -> None:
        self.policy, self.gradients_alone = policy, gradients_alone
        self.weights: list[torch.Tensor] = []
        self.flags: list[list[bool]] = []

    def on_train_batch_start(self, trainer: Any, pl_module: RocketModule, batch: Any, batch_idx: int) -> None:
        if batch_idx == 2:
            self.handle = self.policy.pi_head["buttons"].register_forward_hook(self.spoil)

    def spoil(self, layer: Any, args: Any, logits: torch.Tensor) -> torch.Tensor:
        self.handle.remove()
        mask = torch.zeros_like(logits)
        mask[2] = math.nan
        if self.gradients_alone:
            logits.register_hook(lambda gradient: gradient + mask)
            return logits
        return logits + mask

    def on_train_batch_end(
        self, trainer: Any, pl_module: RocketModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.weights.append(self.policy.final_ln.weight.detach().clone())
        self.flags.append(pl_module.policies.memory("train").gather()["memory"][0].any(-1).flatten().tolist())


def test_skipped_step_changes_no_weight_and_empties_the_memory_of_its_lane(dataset: Path, tmp_path: Path) -> None:
    config = small_config(
        dataset,
        tmp_path,
        *SHORT,
        "trainer.on_bad_loss=skip",
        "data.max_damaged_windows=1",
        "data.num_lane_groups=1",
    )
    policy = build_policy(config)
    module = fit(config, spoil := Spoil(policy), policy=policy)
    before, after, later = spoil.weights[1:4]
    assert torch.equal(before, after)
    assert not torch.equal(after, later)
    assert spoil.flags[2] == [True, True, False, True]
    (skipped,) = module.skipped
    assert (skipped.step, skipped.lane, skipped.problem) == (3, 2, "the loss is nan")
    assert module.report.losses["loss"] < math.inf


def test_more_skipped_steps_than_allowed_stop_the_run(dataset: Path, tmp_path: Path) -> None:
    config = small_config(dataset, tmp_path, *SHORT, "trainer.on_bad_loss=skip")
    policy = build_policy(config)
    with pytest.raises(
        LossStop, match=r"step 3: .*; 1 windows are skipped, expected at most 0 \(data\.max_damaged"
    ):
        fit(config, Spoil(policy), policy=policy)


def test_bad_gradients_alone_name_their_lane(dataset: Path, tmp_path: Path) -> None:
    config = small_config(dataset, tmp_path, *SHORT)
    policy = build_policy(config)
    with pytest.raises(
        LossStop, match=r"step 3: the gradients' norm is nan; the largest share has lane 2, episode"
    ):
        fit(config, Spoil(policy, gradients_alone=True), policy=policy)


def test_teacher_sees_its_own_memory_and_pulls(dataset: Path, tmp_path: Path) -> None:
    from trainer.weights import export_weights

    config = small_config(dataset, tmp_path, *SHORT)
    teacher = build_policy(config.model_copy(update={"seed": 9}))
    folder = tmp_path / "teacher"
    export_weights(teacher.state_dict(), folder, teacher.config)
    objectives = f"objectives=[{{name: behavior_cloning}},{{name: kl_to_teacher,teacher: {folder},weight: 0.5}}]"
    module = fit(small_config(dataset, tmp_path, *SHORT, objectives), LaneAuditor())
    assert list(module.policies.gather_memories()) == ["policy", "teacher 1"]
    losses = module.report.losses
    parts = losses["loss_buttons"] + losses["loss_camera"] + 0.5 * losses["kl_to_teacher"]
    assert losses["loss"] == pytest.approx(parts, rel=1e-5)
    memories = [memory["memory"][1] for memory in module.policies.gather_memories().values()]
    assert not torch.equal(*memories)
    frozen = module.objectives[1].teacher.state_dict()
    assert all(torch.equal(frozen[name], value) for name, value in teacher.state_dict().items())


THEIR_MODULE = """
import torch
from trainer.learning.objectives import Objective, ObjectiveLoss, Step, counted, entropies

class Curiosity(Objective):
    name = "curiosity"

    def loss(self, step: Step) -> ObjectiveLoss:
        entropy_buttons_BT, _ = entropies(step.latents["pi_logits"])
        by_frame_BT = -self.config.options["strength"] * counted(entropy_buttons_BT, step.batch["valid"])
        loss = step.scale.apply(by_frame_BT, self.config.reduction)
        return ObjectiveLoss(loss, {"curiosity": loss.detach()}, by_frame_BT.detach())
"""


@pytest.mark.parametrize("name", ["curiosity", "their_losses:Curiosity"])
def test_objective_of_an_installed_package_trains_by_its_name(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / "their_losses.py").write_text(THEIR_MODULE)
    facts = tmp_path / "their_losses-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: their-losses\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text("[rocket1.objectives]\ncuriosity = their_losses:Curiosity\n")
    monkeypatch.syspath_prepend(tmp_path)
    terms = f"objectives=[{{name: behavior_cloning}},{{name: '{name}',weight: 0.5,options: {{strength: 2}}}}]"
    losses = fit(small_config(dataset, tmp_path, *SHORT, "trainer.max_steps=1", terms)).report.losses
    # Fresh heads are nearly uniform over 8,641 button actions.
    assert losses["curiosity"] == pytest.approx(-2 * math.log(8641), rel=0.05)
    assert losses["loss"] == pytest.approx(
        losses["loss_buttons"] + losses["loss_camera"] + 0.5 * losses["curiosity"], rel=1e-5
    )


def test_bfloat16_computes_and_keeps_weights_in_float32(dataset: Path, tmp_path: Path) -> None:
    config = small_config(dataset, tmp_path, *SHORT, "trainer.precision=bf16-mixed", "trainer.val_every=3")
    module = fit(config, watch := Watch())
    assert all(math.isfinite(loss) for loss in watch.losses)
    assert {p.dtype for p in module.policy.parameters()} == {torch.float32}
    assert math.isfinite(module.validation["loss"])


def test_windows_out_of_order_train_without_memory(dataset: Path, tmp_path: Path) -> None:
    config = small_config(dataset, tmp_path, *SHORT, "data.episode_continuous_batch=false", "trainer.val_every=3")
    module = fit(config, watch := Watch())
    assert len(watch.losses) == 6
    assert "loss_with_memory" not in module.validation


class Strides(Callback):
    """Counts the gradients whose strides are not their weight's, as they come and as the optimizer gets them."""

    def __init__(self) -> None:
        self.as_they_come = self.in_the_step = 0

    def on_before_optimizer_step(self, trainer: Any, pl_module: RocketModule, optimizer: Any) -> None:
        self.as_they_come += self.count(pl_module)

    def on_train_batch_end(self, trainer: Any, pl_module: RocketModule, *_: Any) -> None:
        self.in_the_step += self.count(pl_module)

    def count(self, module: RocketModule) -> int:
        return sum(p.grad is not None and p.grad.stride() != p.stride() for p in module.policy.parameters())


def test_optimizer_gets_gradients_with_the_strides_of_their_weights(dataset: Path, tmp_path: Path) -> None:
    """Fused AdamW refuses others on a GPU, and cuDNN gives them for a depthwise convolution's axis of size 1."""

    def other_strides(gradient: torch.Tensor) -> torch.Tensor:
        strides = torch.empty(gradient.shape, memory_format=torch.channels_last).stride()
        return torch.empty_strided(gradient.shape, strides).copy_(gradient)

    config = small_config(dataset, tmp_path, *SHORT, "trainer.max_steps=1")
    policy = build_policy(config)
    depthwise = [p for p in policy.backbone.parameters() if p.ndim == 4 and p.shape[1] == 1 < p.shape[2]]
    for parameter in depthwise:
        parameter.register_hook(other_strides)
    fit(config, strides := Strides(), policy=policy)
    assert (strides.as_they_come, strides.in_the_step) == (len(depthwise), 0)


def test_cudnn_does_not_search_for_the_fastest_kernel_of_each_number_of_frames(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    fit(small_config(dataset, tmp_path, *SHORT, "trainer.max_steps=1"))
    assert not torch.backends.cudnn.benchmark
