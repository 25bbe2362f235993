"""Objectives against MineStudio's recorded losses, hand-made numbers, and slow obvious versions."""

import math
from typing import Any

import pytest
import torch

from shards.errors import SettingsError
from tests.trainer.policies import golden_recording, tiny_policy
from trainer.learning.objectives import (
    BehaviorCloning,
    KlToTeacher,
    Objective,
    Scale,
    Step,
    build_objectives,
    find_objective,
)
from trainer.policy import RocketPolicy
from trainer.settings import ObjectiveConfig

RESTING_CAMERA = 60


def no_policy(source: str) -> torch.nn.Module:
    raise AssertionError(f"nobody asked for {source}")


def cloning(reduction: str = "mean") -> BehaviorCloning:
    return BehaviorCloning(ObjectiveConfig(name="behavior_cloning", reduction=reduction), no_policy)


def scale_of(valid: torch.Tensor, num_ranks: int = 1, all_valid: float | None = None) -> Scale:
    frames = float(valid.sum()) if all_valid is None else all_valid / num_ranks
    return Scale(torch.tensor(frames), num_lanes=len(valid))


def random_step(num_lanes: int = 3, num_frames: int = 5, seed: int = 0) -> tuple[dict[str, Any], dict[str, Any]]:
    random = torch.Generator().manual_seed(seed)
    logits = {
        name: torch.log_softmax(torch.randn(num_lanes, num_frames, 1, size, generator=random) * 2, -1)
        for name, size in (("buttons", 8641), ("camera", 121))
    }
    action = {
        "buttons": torch.randint(0, 8641, (num_lanes, num_frames), generator=random),
        "camera": torch.randint(0, 121, (num_lanes, num_frames), generator=random),
    }
    action["camera"][0, 1] = action["camera"][-1, 3] = RESTING_CAMERA
    valid = torch.ones(num_lanes, num_frames, dtype=torch.bool)
    valid[1, 3:] = False
    return {"pi_logits": logits}, {"action": action, "valid": valid}


def slow_losses(latents: dict[str, Any], batch: dict[str, Any]) -> tuple[float, float, int]:
    """Buttons' and camera's sums and the number of frames, one frame after another."""
    buttons = camera = 0.0
    frames = 0
    for lane in range(batch["valid"].shape[0]):
        for frame in range(batch["valid"].shape[1]):
            if not batch["valid"][lane, frame]:
                continue
            frames += 1
            buttons -= float(
                latents["pi_logits"]["buttons"][lane, frame, 0, batch["action"]["buttons"][lane, frame]]
            )
            moved = int(batch["action"]["camera"][lane, frame])
            if moved != RESTING_CAMERA:
                camera -= float(latents["pi_logits"]["camera"][lane, frame, 0, moved])
    return buttons, camera, frames


class OwnObjective(BehaviorCloning):
    """An objective of somebody else, which a config names by module and class."""

    name = "own"


