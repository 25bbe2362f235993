"""Both commands start where a package of another distribution hides theirs, and say so in one line."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
START = ROOT / "configs" / "start"


def start(command: str, *path: Path, folder: Path | None = None) -> "subprocess.CompletedProcess[str]":
    """`rocket-... --version` as its script starts it, with these folders first on Python's path."""
    code = f"import sys, rocket1; sys.argv = ['rocket', '--version']; rocket1.{command}()"
    return subprocess.run(
        [sys.executable, "-P", "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, [*path, ROOT, START]))},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def distribution(folder: Path, package: str) -> Path:
    """A folder as pip leaves it that has installed `other-tools`, which owns the package."""
    (folder / package).mkdir(parents=True)
    (folder / package / "__init__.py").write_text("")
    info = folder / "other_tools-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other-tools\nVersion: 1.0\n")
    (info / "RECORD").write_text(f"{package}/__init__.py,,\n")
    return folder


@pytest.mark.parametrize(("command", "program"), [("prep", "rocket-prep"), ("train", "rocket-train")])
def test_command_starts(command: str, program: str) -> None:
    done = start(command)
    assert done.stdout.startswith(f"{program} "), done.stderr


@pytest.mark.parametrize("package", ["configs", "pipeline", "shards", "trainer"])
def test_package_of_another_distribution_is_named_in_one_line(tmp_path: Path, package: str) -> None:
    done = start("train", distribution(tmp_path / "site", package))
    assert done.returncode == 1
    assert done.stderr.startswith(
        f"error: {package}: this project's package is hidden by the distribution other-tools ({tmp_path / 'site'}"
    )
    assert done.stderr.count("\n") == 1


def test_package_that_another_distribution_has_overwritten_is_named_in_one_line(tmp_path: Path) -> None:
    """pip writes both into one folder, so that only what the other lacks tells."""
    site = distribution(tmp_path / "site", "trainer")
    shutil.copytree(START / "rocket1", site / "rocket1")
    for name in ("configs", "pipeline", "shards"):
        (site / name).symlink_to(ROOT / name)
    # As where nothing else serves this project's modules: an editable installation has a finder of its own.
    code = (
        "import sys; sys.meta_path = [one for one in sys.meta_path if 'editable' not in repr(one)]; "
        "import rocket1; rocket1.train()"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 1
    assert (
        "error: trainer: the distribution other-tools has installed a package of the same name over" in done.stderr
    )
    assert done.stderr.count("\n") == 1


def test_files_in_the_current_folder_are_not_imported(tmp_path: Path) -> None:
    for name in ("random.py", "shards.py", "trainer.py", "json.py"):
        (tmp_path / name).write_text("raise SystemExit('the wrong file')\n")
    for command in ("prep", "train"):
        done = start(command, folder=tmp_path)
        assert done.returncode == 0, done.stderr
