"""Masks of recordings, looked at before any build."""

from __future__ import annotations

import re
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from pipeline.cli import main
from pipeline.sources.mask_files import MaskWriter
from shards.display.palette import type_rgb

NAME = "Player1-0123456789ab-20220101-100000"


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A recording of 30 grey frames, and masks of two stretches of it."""
    recordings, masks = tmp_path_factory.mktemp("recordings"), tmp_path_factory.mktemp("masks")
    with av.open(str(recordings / f"{NAME}.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=20)
        stream.width, stream.height, stream.pix_fmt = 64, 36, "yuv420p"
        for _ in range(30):
            picture = np.full((36, 64, 3), 120, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    line = '{"mouse":{"dx":1.0,"dy":0.0,"buttons":[0]},"keyboard":{"keys":[]},"tick":%d}\n'
    (recordings / f"{NAME}.jsonl").write_text("".join(line % tick for tick in range(30)))
    mask = np.zeros((36, 64), bool)
    mask[10:19, 20:36] = True  # a sixteenth of the frame
    with MaskWriter(masks / f"{NAME}.masks.jsonl", height=36, width=64) as file:
        file.add("mine", "mine_block:stone", dict.fromkeys(range(5, 12), mask), dict.fromkeys(range(5, 12), 0.5))
        file.add("hunt", "kill_entity:pig", dict.fromkeys(range(14, 17), mask))
    return [str(recordings), str(masks)]


def run(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code in (0, None)


def test_sheet_of_recordings_shows_their_masks(
    sources: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "masks.png"
    run(["preview", *sources, "--out", str(out)])
    assert capsys.readouterr().out == f"Wrote {out}: 2 stretches\n"
    pixels = np.asarray(Image.open(out).convert("RGB")).reshape(-1, 3)
    for kind in (0, 2):
        assert (pixels == np.array(type_rgb(kind), np.uint8)).all(axis=1).sum() > 100


def test_film_of_recordings_has_all_frames_of_its_stretches(sources: list[str], tmp_path: Path) -> None:
    out = tmp_path / "masks.mp4"
    run(["preview", *sources, "--recording", NAME, "--out", str(out)])
    with av.open(str(out)) as container:
        assert sum(1 for _ in container.decode(video=0)) == 7 + 3


def test_page_of_recordings_lists_stretches_with_area_and_confidence(sources: list[str], tmp_path: Path) -> None:
    out = tmp_path / "masks.html"
    run(["preview", *sources, "--out", str(out), "--cells", "1"])
    html = out.read_text(encoding="utf-8")
    rows = [re.findall(r"<td[^>]*>([^<]*)</td>", row) for row in re.findall(r"<tr>(.*?)</tr>", html, re.DOTALL)]
    assert [row for row in rows if row] == [
        [NAME, "mine", "mine_block:stone", "5:12", "7", "6.2 %", "0.50"],
        [NAME, "hunt", "kill_entity:pig", "14:17", "3", "6.2 %", "-"],
    ]
    assert html.count("data:image/jpeg") == 6
    assert "Area and confidence of mine mine_block:stone" in html


def test_preview_of_recordings_without_masks_says_what_to_give(
    sources: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["preview", sources[0], "--out", str(tmp_path / "a.png")])
    assert ended.value.code == 1
    assert f"no recording with masks, expected {NAME}.masks.jsonl or {NAME}.rle. Give" in capsys.readouterr().err
