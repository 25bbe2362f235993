"""The ffmpeg program that every video of the pipeline goes through.

ffmpeg-python only builds command lines: it needs a program to run. The one on PATH is taken if it can encode
H.264, so that a cluster's own build is used; else the one that the imageio-ffmpeg package ships (no root needed).
"""

from __future__ import annotations

import functools
import shutil
import subprocess
from dataclasses import dataclass

from shards.errors import RocketError

ENCODER = "libx264"
_TIMEOUT_SECONDS = 60


class FfmpegMissing(RocketError):
    """No ffmpeg program that can encode H.264 is on this machine."""


@dataclass(frozen=True)
class Ffmpeg:
    """An ffmpeg program that starts and has libx264.

    Attributes:
        path: for ffmpeg-python's ``cmd``.
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
    """The path of an ffmpeg program that can encode H.264.

    Raises:
        FfmpegMissing: see `find_ffmpeg`.
    """
    return find_ffmpeg().path


@functools.cache
def find_ffmpeg() -> Ffmpeg:
    """The ffmpeg on PATH if it starts and has libx264, else that of the imageio-ffmpeg package.

    Raises:
        FfmpegMissing: neither is there and can encode H.264.
    """
    problems = []
    on_path = shutil.which("ffmpeg")
    if on_path is not None:
        try:
            return Ffmpeg(on_path, _version(on_path))
        except _CannotEncode as error:
            problems.append(f"{on_path} {error}")
    try:
        import imageio_ffmpeg

        shipped = str(imageio_ffmpeg.get_ffmpeg_exe())
        if shipped != on_path:
            return Ffmpeg(shipped, _version(shipped), problems[0] if problems else None)
    except _CannotEncode as error:
        problems.append(f"{shipped} {error}")
    except (ImportError, RuntimeError):
        problems.append("none from the imageio-ffmpeg package" if problems else "none at all")
    raise FfmpegMissing(
        f"ffmpeg: no program that can encode H.264, got {' and '.join(problems)}, expected one with {ENCODER}. "
        "Run: pip install --force-reinstall imageio-ffmpeg"
    )


class _CannotEncode(Exception):
    """A program is no ffmpeg that can encode H.264; the message goes on after its path."""


def _version(program: str) -> str:
    """The version of an ffmpeg program that has libx264.

    Raises:
        _CannotEncode: it does not start, does not answer like ffmpeg, or lacks libx264.
    """
    try:
        # The banner goes to standard error, the list to standard output.
        answer = subprocess.run(
            [program, "-encoders"], capture_output=True, text=True, timeout=_TIMEOUT_SECONDS, check=False
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise _CannotEncode(f"does not start ({error})") from error
    words = answer.stderr.split(maxsplit=3)
    if answer.returncode or words[:2] != ["ffmpeg", "version"] or len(words) < 3:
        said = " ".join((answer.stderr or answer.stdout).split())[:80]
        raise _CannotEncode(f"does not work (status {answer.returncode}{': ' + said if said else ''})")
    if ENCODER not in answer.stdout.split():
        raise _CannotEncode(f"(version {words[2]}) has no {ENCODER}")
    return words[2]
