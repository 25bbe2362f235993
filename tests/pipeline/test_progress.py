"""What progress says of a total that was only estimated."""

import io

import pytest
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress

from pipeline.progress import Bar, PlainLines


def test_lines_say_no_more_than_all_and_no_time_below_none(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.progress._SECONDS_BETWEEN_LINES", 0)
    lines = PlainLines()
    lines.start("recording", 100, "frames")
    lines.advance(50)
    lines.advance(57)
    shown = capsys.readouterr().err.splitlines()
    assert shown[0].startswith("recording: 50 of 100 frames (50 %), ")
    assert shown[1].startswith("recording: 107 of 107 frames (100 %), ")
    assert shown[1].endswith(", 0 s left")


def test_bar_grows_with_what_is_done() -> None:
    console = Console(file=io.StringIO(), width=60)
    progress = Progress(MofNCompleteColumn(), console=console)
    bar = Bar(progress)
    bar.start("recording", 100, "frames")
    bar.advance(107)
    console.print(progress.get_renderable())
    assert "107/107" in console.file.getvalue()  # type: ignore[attr-defined]
