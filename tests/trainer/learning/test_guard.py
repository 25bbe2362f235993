"""When a loss stops the run."""

import math
import re

import pytest

from trainer.learning.guard import WARMUP_STEPS, LossGuard


def fed(*losses: float, spike_factor: float | None = 10.0) -> LossGuard:
    guard = LossGuard(spike_factor)
    for loss in losses:
        assert guard.verdict(loss, 1.0) is None
    return guard


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_loss_that_is_no_number_stops_at_once(loss: float) -> None:
    assert fed().verdict(loss, 1.0) == f"the loss is {loss}"


def test_gradients_that_are_no_numbers_stop() -> None:
    assert fed().verdict(1.0, math.nan) == "the gradients' norm is nan"


def test_spike_stops_with_its_size() -> None:
    verdict = fed(*[2.0] * WARMUP_STEPS).verdict(50.0, 1.0)
    assert verdict == "the loss is 50, 25.0 times its running mean 2"


def test_first_losses_may_be_large() -> None:
    assert fed(*[0.1] * (WARMUP_STEPS - 1)).verdict(50.0, 1.0) is None


def test_refused_loss_does_not_enter_the_mean() -> None:
    guard = fed(*[2.0] * WARMUP_STEPS)
    guard.verdict(50.0, 1.0)
    assert guard.mean == 2.0


def test_spikes_pass_without_a_factor() -> None:
    assert fed(*[2.0] * 200, spike_factor=None).verdict(1e9, 1.0) is None


def test_restored_guard_judges_alike() -> None:
    guard = fed(*[2.0, 3.0] * WARMUP_STEPS)
    restored = LossGuard(10.0, guard.mean, guard.num_steps)
    assert re.match("the loss is 30, ", restored.verdict(30.0, 1.0) or "")
    assert restored.verdict(30.0, 1.0) == guard.verdict(30.0, 1.0)
