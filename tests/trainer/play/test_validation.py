"""A run that plays at its validations."""

import importlib
import io
import re
import tomllib
from pathlib import Path

import gymnasium
import pytest

from pipeline.sample import env as sample_env
from shards.errors import RocketError
from tests.trainer.runs import make_run_dataset, small_config
from trainer.look.run_folder import read_metrics
from trainer.look.run_page import run_page
from trainer.play.session import SHORT_NAMES, env_maker
from trainer.play.validation import PlayValidation
from trainer.run import train

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def short_episodes():
    """The sample's game, over after a few steps."""
    gymnasium.register("tests/ShortSample-v0", entry_point=sample_env.SampleEnv, max_episode_steps=5)
    yield "tests/ShortSample-v0"
    gymnasium.registry.pop("tests/ShortSample-v0")


def losses(run_dir):
    return [{k: v for k, v in row.items() if "/loss" in k} for row in read_metrics(run_dir / "metrics.csv")]


def test_validations_play_and_change_nothing_else(tmp_path, short_episodes):
    dataset = make_run_dataset(tmp_path / "dataset")
    short = ("trainer.max_steps=4", "trainer.val_every=2", "trainer.save_every=4")
    played = (f"validation.play_env={short_episodes}", "validation.play_episodes=3")
    for name, more in (("plain", ()), ("played", played)):
        assert train(small_config(dataset, tmp_path / name, *short, *more), out=io.StringIO()) == 0
    rows = read_metrics(tmp_path / "played" / "metrics.csv")
    # Nobody rings a bell in five steps.
    assert [(row["step"], row["val/play_success"]) for row in rows if "val/play_success" in row] == [
        (2, 0.0),
        (4, 0.0),
    ]
    assert losses(tmp_path / "played") == losses(tmp_path / "plain")
    assert "val/play_success" not in (tmp_path / "plain" / "metrics.csv").read_text()
    pages = [run_page(tmp_path / name, frames=False) for name in ("plain", "played")]
    assert [bool(re.search(r'<g id="play-figure_1"', page)) for page in pages] == [False, True]
    assert f"3 episodes of {short_episodes} at each validation" in pages[1]


def test_entry_points_register_the_environments_with_short_names(monkeypatch):
    for name in SHORT_NAMES.values():
        monkeypatch.delitem(gymnasium.registry, name, raising=False)
    entries = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["gymnasium.envs"]
    for module, _, function in (entry.partition(":") for entry in entries.values()):
        getattr(importlib.import_module(module), function)()
    assert set(SHORT_NAMES.values()) <= gymnasium.registry.keys()


def test_environment_is_found_by_its_entry_point():
    gymnasium.registry.pop("rocket1/Sample-v0", None)
    env = env_maker("sample")()
    assert env.spec.id == "rocket1/Sample-v0"
    env.close()


def test_unknown_environment_is_refused_before_the_run(tmp_path):
    config = small_config(tmp_path, tmp_path, "validation.play_env=their/Env-v0", "validation.play_episodes=1")
    with pytest.raises(RocketError, match="validation.play_env their/Env-v0: gymnasium knows no such environment"):
        PlayValidation(config)