def test_objective_of_ones_own_is_named_by_its_module() -> None:
    config = ObjectiveConfig(name=f"{__name__}:OwnObjective", weight=0.5, options={"margin": 2})
    (objective,) = build_objectives([config], no_policy)
    assert isinstance(objective, OwnObjective)
    assert objective.config.options == {"margin": 2}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "behaviour_cloning",
            "no objective 'behaviour_cloning', expected one of behavior_cloning, kl_to_teacher, or",
        ),
        ("json:loads", "json:loads is no subclass of trainer.learning.objectives.Objective"),
    ],
)
def test_unknown_objective_names_those_that_there_are(name: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        find_objective(name)


@torch.no_grad()
def test_summed_cloning_equals_minestudios_recorded_losses() -> None:
    recorded = golden_recording()
    policy = RocketPolicy(**recorded["cfg"], pretrained=False)
    policy.load_state_dict(recorded["state_dict"])
    policy.eval()
    memory, inputs = None, recorded["inputs"]
    for window in range(3):
        segment = {name: inputs[name][window] for name in ("obj_mask", "obj_id")}
        latents, memory = policy({"image": inputs["image"][window], "segment": segment}, memory)
        batch = {
            "action": {name: inputs[f"action_{name}"][window].squeeze(-1) for name in ("buttons", "camera")},
            "valid": inputs["mask"][window].bool(),
        }
        result = cloning("sum").loss(Step(latents, batch, scale_of(batch["valid"])))
        expected = recorded["bc_loss"][window]
        assert float(result.loss) == pytest.approx(float(expected["loss"]), rel=1e-4)
        assert float(result.parts["loss_camera"]) == pytest.approx(float(expected["camera_loss"]), rel=1e-4)
        assert float(result.parts["loss_buttons"]) == pytest.approx(float(expected["button_loss"]), rel=1e-4)
        assert float(result.parts["entropy"]) == pytest.approx(float(expected["entropy"]), rel=1e-4)


def test_cloning_leaves_out_padding_and_the_resting_camera() -> None:
    latents, batch = random_step()
    buttons, camera, frames = slow_losses(latents, batch)
    result = cloning().loss(Step(latents, batch, scale_of(batch["valid"])))
    assert frames == 13
    assert float(result.parts["loss_buttons"]) == pytest.approx(buttons / frames, rel=1e-5)
    assert float(result.parts["loss_camera"]) == pytest.approx(camera / frames, rel=1e-5)
    assert float(result.loss) == pytest.approx((buttons + camera) / frames, rel=1e-5)


def test_mean_does_not_change_with_the_window_length_and_the_sum_does() -> None:
    latents, batch = random_step(num_lanes=2, num_frames=4)
    batch["valid"][:] = True
    twice = {"pi_logits": {name: torch.cat([x, x], 1) for name, x in latents["pi_logits"].items()}}
    batch_twice = {
        "action": {name: torch.cat([x, x], 1) for name, x in batch["action"].items()},
        "valid": torch.cat([batch["valid"]] * 2, 1),
    }
    for reduction, factor in (("mean", 1.0), ("sum", 2.0)):
        once = cloning(reduction).loss(Step(latents, batch, scale_of(batch["valid"]))).loss
        long = cloning(reduction).loss(Step(twice, batch_twice, scale_of(batch_twice["valid"]))).loss
        assert float(long) == pytest.approx(factor * float(once), rel=1e-5)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_mean_over_ranks_is_the_loss_of_all_lanes_on_one_rank(reduction: str) -> None:
    latents, batch = random_step(num_lanes=4)
    batch["valid"][3, 1:] = False  # ranks hold different numbers of frames
    whole = cloning(reduction).loss(Step(latents, batch, scale_of(batch["valid"]))).loss
    parts = []
    for rows in (slice(0, 2), slice(2, 4)):
        part = {
            "action": {name: x[rows] for name, x in batch["action"].items()},
            "valid": batch["valid"][rows],
        }
        seen = {"pi_logits": {name: x[rows] for name, x in latents["pi_logits"].items()}}
        scale = scale_of(part["valid"], num_ranks=2, all_valid=float(batch["valid"].sum()))
        parts.append(float(cloning(reduction).loss(Step(seen, part, scale)).loss))
    assert sum(parts) / 2 == pytest.approx(float(whole), rel=1e-6)


def test_nothing_but_padding_gives_a_loss_of_zero_with_gradients_of_zero() -> None:
    latents, batch = random_step()
    batch["valid"][:] = False
    logits = {name: x.requires_grad_() for name, x in latents["pi_logits"].items()}
    logits["buttons"].data[0, 0] = math.nan  # what a policy says about padding may be anything
    result = cloning().loss(Step(latents, batch, Scale(torch.tensor(0.0), 3)))
    result.loss.backward()
    assert float(result.loss.detach()) == 0.0
    assert float(logits["camera"].grad.abs().sum()) == 0.0
    assert float(logits["buttons"].grad.abs().sum()) == 0.0


def test_kl_is_zero_to_oneself_and_grows_with_the_distance() -> None:
    latents, batch = random_step()
    other, _ = random_step(seed=1)
    objective = kl(tiny_policy())
    scale = scale_of(batch["valid"])
    assert float(objective.loss(Step(latents, batch, scale, latents)).loss) == pytest.approx(0.0, abs=1e-6)
    assert float(objective.loss(Step(latents, batch, scale, other)).loss) > 1.0


def test_kl_equals_the_sum_over_actions_frame_by_frame() -> None:
    latents, batch = random_step()
    teacher, _ = random_step(seed=1)
    result = kl(tiny_policy()).loss(Step(latents, batch, scale_of(batch["valid"]), teacher))
    expected = 0.0
    for lane, frame in batch["valid"].nonzero().tolist():
        for head in ("buttons", "camera"):
            if head == "camera" and int(batch["action"]["camera"][lane, frame]) == RESTING_CAMERA:
                continue
            p = torch.distributions.Categorical(logits=teacher["pi_logits"][head][lane, frame, 0])
            q = torch.distributions.Categorical(logits=latents["pi_logits"][head][lane, frame, 0])
            expected += float(torch.distributions.kl_divergence(p, q))
    assert float(result.loss) == pytest.approx(expected / int(batch["valid"].sum()), rel=1e-4)


def test_teacher_is_frozen_and_in_evaluation_mode() -> None:
    objective = kl(tiny_policy().train())
    assert not objective.teacher.training
    assert not any(parameter.requires_grad for parameter in objective.teacher.parameters())


def test_objectives_are_built_in_the_order_of_the_settings() -> None:
    configs = [
        ObjectiveConfig(name="kl_to_teacher", teacher="there"),
        ObjectiveConfig(name="behavior_cloning", weight=0.5),
    ]
    built = build_objectives(configs, lambda source: tiny_policy())
    assert [type(objective) for objective in built] == [KlToTeacher, BehaviorCloning]


def kl(teacher: torch.nn.Module) -> Objective:
    config = ObjectiveConfig(name="kl_to_teacher", teacher="there")
    return KlToTeacher(config, {"there": teacher}.__getitem__)
