"""Pages in a real headless Chromium, where the machine has one."""

import re
import shutil
import subprocess
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--disable-component-update",
    "--disable-background-networking",
    "--disable-default-apps",
    "--no-first-run",
    "--hide-scrollbars",
    "--enable-logging=stderr",
)
# Chromium's own words about the desktop that is not there start with a source file in brackets; the page's
# come from CONSOLE.
_CONSOLE = re.compile(r"CONSOLE[:(].*")
# A window cannot be narrower than 500 pixels, a frame can.
_PROBE = """<!doctype html><html><head><title>probe</title></head><body>
<iframe style="border: 0; width: WIDTHpx; height: 900px" srcdoc="PAGE"></iframe>
<script>
window.addEventListener("load", () => {
  const page = document.querySelector("iframe").contentDocument;
  const charts = [...page.querySelectorAll("svg.chart")].map((chart) => {
    const box = chart.getBoundingClientRect();
    const marks = chart.querySelectorAll("path, use, text").length;
    return [Math.round(box.width), Math.round(box.height), marks].join("x");
  });
  const broken = [...page.images].filter((image) => !image.complete || !image.naturalWidth).length;
  const root = document.documentElement;
  root.dataset.charts = charts.join(" ");
  root.dataset.images = page.images.length + " " + broken;
  root.dataset.overflow = page.documentElement.scrollWidth - WIDTH;
});
</script></body></html>"""


@dataclass(frozen=True)
class Rendered:
    """What the browser made of a page.

    Attributes:
        charts: (width, height, number of marks) of each chart, in pixels.
        num_images, num_broken_images: images on the page.
        overflow_px: how far the page is wider than the window.
        console: what the page wrote to the console.
    """

    charts: list[tuple[int, int, int]]
    num_images: int
    num_broken_images: int
    overflow_px: int
    console: list[str]


def chromium() -> str:
    """The browser's program; the test is skipped where there is none."""
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        pytest.skip("no chromium on this machine. Install it to have pages rendered: apt-get install chromium")
    return program


def render(page: Path, folder: Path, width_px: int, *, dark: bool = False) -> Rendered:
    """How the page comes out in a window of that width."""
    probe = folder / "probe.html"
    inner = escape(page.read_text(encoding="utf-8"), quote=True)
    probe.write_text(_PROBE.replace("WIDTH", str(width_px)).replace("PAGE", inner), encoding="utf-8")
    run = _run(folder, max(width_px, 500) + 20, 1000, dark, "--dump-dom", probe)
    opening = run.stdout.partition("<head>")[0]
    found = dict(re.findall(r'data-(charts|images|overflow)="([^"]*)"', opening))
    images, broken = map(int, found["images"].split())
    return Rendered(
        charts=[tuple(map(int, chart.split("x"))) for chart in found["charts"].split()],
        num_images=images,
        num_broken_images=broken,
        overflow_px=int(found["overflow"]),
        console=_CONSOLE.findall(run.stderr),
    )


def screenshot(page: Path, folder: Path, width_px: int, height_px: int, *, dark: bool = False) -> np.ndarray:
    """The page's pixels, u8 (height, width, 3)."""
    path = folder / f"shot-{width_px}-{'dark' if dark else 'light'}.png"
    _run(folder, width_px, height_px, dark, f"--screenshot={path}", page)
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def print_pdf(page: Path, folder: Path) -> bytes:
    """The page on paper."""
    path = folder / "page.pdf"
    _run(folder, 1000, 900, False, f"--print-to-pdf={path}", page)
    return path.read_bytes()


def _run(
    folder: Path, width_px: int, height_px: int, dark: bool, action: str, page: Path
) -> subprocess.CompletedProcess[str]:
    scheme = ["--blink-settings=preferredColorScheme=0"] if dark else []
    profile = folder / "profile"
    command = [
        *(chromium(), *_FLAGS, *scheme, f"--window-size={width_px},{height_px}", f"--user-data-dir={profile}"),
        *(action, page.resolve().as_uri()),
    ]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    finally:
        shutil.rmtree(profile, ignore_errors=True)
