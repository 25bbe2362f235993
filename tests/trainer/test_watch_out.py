"""What a run says to watch out for: each line names a setting, and with that setting the line is gone."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from tests.synthetic import make_dataset
from tests.trainer.runs import make_run_dataset, small_config
from trainer.config import load_config, resolve_lanes
from trainer.data.plan import DataPlan
from trainer.plan import PolicyFacts
from trainer.prepare import prepare
from trainer.settings import RunConfig
from trainer.watch_out import Machine, watch_out

MACHINE = Machine(num_gpus=0, num_cores=8, free_bytes=10**12)
POLICY = PolicyFacts(num_parameters=10**6, num_trained=10**6, num_bytes=4 * 10**6)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run_dataset(tmp_path_factory.mktemp("watch-out") / "dataset")


def plan_of(dataset: Path) -> DataPlan:
    """Data with nothing odd: a single lane has no padding."""
    one_lane = small_config(dataset, Path("run"), "data.batch_size=1", "data.num_lane_groups=1")
    return DataPlan.open(one_lane.data, seed=0, num_ranks=1)


def lines(data: DataPlan | None, *overrides: str, machine: Machine = MACHINE) -> list[str]:
    config = load_config("demo", overrides)
    assert isinstance(config.trainer.devices, int)
    ranks = config.trainer.devices
    return watch_out(resolve_lanes(config, ranks), ranks, machine, POLICY, data)


def test_run_with_nothing_odd_says_nothing(dataset: Path) -> None:
    assert lines(plan_of(dataset)) == []


GPUS = replace(MACHINE, num_gpus=4)


@pytest.mark.parametrize(
    ("overrides", "machine", "expected"),
    [
        (
            (),
            GPUS,
            "torch finds 4 GPUs, and the run does not use them. Set trainer.accelerator=gpu trainer.devices=4",
        ),
        (
            ("trainer.accelerator=auto",),
            GPUS,
            "3 of 4 GPUs will not be used. Set trainer.devices=4",
        ),
        (
            ("trainer.accelerator=auto", "trainer.devices=8"),
            MACHINE,
            (
                "torch finds no GPU on this machine. For one slow rank on the CPU, set trainer.accelerator=cpu "
                "trainer.devices=1"
            ),
        ),
        (
            ("data.num_workers=9",),
            MACHINE,
            "9 loader processes share 8 cores. Set data.num_workers=8",
        ),
        (
            ("trainer.devices=4", "data.num_workers=3"),
            MACHINE,
            "12 loader processes share 8 cores. Set data.num_workers=2",
        ),
        (
            ("trainer.max_steps=18", "trainer.val_every=null", "trainer.save_every=5"),
            MACHINE,
            "the run ends after 18 steps, before the warm-up does (20). Set optimizer.warmup_steps=1",
        ),
        (
            ("trainer.max_steps=90", "trainer.save_every=30"),
            MACHINE,
            (
                "the first validation would be at step 100, so the run of 90 steps validates only at its end. "
                "Set trainer.val_every=22"
            ),
        ),
        (
            ("trainer.max_steps=40", "trainer.val_every=10"),
            MACHINE,
            (
                "the first checkpoint would be at step 50, so the run of 40 steps saves only at its end, and a "
                "crash loses it. Set trainer.save_every=10"
            ),
        ),
        (
            # 9 saves of 8 MB, and 3 full ones of 16 MB: 120 MB.
            (),
            replace(MACHINE, free_bytes=90 * 10**6),
            (
                "all checkpoints together take 120 MB, and the disk of demo/run has 90.0 MB free. Set "
                "run_dir=FOLDER to another disk, or trainer.save_every=100"
            ),
        ),
    ],
)
def test_odd_run_is_told_with_a_setting_that_silences_it(
    dataset: Path, overrides: tuple[str, ...], machine: Machine, expected: str
) -> None:
    data = plan_of(dataset)
    assert lines(data, *overrides, machine=machine) == [expected]
    remedies = [word for word in re.findall(r"[a-z_.]+=\w+", expected) if "FOLDER" not in word]
    assert lines(data, *overrides, *remedies, machine=machine) == []


@pytest.mark.parametrize(
    ("num_masked_frames", "have"), [(0, "the data have none"), (13, "only 4.0% of the frames have one")]
)
def test_few_masks_are_told(dataset: Path, num_masked_frames: int, have: str) -> None:
    data = plan_of(dataset)
    (opened,) = data.collection.datasets  # of 326 frames
    opened.info = replace(opened.info, tally={**opened.info.tally, "num_masked_frames": num_masked_frames})
    expected = f"the policy is shown object masks, but {have}. To train without, set data.enable_segment=false"
    assert lines(data) == [expected]
    assert lines(data, "data.enable_segment=false") == []


def test_single_episode_leaves_none_to_validate_on(tmp_path: Path) -> None:
    make_dataset(tmp_path / "dataset", [[40]])
    data = plan_of(tmp_path / "dataset")
    assert lines(data) == ["no episode is left to validate on (1 episode in all). Set trainer.val_every=null"]
    assert lines(data, "trainer.val_every=null") == []


def test_without_data_only_the_machine_is_looked_at() -> None:
    assert lines(None, "trainer.max_steps=1") == []


def found_on(dataset: Path, folder: Path, *overrides: str) -> list[str]:
    """What a run on a real dataset has to say, of the data alone."""
    start = prepare(small_config(dataset, folder / "run", "trainer.max_steps=200", *overrides), None, dry_run=True)
    return watch_out(start.config, start.num_ranks, MACHINE, POLICY, start.data)


def remedy_of(line: str) -> str:
    return line.rpartition("Set ")[2].rpartition("set ")[2].split(",")[0]


@pytest.mark.parametrize("odd", ["data.num_lane_groups=2", "data.batch_size=9"])
def test_padding_is_told_with_lanes_or_groups_that_leave_little(dataset: Path, tmp_path: Path, odd: str) -> None:
    usual = ("data.num_lane_groups=1", "data.split_ratio=0.9", odd)
    (line,) = [line for line in found_on(dataset, tmp_path, *usual) if "padding" in line]
    assert re.match(r"\d+% of each epoch is padding: there are few episodes for so many lanes\. Set data\.", line)
    assert not [line for line in found_on(dataset, tmp_path, *usual, remedy_of(line)) if "padding" in line]


def test_missing_validation_episodes_are_told_with_a_share_that_has_some(dataset: Path, tmp_path: Path) -> None:
    (line,) = [x for x in found_on(dataset, tmp_path, "data.split_ratio=1.0") if "validate" in x]
    assert line == "no episode is left to validate on (12 episodes in all). Set data.split_ratio=0.9"
    assert not [x for x in found_on(dataset, tmp_path, remedy_of(line)) if "validate" in x]


def test_fewer_shards_than_groups_are_told(dataset: Path, tmp_path: Path) -> None:
    (line,) = [x for x in found_on(dataset, tmp_path, "data.num_lane_groups=4") if "shards" in x]
    assert line.startswith(
        "there are fewer shards than the 4 groups of lanes, so ranks read the same shards. Set "
    )
    assert not [x for x in found_on(dataset, tmp_path, remedy_of(line)) if "shards" in x]


def test_gpu_recipe_is_not_started_on_the_cpu_by_accident(dataset: Path, tmp_path: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    config: RunConfig = small_config(dataset, tmp_path / "run", "trainer.accelerator=auto", "trainer.devices=2")
    with pytest.raises(
        ValueError, match=r"2 GPUs are wanted, but torch finds none\. .*use trainer.accelerator=cpu"
    ):
        prepare(config, None)
