"""Which ffmpeg program is taken, and what is said when there is none."""

import shutil
from pathlib import Path

import imageio_ffmpeg
import pytest

from pipeline.transcode import ffmpeg


def _program(folder: Path, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "ffmpeg"
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


@pytest.fixture(autouse=True)
def no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ffmpeg, "ffmpeg_program", ffmpeg.ffmpeg_program.__wrapped__)
    monkeypatch.delenv("IMAGEIO_FFMPEG_EXE", raising=False)


def test_ffmpeg_on_path_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = _program(tmp_path, "echo ffmpeg version 5.1-mine Copyright")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert ffmpeg.ffmpeg_program() == str(mine)
    assert ffmpeg.ffmpeg_version.__wrapped__() == "5.1-mine"


def test_ffmpeg_of_imageio_serves_when_path_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert shutil.which("ffmpeg") is None
    assert Path(ffmpeg.ffmpeg_program()).name.startswith("ffmpeg")
    assert Path(ffmpeg.ffmpeg_program()).is_file()


def test_ffmpeg_missing_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> str:
        raise RuntimeError("No ffmpeg exe could be found.")

    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(imageio_ffmpeg, "get_ffmpeg_exe", none)
    with pytest.raises(ffmpeg.FfmpegMissing, match=r"ffmpeg: no program to run.*pip install imageio-ffmpeg"):
        ffmpeg.ffmpeg_program()


def test_ffmpeg_that_does_not_start_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = _program(tmp_path, "exit 127")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ffmpeg.FfmpegMissing, match=f"{broken}: ffmpeg does not start"):
        ffmpeg.ffmpeg_version.__wrapped__()


def test_ffmpeg_that_is_something_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _program(tmp_path, "echo avconv version 12")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ffmpeg.FfmpegMissing, match="not an ffmpeg program, got 'avconv version 12"):
        ffmpeg.ffmpeg_version.__wrapped__()
