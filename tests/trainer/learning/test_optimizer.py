"""The learning rate as a function of the step."""

import math

import pytest

from trainer.learning.optimizer import rate_share
from trainer.settings import OptimizerConfig


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("constant", [0.5, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]),
        ("linear", [0.5, 1.0, 1.0, 0.75, 0.5, 0.25, 0.0]),
        ("cosine", [0.5, 1.0, 1.0, (1 + math.sqrt(0.5)) / 2, 0.5, (1 - math.sqrt(0.5)) / 2, 0.0]),
    ],
)
def test_learning_rate_rises_and_decays_to_zero_at_the_end_of_the_run(schedule, expected):
    settings = OptimizerConfig(warmup_steps=2, schedule=schedule)
    assert [rate_share(step, settings, 6) for step in range(7)] == pytest.approx(expected)
    assert rate_share(100, settings, 6) == pytest.approx(expected[-1])


def test_run_that_is_shorter_than_its_warm_up_has_a_learning_rate():
    assert rate_share(1, OptimizerConfig(warmup_steps=10, schedule="cosine"), 5) == pytest.approx(0.2)
