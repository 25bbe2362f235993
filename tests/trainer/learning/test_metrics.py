"""Validation figures against hand-made batches whose answers are known."""

import math
from typing import Any

import pytest
import torch

from trainer.data.actions import to_policy
from trainer.learning.metrics import ValidationTable, constant_guess_loss, count_actions, no_counts

NUM_BUTTONS, NUM_CAMERA, RESTING_CAMERA = 8641, 121, 60
CPU = torch.device("cpu")


def sure_of(actions: torch.Tensor, size: int, share: float = 0.9) -> torch.Tensor:
    """Log-probabilities (B, T, 1, size) that give `share` to the actions and the rest to all others alike."""
    probabilities = torch.full((*actions.shape, size), (1 - share) / (size - 1), dtype=torch.float64)
    probabilities.scatter_(-1, actions.unsqueeze(-1), share)
    return probabilities.log().unsqueeze(-2)


def window(buttons: list[list[int]], camera: list[list[int]]) -> dict[str, Any]:
    action = {"buttons": torch.tensor(buttons), "camera": torch.tensor(camera)}
    shape = action["buttons"].shape
    return {
        "action": action,
        "valid": torch.ones(shape, dtype=torch.bool),
        "first": torch.zeros(shape, dtype=torch.bool),
        "segment": {"obj_id": torch.full(shape, -1)},
        "env_action": {"camera": torch.zeros(*shape, 2)},
    }


def policy_action(*pressed: str, pitch: float = 0.0, yaw: float = 0.0) -> tuple[int, int]:
    """The policy's button and camera action of pressed keys."""
    import numpy as np

    from shards.action_space import ACTION_SPACE

    BUTTONS = ACTION_SPACE.buttons

    keys = np.array([[name in pressed for name in BUTTONS]], np.uint8)
    button_action, camera_action = to_policy(keys, np.array([[pitch, yaw]]))
    return int(button_action[0]), int(camera_action[0])


def logits_for(batch: dict[str, Any], share: float = 0.9) -> dict[str, torch.Tensor]:
    return {
        "buttons": sure_of(batch["action"]["buttons"], NUM_BUTTONS, share),
        "camera": sure_of(batch["action"]["camera"], NUM_CAMERA, share),
    }


def test_loss_is_the_mean_over_frames_that_count() -> None:
    batch = window([[1, 2, 3, 4]], [[0, RESTING_CAMERA, 5, 7]])
    batch["valid"][0, 3] = False
    table = ValidationTable(4, CPU)
    table.add(logits_for(batch), batch)
    figures = table.summary()
    nat = -math.log(0.9)
    assert figures["num_frames"] == 3
    assert figures["loss_buttons"] == pytest.approx(nat)
    assert figures["loss_camera"] == pytest.approx(nat * 2 / 3)
    assert figures["loss"] == pytest.approx(nat * 5 / 3)


def test_loss_by_position_tells_stretches_of_the_window_apart() -> None:
    batch = window([[1] * 16], [[RESTING_CAMERA] * 16])
    logits = logits_for(batch)
    logits["buttons"][0, 4:6] = sure_of(batch["action"]["buttons"][:, 4:6], NUM_BUTTONS, 0.5)[0]
    table = ValidationTable(16, CPU)
    table.add(logits, batch)
    figures = table.summary()
    by_position = {name: value for name, value in figures.items() if name.startswith("loss_by_position/")}
    assert list(by_position) == [f"loss_by_position/{start:02d}-{start + 1:02d}" for start in range(0, 16, 2)]
    assert by_position["loss_by_position/04-05"] == pytest.approx(math.log(2))
    assert by_position["loss_by_position/06-07"] == pytest.approx(-math.log(0.9))


def test_loss_by_type_has_the_types_that_occur_under_their_names() -> None:
    batch = window([[1, 2, 3]], [[RESTING_CAMERA] * 3])
    batch["segment"]["obj_id"] = torch.tensor([[-1, 2, 2]])
    logits = logits_for(batch)
    logits["buttons"][0, 0] = sure_of(batch["action"]["buttons"][:, :1], NUM_BUTTONS, 0.5)[0, 0]
    table = ValidationTable(3, CPU)
    table.add(logits, batch)
    figures = {name: value for name, value in table.summary().items() if name.startswith("loss_by_type/")}
    assert figures == {
        "loss_by_type/none": pytest.approx(math.log(2)),
        "loss_by_type/mine": pytest.approx(-math.log(0.9)),
    }


def test_memory_is_compared_where_a_window_has_a_past() -> None:
    batch = window([[1, 2], [3, 4]], [[RESTING_CAMERA] * 2] * 2)
    batch["first"][0, 0] = True
    table = ValidationTable(2, CPU)
    table.add(logits_for(batch, 0.9), batch, logits_for(batch, 0.5))
    figures = table.summary()
    assert figures["loss_with_memory"] == pytest.approx(-math.log(0.9))
    assert figures["loss_without_memory"] == pytest.approx(math.log(2))
    assert table.sums["memory"][2] == 2


def test_watched_frames_have_a_loss_of_their_own() -> None:
    batch = window([[1, 2, 3]], [[RESTING_CAMERA] * 3])
    batch["watch"] = torch.tensor([[False, True, False]])
    logits = logits_for(batch)
    logits["buttons"][0, 1] = sure_of(batch["action"]["buttons"][:, 1:2], NUM_BUTTONS, 0.5)[0, 0]
    table = ValidationTable(3, CPU)
    table.add(logits, batch)
    figures = table.summary()
    assert figures["loss_watched"] == pytest.approx(math.log(2))
    assert "loss_watched_without_memory" not in figures


