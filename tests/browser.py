"""Pages in a real headless Chromium, where the machine has one."""

import base64
import io
import json
import os
import re
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

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


class Tab:
    """A page that is open in the browser, to be asked and used: over the browser's own protocol, through pipes."""

    SECONDS = 60.0

    def __init__(self, write: int, read: int) -> None:
        self._write, self._read = write, read
        self._waiting = b""
        self._number = 0
        self._session: str | None = None
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.console: list[str] = []
        for domain in ("Page", "Runtime", "Log"):
            self._call(f"{domain}.enable")

    def open(self, page: Path, width_px: int, height_px: int, *, dark: bool = False) -> None:
        """The page has loaded in a window of that size."""
        narrow = width_px < 500
        self._call(
            "Emulation.setDeviceMetricsOverride",
            width=width_px,
            height=height_px,
            deviceScaleFactor=2 if narrow else 1,
            mobile=narrow,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._call("Emulation.setEmulatedMedia", features=[scheme])
        self._call("Page.navigate", url=page.resolve().as_uri())
        self.evaluate("new Promise(done => document.readyState === 'complete' ? done() : (window.onload = done))")

    def evaluate(self, script: str) -> Any:
        """What the script comes to, once its promise is kept."""
        answer = self._call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def press(self, key: str, code: int, *, shift: bool = False) -> None:
        """A key goes down and up; `code` is its virtual key code."""
        for kind in ("keyDown", "keyUp"):
            modifiers = 8 if shift else 0
            self._call(
                "Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code, modifiers=modifiers
            )

    def move(self, x: float, y: float) -> None:
        """The pointer is there."""
        self._call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def screenshot(self) -> Image.Image:
        """What the window shows."""
        data = self._call("Page.captureScreenshot", format="png")["data"]
        return Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer["error"]
                result: dict[str, Any] = answer["result"]
                return result
            if answer.get("method") in ("Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled"):
                self.console.append(json.dumps(answer["params"]))

    def _receive(self) -> dict[str, Any]:
        limit = time.monotonic() + self.SECONDS
        while b"\0" not in self._waiting:
            ready, _, _ = select.select([self._read], [], [], max(0.0, limit - time.monotonic()))
            assert ready, f"the browser did not answer within {self.SECONDS} seconds"
            data = os.read(self._read, 1 << 16)
            assert data, "the browser has ended"
            self._waiting += data
        text, _, self._waiting = self._waiting.partition(b"\0")
        answer: dict[str, Any] = json.loads(text)
        return answer


@contextmanager
def browse() -> Iterator[Tab]:
    """A tab of a browser that ends with the block."""
    program = chromium()
    (read_there, write_here), (read_here, write_there) = os.pipe(), os.pipe()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        words = [program, *_FLAGS, f"--user-data-dir={profile}", "--remote-debugging-pipe", "about:blank"]
        # The browser reads from descriptor 3 and writes to 4.
        script = f'exec "$0" "$@" 3<&{read_there} 4>&{write_there}'
        process = subprocess.Popen(
            ["bash", "-c", script, *words], pass_fds=(read_there, write_there), stderr=subprocess.DEVNULL
        )
        os.close(read_there)
        os.close(write_there)
        try:
            yield Tab(write_here, read_here)
        finally:
            os.close(write_here)
            os.close(read_here)
            process.kill()
            process.wait(30)
