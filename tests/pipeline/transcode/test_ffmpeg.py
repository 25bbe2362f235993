"""Which ffmpeg program is taken, and what is said when there is none."""

import re
import shutil
from pathlib import Path

import imageio_ffmpeg
import pytest

from pipeline.transcode import ffmpeg
from shards.errors import RocketError

BANNER = "echo ffmpeg version 5.1-mine Copyright >&2"
GOOD = f"{BANNER}; echo ' V....D libx264  H.264 encoder'"


def _program(folder: Path, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "ffmpeg"
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


@pytest.fixture(autouse=True)
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder on PATH; nothing is remembered from other tests."""
    monkeypatch.setattr(ffmpeg, "find_ffmpeg", ffmpeg.find_ffmpeg.__wrapped__)
    monkeypatch.delenv("IMAGEIO_FFMPEG_EXE", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def test_ffmpeg_on_path_comes_first(path: Path) -> None:
    mine = _program(path, GOOD)
    assert ffmpeg.find_ffmpeg() == ffmpeg.Ffmpeg(str(mine), "5.1-mine")
    assert ffmpeg.ffmpeg_program() == str(mine)


def test_ffmpeg_of_imageio_serves_when_path_has_none() -> None:
    assert shutil.which("ffmpeg") is None
    found = ffmpeg.find_ffmpeg()
    assert found.path == imageio_ffmpeg.get_ffmpeg_exe()
    assert found.version == imageio_ffmpeg.get_ffmpeg_version()
    assert found.passed_over is None


@pytest.mark.parametrize(
    ("program", "problem"),
    [
        ("exit 127", r"does not work \(status 127\)"),
        ("echo broken library >&2; exit 1", r"does not work \(status 1: broken library\)"),
        ("echo avconv version 12 >&2", r"does not work \(status 0: avconv version 12\)"),
        (f"{BANNER}; echo ' V....D mpeg4'", r"\(version 5.1-mine\) has no libx264"),
        (f"{GOOD} | head -c 3; kill -SEGV $$", r"does not work \(status -11"),
    ],
)
def test_a_broken_ffmpeg_on_path_does_not_win(path: Path, program: str, problem: str) -> None:
    mine = _program(path, program)
    found = ffmpeg.find_ffmpeg()
    assert found.path == imageio_ffmpeg.get_ffmpeg_exe()
    assert re.match(rf"{mine} {problem}", found.passed_over or "")
    assert str(found).startswith(f"ffmpeg {found.version}, {found.path} (passed over: {mine} ")


def test_ffmpeg_missing_says_what_to_install(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> str:
        raise RuntimeError("No ffmpeg exe could be found.")

    monkeypatch.setattr(imageio_ffmpeg, "get_ffmpeg_exe", none)
    with pytest.raises(RocketError, match=r"got none at all, expected one.*pip install .*imageio-ffmpeg"):
        ffmpeg.ffmpeg_program()
    mine = _program(path, "exit 127")
    with pytest.raises(RocketError, match=rf"got {mine} does not work .* and none from the imageio-ffmpeg"):
        ffmpeg.ffmpeg_program()
