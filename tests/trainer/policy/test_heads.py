"""Actions, their probabilities, and drawing them."""

import pytest
import torch

from trainer.policy.heads import CategoricalHead, PolicyHead


@pytest.fixture
def head() -> CategoricalHead:
    torch.manual_seed(0)
    return CategoricalHead(width=8, num_actions=6, nucleus_prob=0.85)


def logits_of(*probabilities: float) -> torch.Tensor:
    return torch.tensor(probabilities).log().view(1, 1, 1, -1)


def test_logits_are_log_probabilities_with_minestudios_axes(head):
    logits = head(torch.randn(2, 3, 8))
    assert logits.shape == (2, 3, 1, 6)
    torch.testing.assert_close(logits.exp().sum(-1), torch.ones(2, 3, 1))


def test_deterministic_sample_is_the_likeliest(head):
    assert head.sample(logits_of(0.2, 0.5, 0.3), deterministic=True).tolist() == [[[1]]]


@pytest.mark.parametrize(
    ("probabilities", "nucleus"),
    [
        ((0.5, 0.3, 0.1, 0.06, 0.04), {0, 1, 2}),  # 0.5 + 0.3 < 0.85: the third is still needed
        ((0.05, 0.9, 0.05), {1}),  # the first is always in
        ((0.25, 0.25, 0.25, 0.25), {0, 1, 2, 3}),
    ],
)
def test_nucleus_sample_draws_from_the_smallest_likely_set(head, probabilities, nucleus):
    torch.manual_seed(0)
    logits = logits_of(*probabilities).expand(1, 4000, 1, -1)
    drawn = head.sample(logits).flatten()
    assert set(drawn.tolist()) == nucleus
    mass = sum(probabilities[index] for index in nucleus)
    for index in nucleus:
        share = float((drawn == index).float().mean())
        assert share == pytest.approx(probabilities[index] / mass, abs=0.03)


def test_no_nucleus_draws_from_everything():
    head = CategoricalHead(8, 3, nucleus_prob=None)
    logits = logits_of(0.6, 0.39, 0.01).expand(1, 2000, 1, -1)
    torch.manual_seed(0)
    drawn = head.sample(logits).flatten()
    assert torch.bincount(drawn, minlength=3).div(2000).tolist() == pytest.approx([0.6, 0.39, 0.01], abs=0.03)


def test_policy_head_draws_an_action_a_head():
    torch.manual_seed(0)
    head = PolicyHead(8)
    logits = head(torch.randn(2, 3, 8))
    action = head.sample(logits)
    assert {name: tuple(chosen.shape) for name, chosen in action.items()} == {
        "buttons": (2, 3, 1),
        "camera": (2, 3, 1),
    }
