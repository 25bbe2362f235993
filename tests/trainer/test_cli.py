"""The command line: help, plans, refusals in one line, and weights in and out."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch

from tests.readme import shown_after
from tests.trainer.runs import finish, in_child, make_run_dataset, overrides
from trainer.checkpoints.checkpoint import full_path, read_checkpoint, weights_path
from trainer.cli import app, main
from trainer.config import load_config
from trainer.look.run_folder import read_metrics
from trainer.policy import RocketPolicy

STEPS = 4


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run_dataset(tmp_path_factory.mktemp("cli") / "dataset")


@pytest.fixture(scope="module")
def run_dir(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of four steps with one validation at its end."""
    folder = tmp_path_factory.mktemp("cli-run")
    finish(in_child(*arguments(dataset, folder / "run"), log=folder / "log"), folder / "log")
    return folder / "run"


def arguments(dataset: Path, run_dir: Path, *more: str) -> list[str]:
    return overrides(dataset, run_dir, f"trainer.max_steps={STEPS}", f"trainer.val_every={STEPS}", *more)


def said(capsys: pytest.CaptureFixture[str], *command: str, status: int = 0) -> tuple[str, str]:
    """What a command prints to standard output and standard error."""
    with pytest.raises(SystemExit) as ended:
        main(list(command))
    out, err = capsys.readouterr()
    assert (ended.value.code or 0) == status, out + err
    return out, err


def refusal(capsys: pytest.CaptureFixture[str], *command: str, status: int = 1) -> str:
    """The one line that a refused command prints."""
    out, err = said(capsys, *command, status=status)
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1, err
    return err.removeprefix("error: ").rstrip("\n")


def test_every_command_has_help_with_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    names = [command.name or command.callback.__name__ for command in app.registered_commands]
    assert {"train", "evaluate", "import-weights", "export-weights"} <= set(names)
    for name in ([], *([name] for name in names)):
        out, _ = said(capsys, *name, "--help")
        assert re.search(r"Example: +rocket-train", out), name


def test_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "--version")[0].startswith("rocket-train ")


def test_dry_run_prints_the_tutorials_arithmetic_and_starts_nothing(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    out, _ = said(capsys, "rocket1", f"run_dir={tmp_path / 'run'}", "--dry-run")
    lines = {line.split()[0]: line for line in out.splitlines() if not line.startswith(" ")}
    theirs = [line.replace(str(tmp_path / "run"), "runs/rocket1") for line in out.splitlines()]
    watch_out = [line for line in theirs if line.startswith("watch out")]  # it depends on the machine
    assert shown_after("rocket-train rocket1 --dry-run") == [line for line in theirs if line not in watch_out]
    assert "efficientnet_b0.ra_in1k, hiddim 1024, 8 heads, 4 layers, mem_len 128" in lines["policy"]
    assert "106,651,930 parameters, 106,650,902 trained" in out  # 1,028 of them are the value head's
    assert "8 ranks x 8 lanes x 128 frames = 8,192 frames" in lines["step"]
    assert "4.19 MB a lane, 33.6 MB a rank" in lines["memory"]
    assert "18,555 steps = 1,187,520 windows" in lines["epoch"]  # 152 M / 8,192
    assert "185,550 steps = 10.00 epochs" in lines["run"]
    assert "learning rate 4e-05 after 2,000 steps of linear warm-up, weight decay 0.001" in lines["optimizer"]
    assert "gradients clipped at 1" in lines["optimizer"]
    assert "computed in bf16-mixed" in lines["loss"]
    assert "decay 0.999 every 8 steps" in lines["average"]
    assert not (tmp_path / "run").exists()


def test_dry_run_on_data_counts_its_windows_and_padding(
    capsys: pytest.CaptureFixture[str], dataset: Path, tmp_path: Path
) -> None:
    out, _ = said(capsys, "--dry-run", "demo", *overrides(dataset, tmp_path / "run"))
    assert "10 episodes with 258 frames train, 2 episodes validate" in out
    assert "10 steps = 38 windows + 2 of padding (5.00%), lanes in 2 groups" in out
    assert "12 steps = 1.20 epochs, 384 frames" in out


def test_mistyped_command_suggests_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["evalute", "run.ckpt", "dataset"])
    assert end.value.code == 2
    assert "No such command 'evalute'. Did you mean 'evaluate'?" in capsys.readouterr().err


