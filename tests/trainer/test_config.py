"""Settings: read, overridden, and refused with every problem at once."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from trainer.config import (
    ConfigError,
    UsageError,
    all_keys,
    config_names,
    config_path,
    load_config,
    parse_config,
    resolve_lanes,
)

# The tutorial's full recipe, typed from its text.
TUTORIAL = {
    "policy.backbone": "efficientnet_b0.ra_in1k",
    "policy.hiddim": 1024,
    "policy.num_heads": 8,
    "policy.num_layers": 4,
    "policy.timesteps": 128,
    "policy.mem_len": 128,
    "log_freq": 20,
    "optimizer.learning_rate": 0.00004,
    "optimizer.weight_decay": 0.001,
    "optimizer.warmup_steps": 2000,
    "optimizer.gradient_clip": 1.0,
    "data.frame_width": 224,
    "data.frame_height": 224,
    "data.win_len": 128,
    "data.enable_segment": True,
    "data.batch_size": 8,
    "data.num_workers": 8,
    "data.prefetch_factor": 4,
    "data.split_ratio": 0.95,
    "data.shuffle_episodes": True,
    "data.episode_continuous_batch": True,
    "ema.decay": 0.999,
    "ema.validate_original_weights": True,
    "ema.every_n_steps": 8,
    "ema.cpu_offload": False,
    "trainer.devices": 8,
    "trainer.precision": "bf16-mixed",
}


def _value(config: object, key: str) -> object:
    for part in key.split("."):
        config = getattr(config, part)
    return config


@pytest.mark.parametrize("key", TUTORIAL)
def test_rocket1_holds_the_tutorials_value(key: str) -> None:
    assert _value(load_config("rocket1"), key) == TUTORIAL[key]


@pytest.mark.parametrize("name", ["demo", "rocket1"])
def test_config_file_sets_every_key_and_says_what_each_means(name: str) -> None:
    lines = config_path(name).read_text().splitlines()
    settings = [line for line in lines if re.match(r"\s*(- )?\w+: +\S", line)]
    without_meaning = [line for line in settings if " # " not in line]
    assert without_meaning == []
    named = {re.match(r"\s*(?:- )?(\w+):", line).group(1) for line in settings}
    expected = {key.rpartition(".")[2] for key in all_keys()} - {"objectives", "num_lanes"}
    assert expected - named == set()


def test_config_is_found_by_name_from_any_folder(tmp_path: Path) -> None:
    root = Path(importlib.util.find_spec("configs").origin).parents[1]
    code = "from trainer.config import load_config; print(load_config('rocket1').policy.hiddim)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "1024"


def test_config_names_list_what_lies_in_configs() -> None:
    assert {"demo", "rocket1"} <= set(config_names())


def test_overrides_are_applied_in_order() -> None:
    config = load_config("demo", ["trainer.max_steps=5", "trainer.max_steps=7", "optimizer.learning_rate=1e-4"])
    assert config.trainer.max_steps == 7
    assert config.optimizer.learning_rate == 0.0001


def test_override_reaches_into_the_list_of_objectives() -> None:
    config = load_config("demo", ["objectives.0.reduction=sum"])
    assert config.objectives[0].reduction == "sum"


def test_single_dataset_may_stand_without_brackets() -> None:
    assert load_config("demo", ["data.datasets=/data/a"]).data.datasets == ["/data/a"]
    assert load_config("demo", ["data.datasets=[/data/a,/data/b]"]).data.datasets == ["/data/a", "/data/b"]


def test_bare_off_turns_wandb_off() -> None:
    assert load_config("rocket1", ["logging.wandb=off"]).logging.wandb == "off"


def test_all_problems_are_reported_at_once() -> None:
    overrides = [
        "trainer.max_stesp=3",
        "data.batch_size=x",
        "data.win_len=7.5",
        "ema.enabled=3",
        "ema.decay=1.5",
        "trainer.precision=fp16",
        "trainer.devices=all",
        "objectives.0.wait=3",
        "polcy.hiddim=3",
    ]
    with pytest.raises(ConfigError, match="max_stesp") as caught:
        load_config("rocket1", overrides)
    assert sorted(caught.value.problems) == sorted(
        [
            "rocket1.yaml: trainer.max_stesp is an unknown key. Did you mean trainer.max_steps?",
            "rocket1.yaml: objectives[0].wait is an unknown key. Did you mean objectives[0].weight?",
            "rocket1.yaml: polcy is an unknown key. Did you mean policy?",
            "rocket1.yaml: data.batch_size has the wrong value, got 'x', expected a whole number.",
            "rocket1.yaml: data.win_len has the wrong value, got 7.5, expected a whole number.",
            "rocket1.yaml: ema.enabled has the wrong value, got 3, expected true or false.",
            "rocket1.yaml: ema.decay has the wrong value, got 1.5, expected less than 1.0.",
            "rocket1.yaml: trainer.precision has the wrong value, got 'fp16', expected '32-true' or 'bf16-mixed'.",
            "rocket1.yaml: trainer.devices has the wrong value, got 'all', expected a whole number or 'auto'.",
        ]
    )


def test_settings_that_contradict_each_other_are_all_named() -> None:
    with pytest.raises(ConfigError, match="policy") as caught:
        load_config("rocket1", ["data.win_len=64", "policy.num_heads=7", "trainer.max_epochs=null"])
    assert caught.value.problems == [
        (
            "rocket1.yaml: policy.timesteps = 128 is not data.win_len = 64; a window is what the policy gets "
            "in one step. Set both to one value."
        ),
        "rocket1.yaml: policy.hiddim = 1024 is not divisible by policy.num_heads = 7. Use 4 or 8 heads.",
        (
            "rocket1.yaml: trainer.max_steps and trainer.max_epochs are both null, so the run would never end. "
            "Set one."
        ),
    ]


def test_teacher_is_asked_for_where_it_is_needed() -> None:
    content = {"trainer": {"max_steps": 1}, "objectives": [{"name": "kl_to_teacher"}]}
    with pytest.raises(ConfigError, match=re.escape("x: objectives[0].teacher is null, expected the teacher's")):
        parse_config(content, "x")


def test_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"demmo: no such file, .*Did you mean demo\?"):
        load_config("demmo")


def test_override_without_value_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="max_steps: not an override, expected KEY=VALUE"):
        load_config("demo", ["max_steps"])


def test_broken_yaml_is_named_with_its_path(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("data: [unclosed\n")
    with pytest.raises(ConfigError, match=r"mine.yaml: not readable as YAML: .* Mend the file\."):
        load_config(str(tmp_path / "mine.yaml"))


def test_file_that_is_a_list_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("- a\n- b\n")
    with pytest.raises(ConfigError, match=r"mine.yaml: holds list, expected key: value lines"):
        load_config(str(tmp_path / "mine.yaml"))


def test_checkpointed_settings_read_back_equal() -> None:
    config = load_config("rocket1")
    assert parse_config(config.model_dump(), "checkpoint") == config


def test_lanes_follow_from_batch_size_and_ranks() -> None:
    assert resolve_lanes(load_config("rocket1"), 4).data.num_lanes == 32


def test_global_lanes_are_shared_out_among_ranks() -> None:
    config = resolve_lanes(load_config("rocket1", ["data.num_lanes=64"]), 4)
    assert (config.data.batch_size, config.data.num_lanes) == (16, 64)


def test_lanes_that_do_not_divide_among_ranks_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"data.num_lanes = 10 is not divisible by 4 ranks\. Use 8 or 12\."):
        resolve_lanes(load_config("rocket1", ["data.num_lanes=10"]), 4)
