"""The ffmpeg program that every video of the pipeline goes through, and the versions of all tools.

ffmpeg-python only builds command lines: it needs a program to run. The one on PATH is taken if it can encode
H.264, so that a cluster's own build is used; else the one that the imageio-ffmpeg package ships (no root needed).
"""

import functools
import importlib.metadata
import shutil
import subprocess
import zlib
from dataclasses import dataclass

import av

from shards.errors import RocketError

ENCODER = "libx264"
_TIMEOUT_SECONDS = 60
_PACKAGES = ("rocket1", "av", "numpy", "pyarrow", "safetensors")


@dataclass(frozen=True)
class Ffmpeg:
    """An ffmpeg program that starts and has libx264.

    Attributes:
        version: that it reports for itself, e.g. ``7.0.2-static``.
        passed_over: what is wrong with the one on PATH, where there is one that was not taken.
    """

    path: str
    version: str
    passed_over: str | None = None

    def __str__(self) -> str:
        passed_over = f" (passed over: {self.passed_over})" if self.passed_over else ""
        return f"ffmpeg {self.version}, {self.path}{passed_over}"


def ffmpeg_program() -> str:
    """The path of an ffmpeg program that can encode H.264; errors as `find_ffmpeg`."""
    return find_ffmpeg().path


@functools.cache
def find_ffmpeg() -> Ffmpeg:
    """The ffmpeg on PATH if it starts and has libx264, else that of the imageio-ffmpeg package.

    Raises:
        RocketError: neither is there and can encode H.264.
    """
    problems: list[str] = []
    for program in dict.fromkeys((shutil.which("ffmpeg"), _shipped())):
        if program is not None:
            version, problem = _look_at(program)
            if problem is None:
                return Ffmpeg(program, version, problems[0] if problems else None)
            problems.append(f"{program} {problem}")
    if _shipped() is None:
        problems.append("none from the imageio-ffmpeg package" if problems else "none at all")
    raise RocketError(
        f"ffmpeg: no program that can encode H.264, got {' and '.join(problems)}, expected one with {ENCODER}. "
        "Run: pip install --force-reinstall imageio-ffmpeg"
    )


def _shipped() -> str | None:
    try:
        import imageio_ffmpeg

        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except (ImportError, RuntimeError):
        return None


def _look_at(program: str) -> tuple[str, str | None]:
    """The version of an ffmpeg program, and what is wrong with it."""
    try:
        # The banner goes to standard error, the list to standard output.
        answer = subprocess.run(
            [program, "-encoders"], capture_output=True, text=True, timeout=_TIMEOUT_SECONDS, check=False
        )
    except (OSError, subprocess.SubprocessError) as error:
        return "", f"does not start ({error})"
    words = answer.stderr.split(maxsplit=3)
    if answer.returncode or words[:2] != ["ffmpeg", "version"] or len(words) < 3:
        said = " ".join((answer.stderr or answer.stdout).split())[:80]
        return "", f"does not work (status {answer.returncode}{': ' + said if said else ''})"
    return words[2], None if ENCODER in answer.stdout.split() else f"(version {words[2]}) has no {ENCODER}"


def tool_versions() -> dict[str, str]:
    """Name -> version, as a dataset records it and a build that is continued compares it.

    Raises:
        RocketError: there is no ffmpeg program.
    """
    versions = {"ffmpeg": find_ffmpeg().version}
    for name in ("libavcodec", "libswscale"):
        versions[name] = ".".join(str(number) for number in av.library_versions[name])
    versions["zlib"] = zlib.ZLIB_RUNTIME_VERSION
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "source"
    return versions
