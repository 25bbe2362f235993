"""Versions of everything that has a say in the bytes of a dataset."""

from __future__ import annotations

import importlib.metadata
import zlib

import av

from pipeline.transcode.ffmpeg import find_ffmpeg

_PACKAGES = ("rocket1", "av", "numpy", "pyarrow", "safetensors")


def tool_versions() -> dict[str, str]:
    """Name -> version, as recorded in a dataset and compared before a build is continued.

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
