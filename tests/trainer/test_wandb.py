"""Whether a run is logged online is what wandb itself would say."""

from pathlib import Path

import pytest

from tests.trainer.runs import asked_in_child
from trainer.build import _wandb_mode

KEY = "k" * 40


def netrc(folder: Path, host: str) -> str:
    path = folder / "netrc"
    path.write_text(f"machine {host}\n  login user\n  password {KEY}\n")
    path.chmod(0o600)
    return str(path)


def mode(folder: Path, wanted: str = "auto", **variables: str) -> str:
    """The mode that a run would use in an environment of its own."""
    quiet = {"HOME": str(folder), "NETRC": str(folder / "none"), "WANDB_CONFIG_DIR": str(folder / "config")}
    none = dict.fromkeys(("WANDB_API_KEY", "WANDB_MODE", "WANDB_BASE_URL"), "")
    return asked_in_child(_wandb_mode, wanted, env={**none, **quiet, **variables}, folder=folder)


def test_wandb_without_a_key_is_offline(tmp_path: Path) -> None:
    assert mode(tmp_path) == "offline"


def test_wandb_with_a_key_in_the_environment_is_online(tmp_path: Path) -> None:
    assert mode(tmp_path, WANDB_API_KEY=KEY) == "online"


def test_wandb_finds_a_key_in_netrc_for_its_own_host(tmp_path: Path) -> None:
    assert mode(tmp_path, NETRC=netrc(tmp_path, "api.wandb.ai")) == "online"


def test_wandb_finds_a_key_for_a_host_of_ones_own_and_no_other(tmp_path: Path) -> None:
    own = {"NETRC": netrc(tmp_path, "wandb.example.org")}
    assert mode(tmp_path, **own, WANDB_BASE_URL="https://wandb.example.org") == "online"
    assert mode(tmp_path, **own) == "offline"


@pytest.mark.parametrize(
    ("variable", "wanted", "expected"),
    [
        ("disabled", "auto", "off"),
        ("disabled", "online", "off"),
        ("offline", "auto", "offline"),
        ("offline", "online", "offline"),
        ("online", "offline", "offline"),
        ("online", "off", "off"),
    ],
)
def test_wandb_mode_of_the_environment_is_obeyed(
    tmp_path: Path, variable: str, wanted: str, expected: str
) -> None:
    assert mode(tmp_path, wanted, WANDB_MODE=variable, WANDB_API_KEY=KEY) == expected
