"""A run as its user meets it: killed, stopped, resumed, spread over ranks, refused."""

import csv
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.readme import masked, shown_after
from tests.trainer.runs import finish, in_child, make_run_dataset, overrides, small_config, start_ranks
from tests.waiting import wait_until
from trainer import run
from trainer.build import build_wandb
from trainer.changes import read_history
from trainer.checkpoints.checkpoint import (
    fault_of,
    full_checkpoints,
    full_path,
    read_checkpoint,
    read_full,
    step_of,
    write_checkpoint,
)
from trainer.learning.module import RocketModule
from trainer.look.run_page import run_page

NUM_STEPS = 23
"""Two epochs of ten steps, and a bit."""
RUN = (
    f"trainer.max_steps={NUM_STEPS}",
    "trainer.save_every=3",
    "trainer.val_every=6",
    "trainer.limit_val_steps=2",
)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run_dataset(tmp_path_factory.mktemp("run") / "dataset")


@pytest.fixture(scope="module")
def undisturbed(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run_dir = tmp_path_factory.mktemp("undisturbed")
    log = run_dir / "log"
    finish(in_child(*overrides(dataset, run_dir / "run", *RUN), log=log), log)
    return run_dir / "run"


def rows(run_dir: Path) -> list[dict[str, str]]:
    """metrics.csv without what depends on the clock."""
    with (run_dir / "metrics.csv").open(newline="") as file:
        return [
            {name: value for name, value in row.items() if not name.startswith("speed/") and value}
            for row in csv.DictReader(file)
        ]


def wait_for_step(run_dir: Path, step: int, process: BaseProcess) -> None:
    """The run has written down this step."""
    path = run_dir / "metrics.csv"

    def written() -> bool:
        assert process.is_alive(), f"the run ended before step {step}"
        return path.is_file() and f"\n{step}," in path.read_text()

    wait_until(written, f"step {step}")


def assert_same_content(first: Any, second: Any, where: str = "checkpoint") -> None:
    """Both hold the same, to the bit."""
    assert type(first) is type(second), where
    if isinstance(first, torch.Tensor):
        assert torch.equal(first, second), where
    elif isinstance(first, dict):
        assert list(first) == list(second), where
        for name in first:
            assert_same_content(first[name], second[name], f"{where}.{name}")
    elif isinstance(first, (list, tuple)):
        assert len(first) == len(second), where
        for index, (one, other) in enumerate(zip(first, second, strict=True)):
            assert_same_content(one, other, f"{where}[{index}]")
    else:
        assert first == second or first != first, where


def final_checkpoint(run_dir: Path) -> dict[str, Any]:
    content = read_full(full_path(run_dir, NUM_STEPS))
    del content["hyper_parameters"]["config"]["run_dir"]
    return content


def test_run_killed_again_and_again_ends_bit_for_bit_like_an_undisturbed_one(
    dataset: Path, undisturbed: Path, tmp_path: Path
) -> None:
    run_dir, log = tmp_path / "run", tmp_path / "log"
    arguments = overrides(dataset, run_dir, *RUN)
    # 2: before the first checkpoint; 9 to 11, 20: around the epochs' ends; 12, 18: at a validation.
    for step in (2, 9, 10, 11, 12, 18, 20):
        process = in_child(*arguments, resume="auto", log=log)
        wait_for_step(run_dir, step, process)
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
    finish(in_child(*arguments, resume="auto", log=log), log)
    assert rows(run_dir) == rows(undisturbed)
    assert_same_content(final_checkpoint(run_dir), final_checkpoint(undisturbed))


def test_sigterm_saves_first_and_the_run_goes_on_as_if_nothing_had_happened(
    dataset: Path, undisturbed: Path, tmp_path: Path
) -> None:
    step = 5
    run_dir, log = tmp_path / "run", tmp_path / "log"
    arguments = overrides(dataset, run_dir, *RUN, "trainer.save_every=100", "trainer.val_every=8")
    process = in_child(*arguments, log=log)
    wait_for_step(run_dir, step, process)
    process.terminate()
    said = finish(process, log, status=128 + signal.SIGTERM)
    saved = full_checkpoints(run_dir)[-1]
    assert step <= step_of(saved) < NUM_STEPS
    assert f"stopped after step {step_of(saved)} as asked; everything is in {saved}. Continue with: " in said
    finish(in_child(*arguments, resume="auto", log=log), log)
    training = [(row["step"], row["train/loss"], row["train/gradient_norm"]) for row in rows(run_dir)]
    assert training == [(row["step"], row["train/loss"], row["train/gradient_norm"]) for row in rows(undisturbed)]


@pytest.mark.parametrize("step", [6, NUM_STEPS])
@pytest.mark.parametrize("hook", ["training_step", "validation_step"])
def test_sigterm_at_a_validation_does_not_lose_it(
    dataset: Path, undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int, hook: str
) -> None:
    config = small_config(dataset, tmp_path / "run", *RUN)
    original = getattr(RocketModule, hook)
    num_validated = []

    def signalled(module: RocketModule, batch: Any, batch_idx: int) -> Any:
        if module.trainer.global_step == (step if hook == "validation_step" else step - 1):
            os.kill(os.getpid(), signal.SIGTERM)
            num_validated.append(batch_idx)
        return original(module, batch, batch_idx)

    with monkeypatch.context() as patched:
        patched.setattr(RocketModule, hook, signalled)
        assert run.train(config) == 128 + signal.SIGTERM
    assert len(num_validated) == 1  # a validation stops with its batch
    assert step_of(full_checkpoints(tmp_path / "run")[-1]) == step
    assert run.train(config, resume="auto") == 0
    assert rows(tmp_path / "run") == rows(undisturbed)
    assert_same_content(final_checkpoint(tmp_path / "run"), final_checkpoint(undisturbed))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 48 MB, for those who may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", folder]
    mounted = subprocess.run(command, check=False, capture_output=True)
    if mounted.returncode:
        pytest.skip("this user may not mount a file system")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_full_disk_makes_the_run_wait_for_room_and_loses_nothing(
    dataset: Path, undisturbed: Path, tmp_path: Path, small_disk: Path
) -> None:
    log, filler = tmp_path / "log", small_disk / "filler"
    filler.write_bytes(bytes(47 << 20))
    arguments = overrides(dataset, small_disk / "run", *RUN, "trainer.max_steps=7", "trainer.save_every=100")
    process = in_child(*arguments, log=log)
    wait_until(lambda: log.exists() and "the disk is full" in log.read_text(), "the run finds the disk full")
    filler.unlink()
    said = finish(process, log)
    assert re.search(
        r"step-00000006\.ckpt: the disk is full \(No space left on device\), got [\d.]+ MB free, "
        r"expected [\d.]+ MB\. The run waits 10 minutes for you to make room\.",
        said,
    )
    training = [row["train/loss"] for row in rows(small_disk / "run")]
    assert training == [row["train/loss"] for row in rows(undisturbed)][:7]


@pytest.fixture(scope="module")
def two_steps(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run of two steps in `run`."""
    folder = tmp_path_factory.mktemp("two-steps")
    arguments = overrides(dataset, folder / "run", *SPREAD, "trainer.max_steps=2", "trainer.val_every=null")
    finish(in_child(*arguments, log=folder / "log"), folder / "log")
    return folder


def start_in_two_folders(dataset: Path, two_steps: Path, other: Path, log: Path) -> list[BaseProcess]:
    """Two ranks that see `run` in different folders, as on machines without a shared one, go on to step 4."""
    arguments = overrides(dataset, Path("run"), *SPREAD, "trainer.max_steps=4", "trainer.val_every=null")
    main = log.parent / "main"
    shutil.copytree(two_steps, main)
    return start_ranks(*arguments, num_ranks=2, log=log, resume="auto", folders=[main, other])


def test_all_ranks_follow_the_main_processs_choice_of_a_checkpoint(
    dataset: Path, on_one_rank: Path, two_steps: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    shutil.copytree(two_steps, other)
    shutil.copy(full_checkpoints(on_one_rank)[-1], full_path(other / "run", 3))
    for rank, process in enumerate(start_in_two_folders(dataset, two_steps, other, tmp_path / "log")):
        finish(process, tmp_path / f"log{rank}")
    assert losses(tmp_path / "main" / "run") == pytest.approx(first(4, losses(on_one_rank)), rel=1e-4)


@pytest.mark.parametrize("is_there", [False, True])
def test_rank_without_the_chosen_checkpoint_stops_all_of_them_by_name(
    dataset: Path, two_steps: Path, tmp_path: Path, is_there: bool
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    problem = r"no such checkpoint\. .*"
    if is_there:
        content = read_checkpoint(full_path(two_steps / "run", 2))
        content["state_dict"] = {name: tensor + 1 for name, tensor in content["state_dict"].items()}
        write_checkpoint(content, full_path(other / "run", 2))
        problem = r"is another file there, got step 2 \(\w{16}\), expected step 2 \(\w{16}\)\."
    main, second = start_in_two_folders(dataset, two_steps, other, tmp_path / "log")
    said = finish(main, tmp_path / "log0", status=1)
    named = rf"error: rank 1 on {re.escape(socket.gethostname())}: run/checkpoints/step-00000002.ckpt:? {problem}"
    assert re.fullmatch(rf"{named} Put run_dir on a folder that all machines share, or copy .*\n", said), said
    assert finish(second, tmp_path / "log1") == ""


def test_rank_that_fails_is_named_by_the_main_process(dataset: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged"
    shutil.copytree(dataset, damaged)
    for shard in damaged.glob("*.tar"):
        shard.write_bytes(bytes(shard.stat().st_size))
    arguments = overrides(dataset, tmp_path / "run", *SPREAD)
    main, second = start_ranks(
        *arguments, num_ranks=2, log=tmp_path / "log", of_rank=[[], [f"data.datasets={damaged}"]]
    )
    last = finish(main, tmp_path / "log0", status=1).splitlines()[-1]
    assert re.match(rf"error: rank 1 on \S+ ended with: {damaged}/00000\d.tar: 1 windows are damaged", last)
    assert last.endswith(" --resume auto")
    finish(second, tmp_path / "log1", status=1)


FAULTY = """
import os, signal, sys, time
sys.stderr = open(os.environ["LOG"], "a", buffering=1)
from trainer.learning.module import RocketModule
train = RocketModule.training_step
def faulty(module, batch, batch_idx):
    if module.trainer.global_step == 3:
        if module.global_rank == 1:
            FAULT
        elif "SIGKILL" in "FAULT":
            time.sleep(600)  # as in an exchange of GPUs that does not notice
    return train(module, batch, batch_idx)
RocketModule.training_step = faulty
from trainer.cli import main
main()
"""


RAISE, KILL = "raise KeyError('lost')", "os.kill(os.getpid(), signal.SIGKILL)"
TORCHRUN = ["-m", "torch.distributed.run", "--nproc-per-node", "2"]


@pytest.mark.parametrize(("launcher", "fault"), [([], RAISE), ([], KILL), (TORCHRUN, KILL)])
def test_main_process_says_which_rank_ended_and_how(
    dataset: Path, tmp_path: Path, launcher: list[str], fault: str
) -> None:
    script, log, run_dir = tmp_path / "faulty.py", tmp_path / "log", tmp_path / "run"
    script.write_text(FAULTY.replace("FAULT", fault))
    words = overrides(dataset, run_dir, *SPREAD, "trainer.devices=2", "trainer.max_steps=200")
    done = subprocess.run(
        [sys.executable, *launcher, str(script), "demo", *words],
        env={**os.environ, "LOG": str(log)},
        check=False,
        capture_output=True,
        timeout=200,
    )
    assert done.returncode == 1
    last = log.read_text().splitlines()[-1]
    how = "with KeyError: 'lost'; its traceback is in " + str(run_dir / "rank-1.log")
    if fault == KILL:  # only who has started a process learns of its signal
        how = "without a word, as after SIGKILL or for lack of memory" if launcher else "by SIGKILL"
    else:
        assert RAISE in (run_dir / "rank-1.log").read_text()
    named = f"error: rank 1 on {socket.gethostname()} ended {how}. Continue with: rocket-train demo "
    assert last.startswith(named), log.read_text()


def losses(run_dir: Path) -> dict[int, float]:
    return {int(row["step"]): float(row["train/loss"]) for row in rows(run_dir)}


def first(num_steps: int, of_steps: dict[int, float]) -> dict[int, float]:
    return {step: loss for step, loss in of_steps.items() if step <= num_steps}


SPREAD = (
    "trainer.micro_lanes=1",
    "data.num_lanes=4",
    "trainer.save_every=7",
    "trainer.max_steps=20",
    "optimizer.learning_rate=1e-5",  # AdamW turns rounding of a tiny gradient into whole steps: keep them small
)
"""Four lanes, one computed at a time, each with batch statistics and dropout of its own."""


def on_ranks(num_ranks: int, folder: Path, *arguments: str, resume: str | None = None) -> None:
    """Train on so many real processes until they end."""
    log = folder / "log"
    for rank, process in enumerate(start_ranks(*arguments, num_ranks=num_ranks, log=log, resume=resume)):
        finish(process, folder / f"log{rank}")


@pytest.fixture(scope="module")
def on_one_rank(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("spread")
    finish(in_child(*overrides(dataset, folder / "run", *SPREAD), log=folder / "log"), folder / "log")
    return folder / "run"


def assert_same_to_rounding(run_dir: Path, expected: Path) -> None:
    """Each step's loss is the other run's.

    A sum in another order differs by 1e-7, and a step of AdamW about doubles what differs: to 1e-4 after twenty.
    """
    found, wanted = losses(run_dir), losses(expected)
    assert first(10, found) == pytest.approx(first(10, wanted), rel=1e-5)
    assert found == pytest.approx(wanted, rel=2e-3)


@pytest.mark.parametrize("num_ranks", [2, 4])
def test_ranks_and_micro_batches_give_the_losses_of_one_rank_over_twenty_steps(
    dataset: Path, on_one_rank: Path, tmp_path: Path, num_ranks: int
) -> None:
    """The second epoch of ten steps ends on uneven data: lanes of one rank are padding while the other's go on."""
    arguments = overrides(dataset, tmp_path / "run", *SPREAD, "trainer.activation_checkpointing=true")
    on_ranks(num_ranks, tmp_path, *arguments)
    assert_same_to_rounding(tmp_path / "run", on_one_rank)
    validated = [float(row["val/loss"]) for row in rows(tmp_path / "run") if "val/loss" in row]
    assert len(validated) == 4
    expected = [float(row["val/loss"]) for row in rows(on_one_rank) if "val/loss" in row]
    assert validated[:2] == pytest.approx(expected[:2], rel=1e-5)
    assert validated == pytest.approx(expected, rel=2e-3)


def test_run_moves_from_four_ranks_to_one_and_to_two_in_the_middle_of_an_epoch(
    dataset: Path, on_one_rank: Path, tmp_path: Path
) -> None:
    arguments = overrides(dataset, tmp_path / "run", *SPREAD)
    on_ranks(4, tmp_path, *arguments, "trainer.max_steps=6")
    finish(in_child(*arguments, "trainer.max_steps=13", log=tmp_path / "log", resume="auto"), tmp_path / "log")
    on_ranks(2, tmp_path, *arguments, resume="auto")
    assert_same_to_rounding(tmp_path / "run", on_one_rank)


def test_all_lanes_at_once_are_another_run_than_one_at_a_time(
    dataset: Path, on_one_rank: Path, tmp_path: Path
) -> None:
    """So that the tests above compare what differs: batch statistics cover the lanes that are computed at once."""
    arguments = overrides(dataset, tmp_path / "run", *SPREAD, "trainer.micro_lanes=4", "trainer.max_steps=6")
    finish(in_child(*arguments, log=tmp_path / "log"), tmp_path / "log")
    found, expected = losses(tmp_path / "run"), losses(on_one_rank)
    assert max(abs(found[step] / expected[step] - 1) for step in range(1, 7)) > 1e-3


def test_broken_last_checkpoint_is_told_and_the_one_before_taken(
    dataset: Path, undisturbed: Path, tmp_path: Path
) -> None:
    run_dir, log = tmp_path / "run", tmp_path / "log"
    shutil.copytree(undisturbed, run_dir)
    newest = full_checkpoints(run_dir)[-1]
    os.truncate(newest, newest.stat().st_size // 2)
    said = finish(in_child(*overrides(dataset, run_dir, *RUN), resume="auto", log=log), log)
    assert f"{newest}: not whole (file is not a zip file); the one before it is taken." in said
    assert "21 steps done" in said
    shown = [line.replace("demo/run/", f"{run_dir}/") for line in shown_after("rocket-train demo --resume auto")]
    assert masked(shown)[0] in masked(said.splitlines())
    assert newest.with_name(f"{newest.name}.broken").exists()
    assert rows(run_dir) == rows(undisturbed)
    assert_same_content(final_checkpoint(run_dir), final_checkpoint(undisturbed))


def test_older_checkpoint_branches_off_into_another_folder_only(
    dataset: Path, undisturbed: Path, tmp_path: Path
) -> None:
    older, newest = full_checkpoints(undisturbed)
    log = tmp_path / "log"
    said = finish(in_child(*overrides(dataset, undisturbed, *RUN), resume=str(older), log=log), log, status=1)
    assert f"{undisturbed}: holds a newer checkpoint than {older.name}, {newest.name}." in said
    run_dir = tmp_path / "branch"
    finish(in_child(*overrides(dataset, run_dir, *RUN), resume=str(older), log=log), log)
    assert rows(run_dir) == rows(undisturbed)[step_of(older) :]
    assert_same_content(final_checkpoint(run_dir), final_checkpoint(undisturbed))


def test_finished_run_has_nothing_left_to_do_until_it_gets_more_steps(
    dataset: Path, undisturbed: Path, tmp_path: Path
) -> None:
    run_dir, log = tmp_path / "run", tmp_path / "log"
    shutil.copytree(undisturbed, run_dir)
    said = finish(in_child(*overrides(dataset, run_dir, *RUN), resume="auto", log=log), log)
    assert "all 23 steps are done. Set a larger trainer.max_steps to train on." in said
    more = overrides(dataset, run_dir, *RUN, "trainer.max_steps=25", "optimizer.learning_rate=5e-4")
    told = finish(in_child(*more, resume="auto", log=log), log).splitlines()
    first = told.index(f"changed      run_dir: {undisturbed} -> {run_dir}")
    assert told[first + 1 : first + 3] == [
        "             optimizer.learning_rate: 0.001 -> 0.0005",
        "             trainer.max_steps: 23 -> 25",
    ]
    assert [(entry["step"], entry["key"], entry["new"]) for entry in read_history(run_dir)] == [
        (23, "run_dir", str(run_dir)),
        (23, "optimizer.learning_rate", 0.0005),
        (23, "trainer.max_steps", 25),
    ]
    page = re.sub(r"<[^>]+>", " ", run_page(run_dir, frames=False))
    assert re.search(r"23\s+\d{4}-\d\d-\d\d\s+optimizer\.learning_rate\s+0\.001\s+0\.0005\s", page)
    rates = [float(row["train/learning_rate"]) for row in rows(run_dir)]
    assert rates[-4:] == [1e-3, 1e-3, 5e-4, 5e-4]  # new settings rule over those in the checkpoint


def test_resumed_cosine_schedule_goes_on_as_if_never_interrupted(dataset: Path, tmp_path: Path) -> None:
    cosine = ("optimizer.schedule=cosine", "optimizer.learning_rate=8e-4", "trainer.val_every=null")
    whole, broken, log = tmp_path / "whole", tmp_path / "broken", tmp_path / "log"
    finish(in_child(*overrides(dataset, whole, *cosine), log=log), log)
    arguments = overrides(dataset, broken, *cosine)
    process = in_child(*arguments, log=log)
    wait_for_step(broken, 6, process)  # after a checkpoint, while the rate falls
    process.kill()
    process.join()
    finish(in_child(*arguments, resume="auto", log=log), log)
    rates = [row["train/learning_rate"] for row in rows(whole)]
    assert [row["train/learning_rate"] for row in rows(broken)] == rates
    # 4 steps up; then 8 down: half of 1 + cos(k pi / 8), by a pocket calculator.
    decay = [1, 0.96194, 0.853553, 0.691342, 0.5, 0.308658, 0.146447, 0.03806]
    expected = [2e-4, 4e-4, 6e-4, 8e-4, *(8e-4 * share for share in decay)]
    assert [float(rate) for rate in rates] == pytest.approx(expected, rel=1e-4)


def test_run_of_whole_epochs_ends_with_them_and_can_be_given_another(dataset: Path, tmp_path: Path) -> None:
    run_dir, log = tmp_path / "run", tmp_path / "log"
    arguments = overrides(dataset, run_dir, "trainer.max_steps=null", "trainer.val_every=null")
    finish(in_child(*arguments, "trainer.max_epochs=1", log=log), log)
    assert read_full(full_path(run_dir, 10))["rocket"]["position"] == {"epoch": 1, "step": 0, "global_step": 10}
    finish(in_child(*arguments, "trainer.max_epochs=2", resume="auto", log=log), log)
    assert [(row["step"], row["epoch"]) for row in rows(run_dir)] == [
        (str(step), str((step - 1) // 10)) for step in range(1, 21)
    ]


def test_run_ends_with_a_validation_and_keeps_all_weights_and_two_whole_checkpoints(undisturbed: Path) -> None:
    assert [row["step"] for row in rows(undisturbed) if "val/loss" in row] == ["6", "12", "18", "23"]
    assert [path.name for path in full_checkpoints(undisturbed)] == ["step-00000021.ckpt", "step-00000023.ckpt"]
    steps = ["03", "06", "09", "12", "15", "18", "21", "23"]
    names = [f"step-000000{step}{twin}.ckpt" for step in steps for twin in ("-EMA", "")]
    assert sorted(path.name for path in (undisturbed / "weights").iterdir()) == names
    average = read_checkpoint(undisturbed / "weights" / "step-00000023-EMA.ckpt")["state_dict"]
    whole = read_full(full_path(undisturbed, NUM_STEPS))
    assert_same_content(
        dict(average), {f"policy.{name}": x for name, x in whole["ema_state_dict"]["policy"].items()}
    )


def test_exploding_loss_stops_the_run_after_a_checkpoint(dataset: Path, tmp_path: Path) -> None:
    run_dir, log = tmp_path / "run", tmp_path / "log"
    exploding = ("optimizer.learning_rate=1e30", "optimizer.warmup_steps=0", "trainer.save_every=100")
    said = finish(in_child(*overrides(dataset, run_dir, *exploding), log=log), log, status=1)
    stopped = re.search(
        r"error: step (\d+): the .* (?:is|norm is) (?:nan|inf); the largest share has lane [0-3], "
        r"episode ep0\d\d, frames \d+ to \d+ .* Saved before it: (\S+)\.",
        said,
    )
    assert stopped is not None, said
    step, path = int(stopped[1]), Path(stopped[2])
    assert path == full_path(run_dir, step - 1)
    assert fault_of(path) is None
    assert rows(run_dir)[-1]["step"] == str(step)


def test_wandb_without_a_key_logs_into_the_runs_folder(dataset: Path, tmp_path: Path) -> None:
    run_dir, log = tmp_path / "run", tmp_path / "log"
    quiet = {"HOME": str(tmp_path), "WANDB_API_KEY": "", "NETRC": str(tmp_path / "none")}
    arguments = overrides(dataset, run_dir, "logging.wandb=auto", "trainer.max_steps=2", "trainer.val_every=null")
    finish(in_child(*arguments, log=log, env=quiet), log)
    assert len(list((run_dir / "wandb").glob("offline-run-*/*.wandb"))) == 1


def test_wandb_that_does_not_answer_does_not_stop_the_run(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    logger = build_wandb(small_config(tmp_path, tmp_path, "logging.wandb=online"), resumed=False, seconds=1)
    assert logger is not None
    logger.experiment.finish()
    assert re.search("wandb online: .*; going on without", caplog.text)
    assert len(list((tmp_path / "wandb").glob("offline-run-*/*.wandb"))) == 1


@pytest.mark.parametrize("everywhere", [False, True])
def test_signal_to_one_rank_or_all_stops_all_of_them_with_a_checkpoint(
    dataset: Path, tmp_path: Path, everywhere: bool
) -> None:
    run_dir, log = tmp_path / "run", tmp_path / "log"
    arguments = overrides(dataset, run_dir, *SPREAD, "trainer.save_every=100", "trainer.max_steps=200")
    main, other = start_ranks(*arguments, num_ranks=2, log=log)
    wait_for_step(run_dir, 3, main)
    for process in (other, main) if everywhere else (other,):
        assert process.pid is not None
        os.kill(process.pid, signal.SIGUSR1)
    said = finish(main, tmp_path / "log0", status=128 + signal.SIGUSR1)
    finish(other, tmp_path / "log1")
    (saved,) = full_checkpoints(run_dir)
    assert f"everything is in {saved}." in said
    assert read_full(saved)["rocket"]["memories"]["policy"]["lanes"].tolist() == [0, 1, 2, 3]


def test_wrong_setting_is_told_once_for_all_ranks(dataset: Path, tmp_path: Path) -> None:
    arguments = overrides(dataset, tmp_path / "run", "policy.backbone=efficientnet_b00")
    main, other = start_ranks(*arguments, num_ranks=2, log=tmp_path / "log")
    said = finish(main, tmp_path / "log0", status=1)
    assert re.fullmatch(r"error: policy\.backbone: timm .* has no model 'efficientnet_b00'.*\n", said)
    assert finish(other, tmp_path / "log1") == ""


def damaged_copy(dataset: Path, folder: Path) -> Path:
    """The dataset with a byte changed in the middle of each shard."""
    shutil.copytree(dataset, folder)
    for shard in folder.glob("*.tar"):
        content = bytearray(shard.read_bytes())
        content[len(content) // 2] ^= 0xFF
        shard.write_bytes(content)
    return folder


def test_damaged_clips_are_masked_and_told_at_the_end(dataset: Path, tmp_path: Path) -> None:
    damaged, log = damaged_copy(dataset, tmp_path / "damaged"), tmp_path / "log"
    arguments = overrides(damaged, tmp_path / "run", "trainer.max_steps=10", "data.max_damaged_windows=40")
    said = finish(in_child(*arguments, log=log), log)
    told = re.search(
        r"^damage: (\d+) windows with \d+ frames were masked, in (.*)\. Run: rocket-prep verify",
        said,
        re.MULTILINE,
    )
    assert told is not None, said
    assert 1 <= int(told[1]) <= 6  # a clip of 16 frames is two windows; one clip in each of three shards
    assert all(re.fullmatch(rf"{damaged}/00000[0-2]\.tar", shard) for shard in told[2].split(", "))
    assert [row["step"] for row in rows(tmp_path / "run")] == [str(step) for step in range(1, 11)]


def test_more_damage_than_allowed_stops_the_run_and_names_the_shard(dataset: Path, tmp_path: Path) -> None:
    damaged, log = damaged_copy(dataset, tmp_path / "damaged"), tmp_path / "log"
    said = finish(in_child(*overrides(damaged, tmp_path / "run"), log=log), log, status=1)
    assert re.search(r"error: .*00000\d\.tar: 1 windows are damaged, expected at most 0", said)