def test_unknown_config_suggests_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert "Did you mean demo?" in refusal(capsys, "demmo")


def test_override_without_value_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert "expected KEY=VALUE" in refusal(capsys, "demo", "max_steps", status=2)


def test_every_wrong_setting_gets_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    _, err = said(capsys, "demo", "trainer.max_step=3", "data.batch_size=none", status=1)
    assert err.splitlines() == [
        "error: demo.yaml: data.batch_size: got 'none', expected a whole number, 1 or more (lanes of one rank).",
        "error: demo.yaml: unknown setting `trainer.max_step`, did you mean `trainer.max_steps`?",
    ]


def test_settings_that_are_shown_are_a_file_that_reads_back_equal(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    out, _ = said(capsys, "show", "rocket1", "optimizer.learning_rate=1e-5", "data.datasets=my data,b")
    (tmp_path / "shown.yaml").write_text(out)
    assert load_config(str(tmp_path / "shown.yaml")) == load_config(
        "rocket1", ["optimizer.learning_rate=1e-5", "data.datasets=[my data,b]"]
    )
    (line,) = [line for line in out.splitlines() if "learning_rate" in line]
    assert re.fullmatch(
        r"  learning_rate: 1e-05 +# AdamW's step size after warm-up .*\(a number, more than 0; default 4e-05\)",
        line,
    )


def test_wrong_settings_and_places_are_told_without_torch(tmp_path: Path) -> None:
    for words in (
        ["demo", "trainer.max_step=3"],
        ["nowhere"],
        ["demo", f"data.datasets={tmp_path / 'nowhere'}"],
        ["demo", "run_dir=s3://bucket/run"],
        ["demo", "--resume", str(tmp_path)],
        ["--help"],
        ["train", "--help"],
        ["show", "demo"],
    ):
        code = f"import sys, trainer.cli as c\ntry: c.main({words!r})\nfinally: print('torch' in sys.modules)"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert done.stdout.endswith("False\n"), (words, done.stderr)


def test_addresses_are_refused_before_any_work(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for words in (
        ["demo", "run_dir=s3://bucket/run"],
        ["demo", "run_dir=s3://bucket/run", "--dry-run"],
        ["report", "run", "--out", "s3://bucket/page.html"],
        ["import-weights", "a.ckpt", "--out", "s3://bucket/b.ckpt"],
        ["export-weights", "a.ckpt", "--out", "s3://bucket/b"],
    ):
        assert re.search(r"s3://bucket/.*: an address of s3, but .*Give a local path", refusal(capsys, *words))
    assert list(tmp_path.iterdir()) == []


def test_run_folder_stands_for_its_newest_checkpoint(
    capsys: pytest.CaptureFixture[str], run_dir: Path, dataset: Path, tmp_path: Path
) -> None:
    newest = str(weights_path(run_dir, STEPS))
    table, _ = said(capsys, "evaluate", newest, str(dataset))
    assert said(capsys, "evaluate", str(run_dir)) == (table, "")
    said(capsys, "export-weights", str(run_dir), "--out", str(tmp_path / "a.safetensors"))
    said(capsys, "export-weights", newest, "--out", str(tmp_path / "b.safetensors"))
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    assert "no checkpoint in this folder" in refusal(capsys, "evaluate", str(tmp_path))


def test_resume_takes_a_runs_folder(
    capsys: pytest.CaptureFixture[str], run_dir: Path, dataset: Path, tmp_path: Path
) -> None:
    words = [word for word in arguments(dataset, tmp_path) if not word.startswith("run_dir=")]
    out, _ = said(capsys, "demo", *words, "--resume", str(run_dir))
    assert f"{full_path(run_dir, STEPS)}: all {STEPS} steps are done" in out
    other = refusal(capsys, "demo", *words, f"run_dir={tmp_path}", "--resume", str(run_dir), status=2)
    assert "Give one of the two" in other
    assert "no checkpoints in this folder" in refusal(capsys, "demo", "--resume", str(tmp_path), status=2)


def test_refusals_name_the_place_the_problem_and_the_remedy(
    capsys: pytest.CaptureFixture[str], dataset: Path, tmp_path: Path
) -> None:
    def refused(*more: str) -> str:
        return refusal(capsys, "demo", *overrides(dataset, tmp_path / "run", *more))

    empty = tmp_path / "no dataset"
    empty.mkdir()
    assert re.search(
        r"no dataset: no dataset\.json.*rocket-prep build-shards", refused(f"data.datasets=[{empty}]")
    )
    assert "policy.timesteps = 8 is not data.win_len = 16" in refused("data.win_len=16")
    assert refused("data.num_lanes=10", "trainer.devices=4", "trainer.accelerator=auto") == (
        "data.num_lanes = 10 is not divisible by 4 ranks. Use 8 or 12."
    )
    assert re.search(
        r"no model 'efficientnet_b00'\. Close names: .*efficientnet_b0",
        refused("policy.backbone=efficientnet_b00"),
    )
    assert "Use data.frame_width=48 data.frame_height=32" in refused("data.frame_width=64")
    assert "torch finds none. Use trainer.accelerator=cpu." in refused("trainer.accelerator=gpu")
    assert "synchronised statistics need GPUs" in refused("policy.batch_norm=synchronised")
    assert "no file /nowhere. Give a local file or null" in refused(
        "policy.pretrained=true", "policy.backbone_weights=/nowhere"
    )
    assert "nowhere.ckpt: no such file or folder" in refused("policy.init_from=nowhere.ckpt")
    assert not (tmp_path / "run").exists()


def test_weights_that_do_not_fit_are_listed_name_by_name(
    capsys: pytest.CaptureFixture[str], dataset: Path, run_dir: Path, tmp_path: Path
) -> None:
    source = weights_path(run_dir, STEPS)
    more = (f"policy.init_from={source}", "policy.num_layers=1")
    _, err = said(capsys, "demo", *arguments(dataset, tmp_path / "run", *more), status=1)
    first, *names = err.splitlines()
    assert f"{source}: weights do not fit the policy" in first
    assert all(re.match(r"  unexpected: recurrent\.blocks\.1\.", line) for line in names)
    assert len(names) > 5


def test_folder_that_holds_a_run_is_not_overwritten(
    capsys: pytest.CaptureFixture[str], dataset: Path, run_dir: Path
) -> None:
    assert refusal(capsys, "demo", *arguments(dataset, run_dir)) == (
        f"{run_dir}: holds a run already up to step-00000004.ckpt. "
        "Go on with --resume auto, or choose another run_dir."
    )


def test_settings_of_another_run_are_refused_at_once_each_with_a_remedy_that_works(
    capsys: pytest.CaptureFixture[str], dataset: Path, run_dir: Path
) -> None:
    changed = [
        "seed=7",
        "data.batch_size=2",
        "data.split_ratio=0.5",
        "policy.hiddim=64",
        "objectives.0.reduction=sum",
    ]
    command = ("demo", *arguments(dataset, run_dir, *changed), "--resume", "auto", "--dry-run")
    _, err = said(capsys, *command, status=1)
    as_in = f"as in {full_path(run_dir, STEPS)}: a run cannot change it. "
    assert [line.partition(" Set ")[0] + " " for line in err.splitlines()] == [
        f"error: seed: got 7, expected 1 {as_in}",
        f"error: data.num_lanes: got 2, expected 4 {as_in}",
        f"error: data.split_ratio: got 0.5, expected 0.8 {as_in}",
        f"error: policy.hiddim: got 64, expected 32 {as_in}",
        f"error: objectives.0.reduction: got sum, expected mean {as_in}",
    ]
    remedies = re.findall(r"Set (\S+), or train from the beginning", err)
    out, _ = said(capsys, *command, *remedies)
    assert f"resume       from {full_path(run_dir, STEPS)}: 4 steps done, at epoch 0, step 4" in out


def test_checkpoint_of_another_dataset_is_refused(
    capsys: pytest.CaptureFixture[str], run_dir: Path, small_dataset: Path
) -> None:
    line = refusal(capsys, "demo", *arguments(small_dataset, run_dir), "--resume", str(full_path(run_dir, STEPS)))
    assert "the fingerprint of data.datasets was" in line


def test_finished_run_says_what_it_wrote_and_what_comes_next(run_dir: Path, dataset: Path) -> None:
    last = (run_dir.parent / "log").read_text().splitlines()
    assert re.fullmatch(r"step 4: loss \d+\.\d{4}", last[-4])
    assert re.fullmatch(
        r"validation loss \d+\.\d{4}, best constant guess \d+\.\d{4}; "
        r"in windows with a past \S+ with memory, \S+ without",
        last[-3],
    )
    assert last[-2] == f"written: {run_dir}/metrics.csv, {full_path(run_dir, STEPS)}, {run_dir}/weights/"
    assert last[-1] == f"next: rocket-train evaluate {weights_path(run_dir, STEPS)} {dataset}"


def test_evaluation_gives_the_runs_own_figures(
    capsys: pytest.CaptureFixture[str], run_dir: Path, dataset: Path
) -> None:
    out, _ = said(capsys, "evaluate", str(weights_path(run_dir, STEPS)), str(dataset), "--json")
    figures = json.loads(out)
    row = read_metrics(run_dir / "metrics.csv")[-1]
    expected = {name.removeprefix("val/"): value for name, value in row.items() if name.startswith("val/")}
    assert figures == pytest.approx(expected, rel=1e-6)
    assert "loss_watched" in figures


def test_evaluation_prints_a_table_of_any_split_and_of_the_average(
    capsys: pytest.CaptureFixture[str], run_dir: Path, dataset: Path
) -> None:
    command = ("evaluate", str(full_path(run_dir, STEPS)), str(dataset), "--average", "--split", "all")
    out, _ = said(capsys, *command)
    lines = out.splitlines()
    assert re.fullmatch(r"loss +\d+\.\d{4}", lines[0])
    assert re.search(r"num_frames +326$", out, re.MULTILINE)  # 40+16+25+9 + 1+70+33+18 + 15+17+30+52
    assert lines.index("button_f1") < lines.index("loss_by_type")


def test_evaluation_can_be_cut_short(capsys: pytest.CaptureFixture[str], run_dir: Path, dataset: Path) -> None:
    path = str(weights_path(run_dir, STEPS))
    out, _ = said(capsys, "evaluate", path, str(dataset), "trainer.limit_val_steps=1", "--json")
    assert json.loads(out)["num_frames"] <= 4 * 8


def test_weights_go_out_to_minestudio_and_come_back_equal(
    capsys: pytest.CaptureFixture[str], run_dir: Path, dataset: Path, tmp_path: Path
) -> None:
    checkpoint = weights_path(run_dir, STEPS, averaged=True)
    said(capsys, "export-weights", str(checkpoint), "--out", str(tmp_path / "exported"))
    settings = json.loads((tmp_path / "exported" / "config.json").read_text())
    policy = RocketPolicy(**settings, pretrained=False)
    policy.load_state_dict(safetensors.torch.load_file(tmp_path / "exported" / "model.safetensors"), strict=True)

    minestudio = tmp_path / "minestudio.ckpt"
    state = {f"mine_policy.{name}": tensor for name, tensor in policy.state_dict().items()}
    torch.save({"state_dict": state, "hyper_parameters": {"model": settings}}, minestudio)
    out, _ = said(
        capsys, "import-weights", str(minestudio), "--out", str(tmp_path / "start.ckpt"), "--config", "demo"
    )
    assert out.splitlines()[0] == f"written: {tmp_path / 'start.ckpt'}"
    back, expected = read_checkpoint(tmp_path / "start.ckpt"), read_checkpoint(checkpoint)
    assert list(back["state_dict"]) == list(expected["state_dict"])
    assert all(torch.equal(back["state_dict"][name], x) for name, x in expected["state_dict"].items())
    assert back["hyper_parameters"]["model"] == expected["hyper_parameters"]["model"]


def test_run_starts_from_a_checkpoints_weights(run_dir: Path, dataset: Path, tmp_path: Path) -> None:
    from trainer.build import build_policy
    from trainer.config import load_config

    source = weights_path(run_dir, STEPS)
    policy = build_policy(load_config("demo", arguments(dataset, tmp_path, f"policy.init_from={source}")))
    expected = read_checkpoint(source)["state_dict"]
    assert all(torch.equal(expected[f"policy.{name}"], x) for name, x in policy.state_dict().items())


def test_console_script_needs_no_gpu_nor_torch_to_refuse_a_typo() -> None:
    code = (
        "import sys; from trainer.cli import main\n"
        "try: main(['demo', 'trainer.max_stesp=3'])\n"
        "except SystemExit as e: print(e.code, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "False"]
