"""The tutorial's script, as the README shows it, with small sizes."""

import contextlib
import re
from pathlib import Path

import lightning
import pytest

from shards.errors import SettingsError
from tests.synthetic import HEIGHT, WIDTH
from tests.trainer.runs import make_run_dataset, small_config
from trainer.build import build_data, build_policy
from trainer.learning.module import RocketModule
from trainer.learning.objectives import build_objectives
from trainer.look.run_folder import read_metrics
from trainer.settings import RunConfig

README = Path(__file__).resolve().parents[2] / "README.md"
SMALL = {
    'backbone="efficientnet_b0.ra_in1k"': 'backbone="test_efficientnet", pretrained=False',
    "hiddim=1024": "hiddim=32",
    "num_heads=8": "num_heads=2",
    "num_layers=4": "num_layers=1",
    "timesteps=128": "timesteps=8",
    "mem_len=128": "mem_len=8",
    '["data/6xx", "data/10xx"]': "['DATASET']",
    "frame_width=224": f"frame_width={WIDTH}",
    "frame_height=224": f"frame_height={HEIGHT}",
    "win_len=128": "win_len=8",
    "batch_size=8": "batch_size=4",
    "num_workers=8": "num_workers=0",
    "split_ratio=0.95": "split_ratio=0.7",
    "log_freq=20": "log_freq=2",
    "every_n_train_steps=2000": "every_n_train_steps=3",
    "every_n_train_steps=2001": "every_n_train_steps=4",
    'WandbLogger(project="minestudio")': "CSVLogger('.')",
    "import WandbLogger": "import CSVLogger",
    "devices=8": "devices=1, accelerator='cpu', max_epochs=1, log_every_n_steps=1, enable_progress_bar=False",
    '"ddp_find_unused_parameters_true"': "'auto'",
    'precision="bf16-mixed"': "precision='32-true'",
}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run_dataset(tmp_path_factory.mktemp("tutorial") / "dataset")


@pytest.mark.filterwarnings("ignore")  # Lightning has advice on loaders and folders
def test_tutorials_script_trains_saves_and_logs(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (script,) = re.findall(r"```python\n(import lightning as L\n.*?)```", README.read_text(), re.DOTALL)
    for old, new in SMALL.items():
        assert old in script, old
        script = script.replace(old, new.replace("DATASET", str(dataset)))
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(script, names)
    rows = read_metrics(next(tmp_path.glob("lightning_logs/*/metrics.csv")))
    columns = set().union(*rows)
    assert {"train/loss", "val/loss", "speed/frames_per_second", "lr-AdamW"} <= columns
    num_steps = names["mine_lightning"].trainer.global_step
    steps = {int(re.search(r"step=(\d+)", path.name)[1]) for path in (tmp_path / "weights").iterdir()}
    assert steps == set(range(3, num_steps + 1, 3))
    assert len(list((tmp_path / "checkpoints").iterdir())) == 1
    assert names["mine_lightning"].hparams["objective_weight"] == 0.01


@pytest.mark.parametrize(
    ("in_module", "in_data", "of_trainer", "message"),
    [
        (
            ["data.batch_size=4"],
            ["data.batch_size=2"],
            {},
            r"data\.batch_size: got 2 in the data module and 4 for",
        ),
        ([], ["data.win_len=4", "policy.timesteps=4"], {}, r"data\.win_len: got 4 in the data module and 8 for"),
        ([], [], {"gradient_clip_val": 0.5}, r"gradient_clip: got 1\.0, but gradient_clip_val=0\.5 in Trainer"),
        ([], [], {"gradient_clip_val": 1.0}, None),
        ([], [], {"accumulate_grad_batches": 2}, r"accumulate_grad_batches: got 2 in Trainer, expected 1\."),
        (["optimizer.gradient_clip=null"], [], {"gradient_clip_val": 0.5}, None),
    ],
)
@pytest.mark.filterwarnings("ignore")  # Lightning has advice on loaders
def test_what_is_said_twice_must_be_the_same(
    dataset: Path,
    tmp_path: Path,
    in_module: list[str],
    in_data: list[str],
    of_trainer: dict[str, float],
    message: str | None,
) -> None:
    def config(words: list[str]) -> RunConfig:
        return small_config(dataset, tmp_path, "trainer.max_steps=1", *words)

    objectives = build_objectives(config([]).objectives, lambda source: None)
    module = RocketModule(build_policy(config([])), config(in_module), objectives)
    trainer = lightning.Trainer(
        accelerator="cpu", devices=1, max_steps=1, limit_val_batches=0, barebones=True, **of_trainer
    )
    refused = pytest.raises(SettingsError, match=message) if message else contextlib.nullcontext()
    with refused:
        trainer.fit(module, datamodule=build_data(config(in_data)))
    assert trainer.global_step == (0 if message else 1)


@pytest.mark.filterwarnings("ignore")  # Lightning has advice on loaders
def test_second_trainer_goes_on_where_the_first_one_ended(dataset: Path, tmp_path: Path) -> None:
    config = small_config(dataset, tmp_path)
    data, seen = build_data(config), []
    for _ in range(2):
        module = RocketModule(
            build_policy(config), config, build_objectives(config.objectives, lambda source: None)
        )
        trainer = lightning.Trainer(accelerator="cpu", devices=1, max_steps=2, limit_val_batches=0, barebones=True)
        trainer.fit(module, datamodule=data)
        seen.append(data.state_dict()["step"])
    assert seen == [2, 4]
