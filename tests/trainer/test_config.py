"""Settings: read, overridden, and refused with every problem at once."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from shards.errors import SettingsError
from shards.settings import settings_of
from trainer.config import config_names, config_path, load_config, parse_config, resolve_lanes
from trainer.settings import ObjectiveConfig, RunConfig

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


def settings_in(name: str) -> list[str]:
    lines = config_path(name).read_text().splitlines()
    return [line for line in lines if re.match(r"\s*(- )?\w+: +\S", line)]


@pytest.mark.parametrize("name", ["demo", "rocket1"])
def test_config_file_says_what_each_key_means(name: str) -> None:
    assert [line for line in settings_in(name) if " # " not in line] == []


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
    def paths(text: str) -> list[str]:
        return [one.path for one in load_config("demo", [f"data.datasets={text}"]).data.datasets]

    assert paths("/data/a") == ["/data/a"]
    assert paths("[/data/a,/data/b]") == paths("/data/a,/data/b") == ["/data/a", "/data/b"]


def test_bare_off_turns_wandb_off() -> None:
    assert load_config("rocket1", ["logging.wandb=off"]).logging.wandb == "off"


def test_all_problems_are_reported_at_once() -> None:
    with pytest.raises(SettingsError, match="max_stesp") as caught:
        load_config("rocket1", ["trainer.max_stesp=3", "data.batch_size=x", "ema.decay=1.5", "polcy.hiddim=3"])
    assert caught.value.problems == [
        "rocket1.yaml: data.batch_size: got 'x', expected a whole number, 1 or more (lanes of one rank).",
        "rocket1.yaml: unknown setting `trainer.max_stesp`, did you mean `trainer.max_steps`?",
        (
            "rocket1.yaml: ema.decay: got 1.5, expected a number, more than 0 and less than 1 (what an update "
            "keeps of the old average)."
        ),
        "rocket1.yaml: unknown setting `polcy`, did you mean `policy`?",
    ]


def test_every_setting_says_what_it_means() -> None:
    assert [one.key for one in (*settings_of(RunConfig), *settings_of(ObjectiveConfig)) if not one.meaning] == []


def test_settings_are_refused_before_torch_is_imported() -> None:
    code = (
        "import sys; from trainer.config import load_config\n"
        "try: load_config('rocket1', ['data.batch_size=x'])\n"
        "finally: print([name for name in ('torch', 'lightning', 'timm') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[]"
    assert "data.batch_size: got 'x'" in done.stderr


def test_settings_that_contradict_each_other_are_all_named() -> None:
    with pytest.raises(SettingsError, match="policy") as caught:
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
    with pytest.raises(SettingsError, match=re.escape("x: objectives[0].teacher is null, expected the teacher's")):
        parse_config(content, "x")


def test_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(SettingsError, match=r"demmo: no such file, .*Did you mean demo\?"):
        load_config("demmo")


def test_checkpointed_settings_read_back_equal() -> None:
    config = load_config("rocket1")
    assert parse_config(config.model_dump(), "checkpoint") == config


def test_lanes_follow_from_batch_size_and_ranks() -> None:
    assert resolve_lanes(load_config("demo"), 4).data.num_lanes == 16


def test_global_lanes_are_shared_out_among_ranks() -> None:
    config = resolve_lanes(load_config("rocket1", ["data.num_lanes=64"]), 4)
    assert (config.data.batch_size, config.data.num_lanes) == (16, 64)


def test_lanes_that_do_not_divide_among_ranks_are_refused() -> None:
    with pytest.raises(SettingsError, match=r"data.num_lanes = 10 is not divisible by 4 ranks\. Use 8 or 12\."):
        resolve_lanes(load_config("rocket1", ["data.num_lanes=10"]), 4)


def test_configuration_stands_on_its_base_and_differs_where_it_says() -> None:
    base, one_gpu = load_config("rocket1").model_dump(), load_config("one-gpu").model_dump()
    assert one_gpu["trainer"].pop("devices") == 1
    assert base["trainer"].pop("devices") == 8
    assert one_gpu == base


def test_bases_follow_each_other_and_lists_are_replaced(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("base: demo\nseed: 3\nvalidation: {watch_events: [x]}\nema: {decay: 0.5}\n")
    (tmp_path / "b.yaml").write_text(f"base: {tmp_path / 'a.yaml'}\nema: {{every_n_steps: 7}}\n")
    config = load_config(str(tmp_path / "b.yaml"), ["seed=4"])
    assert (config.seed, config.validation.watch_events) == (4, ["x"])
    assert (config.ema.decay, config.ema.every_n_steps, config.policy.hiddim) == (0.5, 7, 128)


def test_value_of_another_kind_than_its_bases_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("base: demo\nobjectives: {name: behavior_cloning}\n")
    with pytest.raises(
        SettingsError, match=r"a\.yaml: objectives: got \{'name': 'behavior_cloning'\}, expected a list"
    ):
        load_config(str(tmp_path / "a.yaml"))


def test_base_that_is_missing_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("base: rocket\n")
    with pytest.raises(SettingsError, match=r"rocket: no such file, .*Did you mean rocket1\?"):
        load_config(str(tmp_path / "a.yaml"))


@pytest.mark.parametrize(("num_ranks", "batch_size"), [(8, 8), (4, 16), (1, 64)])
def test_recipe_has_the_same_global_batch_and_micro_batches_on_any_number_of_ranks(
    num_ranks: int, batch_size: int
) -> None:
    config = resolve_lanes(load_config("rocket1", [f"trainer.devices={num_ranks}"]), num_ranks)
    assert (config.data.num_lanes, config.data.batch_size, config.trainer.micro_lanes) == (64, batch_size, 8)
    assert config.data.num_lane_groups == 8


def test_micro_lanes_that_do_not_divide_a_ranks_lanes_are_refused() -> None:
    with pytest.raises(SettingsError, match=r"trainer.micro_lanes: got 3, .* of the 8 lanes of a rank\. Use 4\."):
        resolve_lanes(load_config("rocket1", ["trainer.micro_lanes=3"]), 8)


def test_datasets_may_have_weights() -> None:
    config = load_config("demo", ["data.datasets=[{path: /a, weight: 2}, /b]"])
    assert [(one.path, one.weight) for one in config.data.datasets] == [("/a", 2.0), ("/b", None)]
    assert config.data.weights == (2.0, 1.0)
    assert config.model_dump()["data"]["datasets"] == [{"path": "/a", "weight": 2.0}, "/b"]
    assert load_config("demo", ["data.datasets=/a,/b"]).data.weights == ()
    with pytest.raises(SettingsError, match="data.datasets: got weights, expected none with shuffled windows"):
        load_config("demo", ["data.datasets=[{path: /a, weight: 2}]", "data.episode_continuous_batch=false"])


def test_lanes_of_a_rank_are_not_ignored_where_those_of_all_are_set() -> None:
    with pytest.raises(SettingsError, match=r"data.batch_size: has no effect beside data.num_lanes = 64\. Use"):
        load_config("rocket1", ["data.batch_size=4"])
    assert load_config("rocket1", ["data.batch_size=4", "data.num_lanes=null"]).data.batch_size == 4