def test_buttons_are_scored_one_by_one() -> None:
    forward, jump, both = policy_action("forward"), policy_action("jump"), policy_action("forward", "jump")
    human = window([[forward[0], forward[0], jump[0], both[0]]], [[RESTING_CAMERA] * 4])
    guess = window([[forward[0], both[0], forward[0], both[0]]], [[RESTING_CAMERA] * 4])
    table = ValidationTable(4, CPU)
    table.add(logits_for(guess), human)
    figures = table.summary()
    # forward: human 1 1 0 1, guess 1 1 1 1; jump: human 0 0 1 1, guess 0 1 0 1
    assert figures["button_f1/forward"] == pytest.approx(2 * 3 / (2 * 3 + 1))
    assert figures["button_accuracy/forward"] == pytest.approx(3 / 4)
    assert figures["button_f1/jump"] == pytest.approx(2 / (2 + 2))
    assert figures["button_accuracy/jump"] == pytest.approx(2 / 4)
    assert (figures["button_frames/forward"], figures["button_frames/jump"]) == (3, 2)
    assert figures["button_f1"] == pytest.approx((6 / 7 + 1 / 2) / 2)
    assert figures["action_accuracy"] == pytest.approx(2 / 4)
    assert [name for name in figures if name.startswith("button_f1/")] == ["button_f1/forward", "button_f1/jump"]


def test_camera_error_is_in_degrees_against_what_the_human_did() -> None:
    buttons, camera = policy_action(pitch=10.0, yaw=-10.0)
    batch = window([[buttons, buttons]], [[camera, camera]])
    batch["env_action"] = {"camera": torch.tensor([[[10.0, -10.0], [4.0, -10.0]]])}
    table = ValidationTable(2, CPU)
    table.add(logits_for(batch), batch)
    figures = table.summary()
    assert figures["pitch_error_degrees"] == pytest.approx(3.0, abs=1e-6)
    assert figures["yaw_error_degrees"] == pytest.approx(0.0, abs=1e-6)
    assert figures["camera_error_degrees"] == pytest.approx(1.5, abs=1e-6)


def test_camera_of_an_action_that_does_not_move_it_rests() -> None:
    still, _ = policy_action("forward")
    _, camera = policy_action(pitch=10.0)
    batch = window([[still]], [[camera]])
    batch["env_action"] = {"camera": torch.tensor([[[0.0, 0.0]]])}
    table = ValidationTable(1, CPU)
    table.add(logits_for(batch), batch)
    assert table.summary()["camera_error_degrees"] == 0.0


def test_sums_of_two_ranks_add_up_to_those_of_one() -> None:
    batch = window([[1, 2, 3, 4], [5, 6, 7, 8]], [[1, 2, 3, RESTING_CAMERA]] * 2)
    one = ValidationTable(4, CPU)
    one.add(logits_for(batch), batch, logits_for(batch, 0.5))
    tables = []
    for lane in range(2):
        part = {
            "action": {name: x[lane : lane + 1] for name, x in batch["action"].items()},
            "segment": {"obj_id": batch["segment"]["obj_id"][lane : lane + 1]},
            "env_action": {"camera": batch["env_action"]["camera"][lane : lane + 1]},
            **{name: batch[name][lane : lane + 1] for name in ("valid", "first")},
        }
        tables.append(ValidationTable(4, CPU))
        tables[lane].add(logits_for(part), part, logits_for(part, 0.5))
    other = torch.cat([tensor.flatten() for tensor in tables[1].sums.values()])
    tables[0].reduce(lambda flat: flat + other)
    assert tables[0].summary() == pytest.approx(one.summary())


def test_constant_guess_is_the_log_loss_of_the_training_frequencies() -> None:
    train = window([[7, 7, 7, 9]], [[RESTING_CAMERA, 3, 3, 4]])
    val = window([[7, 9]], [[3, RESTING_CAMERA]])
    counts, val_counts = no_counts(), no_counts()
    count_actions(counts, train["action"], train["valid"])
    count_actions(val_counts, val["action"], val["valid"])
    expected = (-math.log(3 / 4) - math.log(1 / 4) - math.log(2 / 3)) / 2
    assert constant_guess_loss(counts, val_counts) == pytest.approx(expected, abs=1e-2)


def test_constant_guess_survives_actions_that_training_never_saw() -> None:
    train, val = window([[7] * 100], [[3] * 100]), window([[8]], [[3]])
    counts, val_counts = no_counts(), no_counts()
    count_actions(counts, train["action"], train["valid"])
    count_actions(val_counts, val["action"], val["valid"])
    loss = constant_guess_loss(counts, val_counts)
    assert math.log(100) < loss < 2 * math.log(8641)


def test_counts_leave_out_padding() -> None:
    batch = window([[5, 5]], [[3, 3]])
    batch["valid"][0, 1] = False
    counts = no_counts()
    count_actions(counts, batch["action"], batch["valid"])
    assert counts["buttons"][5] == 1
    assert counts["camera"].sum() == 1


def test_nothing_validated_gives_an_empty_table() -> None:
    assert ValidationTable(4, CPU).summary() == {}
