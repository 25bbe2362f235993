"""The ffmpeg program that every video of the pipeline goes through.

ffmpeg-python only builds command lines: it needs a program to run. The one on PATH is taken first, so that a
cluster's own build is used; without one, the program that the imageio-ffmpeg package ships serves (no root
needed).
"""

from __future__ import annotations

import functools
import shutil
import subprocess

from shards.errors import RocketError


class FfmpegMissing(RocketError):
    """No ffmpeg program can be found or started on this machine."""


@functools.cache
def ffmpeg_program() -> str:
    """Return the path of an ffmpeg program that can be started.

    Pass it to ffmpeg-python as ``cmd=ffmpeg_program()``.

    Raises:
        FfmpegMissing: neither PATH nor the imageio-ffmpeg package has one.
    """
    on_path = shutil.which("ffmpeg")
    if on_path is not None:
        return on_path
    try:
        import imageio_ffmpeg

        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except (ImportError, RuntimeError) as error:
        raise FfmpegMissing(
            "ffmpeg: no program to run, got none on PATH and none from the imageio-ffmpeg package, expected one. "
            "Run: pip install imageio-ffmpeg"
        ) from error


@functools.cache
def ffmpeg_version() -> str:
    """Return the version that the program reports for itself, e.g. ``7.0.2-static``.

    Raises:
        FfmpegMissing: the program can't be started, or does not answer like ffmpeg.
    """
    program = ffmpeg_program()
    try:
        answer = subprocess.run(
            [program, "-hide_banner", "-version"], capture_output=True, text=True, timeout=60, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise FfmpegMissing(
            f"{program}: ffmpeg does not start, got {error}, expected a version line. "
            "Put a working ffmpeg on PATH, or run: pip install --force-reinstall imageio-ffmpeg"
        ) from error
    words = answer.stdout.split(maxsplit=3)
    if words[:2] != ["ffmpeg", "version"] or len(words) < 3:
        raise FfmpegMissing(
            f"{program}: not an ffmpeg program, got {answer.stdout[:60]!r}, expected 'ffmpeg version ...'. "
            "Put a working ffmpeg on PATH."
        )
    return words[2]
