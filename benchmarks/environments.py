"""Where programs run: ours in this environment, the peers in theirs; and what a result page says of both."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.measure import ROOT, Finished, run_program

PEERS_FOLDER = ROOT / ".venv-bench"
_FFMPEG_LIBRARIES = ("avcodec", "avdevice", "avfilter", "avformat", "avutil", "swresample", "swscale")


@dataclass(frozen=True)
class Environment:
    """A Python with its packages.

    Attributes:
        python: its interpreter.
        variables: what its programs need in their environment.
    """

    python: Path
    variables: dict[str, str] = field(default_factory=dict)

    def run(self, module: str, *words: str, timeout_seconds: float = 1200.0) -> Finished:
        """The program `python -m module words` has ended well."""
        command = [str(self.python), "-m", module, *words]
        return run_program(command, extra_environment=self.variables, timeout_seconds=timeout_seconds)

    def versions(self, *names: str) -> dict[str, str]:
        """Package -> installed version."""
        code = (
            "import importlib.metadata as m, json, sys; print(json.dumps({n: m.version(n) for n in sys.argv[1:]}))"
        )
        done = run_program([str(self.python), "-c", code, *names], extra_environment=self.variables)
        return {str(name): str(version) for name, version in done.answer.items()}


OURS = Environment(Path(sys.executable))


def peers() -> Environment:
    """LitData, Streaming, WebDataset and torchcodec.

    torchcodec wants FFmpeg's shared libraries: it gets PyAV's, under the names that it looks for.
    """
    python = PEERS_FOLDER / "bin" / "python"
    if not python.exists():
        raise SystemExit(f"{PEERS_FOLDER}: the peers' environment is missing. Run: make bench")
    (libraries,) = PEERS_FOLDER.glob("lib/python*/site-packages/av.libs")
    links = PEERS_FOLDER / "ffmpeg-libraries"
    links.mkdir(exist_ok=True)
    for library in libraries.iterdir():
        name = re.fullmatch(r"lib(\w+)-\w+\.so\.(\d+)[\d.]*", library.name)
        if name and name[1] in _FFMPEG_LIBRARIES:
            link = links / f"lib{name[1]}.so.{name[2]}"
            link.unlink(missing_ok=True)
            link.symlink_to(library)
    return Environment(python, {"LD_LIBRARY_PATH": str(links)})


def minestudio() -> Environment:
    """MineStudio with the PyAV that it pins."""
    return Environment(peers().python, {"PYTHONPATH": str(PEERS_FOLDER / "minestudio")})


def machine() -> dict[str, str]:
    """What the machine is, in words; nothing that names it."""
    cpu = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "CPU": f"{os.cpu_count()} cores, {cpu[1].strip() if cpu else platform.machine()}",
        "memory": f"{memory:.0f} GiB",
        "GPU": _gpu(),
        "system": f"{platform.system()} {platform.release().split('-')[0]}, Python {platform.python_version()}",
    }


def machine_slug() -> str:
    """The machine in a file name, such as `2-cores-amd-epyc`."""
    facts = machine()
    words = facts["CPU"] + ("" if facts["GPU"] == "none" else f" {facts['GPU']}")
    return re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")


def our_versions(*names: str) -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in names}


def _gpu() -> str:
    try:
        asked = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
        names = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.split("\n")
    except (OSError, subprocess.CalledProcessError):
        return "none"
    return ", ".join(name for name in names if name) or "none"


def load_average() -> float:
    """Processes that wanted a core in the last minute."""
    return os.getloadavg()[0]
