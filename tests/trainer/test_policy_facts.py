"""What is known of a policy before a run, and when it is counted again."""

import json
from pathlib import Path

import pytest

from trainer import policy_facts
from trainer.config import load_config
from trainer.plan import PolicyFacts


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[int]:
    """One entry for each time that a policy was counted; each count gives other facts."""
    counted: list[int] = []

    def count(config) -> PolicyFacts:
        counted.append(len(counted))
        return PolicyFacts(len(counted), 2, 3, 4.5, 6)

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(policy_facts, "count_policy", count)
    return counted


def facts_of(*overrides: str) -> PolicyFacts:
    return policy_facts.policy_facts(load_config("demo", ["policy.num_heads=8", *overrides]))


def test_counts_that_come_with_the_project_are_those_of_its_policies() -> None:
    # After a change of the policies or their code: python -m trainer.policy_facts
    assert json.loads(policy_facts.SHIPPED_FILE.read_bytes()) == policy_facts.count_shipped()


@pytest.mark.parametrize("name", ["rocket1", "one-gpu", "demo"])
def test_policy_of_the_project_is_not_counted(counts: list[int], name: str) -> None:
    assert policy_facts.policy_facts(load_config(name)).num_parameters > 1000
    assert counts == []


def test_policy_is_counted_once(counts: list[int]) -> None:
    assert facts_of() == facts_of() == PolicyFacts(1, 2, 3, 4.5, 6)
    assert facts_of("data.batch_size=1", "trainer.max_steps=7", "run_dir=elsewhere") == facts_of()
    assert len(counts) == 1


@pytest.mark.parametrize(
    "changed",
    [
        "policy.backbone=resnet18", "policy.hiddim=64", "policy.num_layers=3", "policy.num_heads=2",
        "policy.mem_len=7", "data.win_len=8 policy.timesteps=8", "data.frame_height=32", "data.frame_width=32",
        "trainer.activation_checkpointing=true", "trainer.precision=bf16-mixed",
    ],
)  # fmt: skip
def test_policy_with_other_counts_is_counted_again(counts: list[int], changed: str) -> None:
    facts_of()
    assert facts_of(*changed.split()).num_parameters == 2
    assert facts_of().num_parameters == 1


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"num_parameters": 3}'])
def test_damaged_counts_are_counted_again(counts: list[int], content: str, tmp_path: Path) -> None:
    facts_of()
    (kept,) = tmp_path.rglob("*.json")
    kept.write_text(content)
    assert facts_of().num_parameters == 2
    assert facts_of().num_parameters == 2


def test_place_that_cannot_be_written_costs_only_time(counts: list[int], tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    assert [facts_of().num_parameters, facts_of().num_parameters] == [1, 2]
