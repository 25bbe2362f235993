"""Pictures as a video that any player shows."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Self

import av
import numpy as np
from av.error import FFmpegError
from numpy.typing import NDArray
from PIL import Image

from shards.action_space import ACTION_SPACE
from shards.errors import RocketError

FILM_WIDTH_PX = 448


class Film:
    """An H.264 mp4 at the game's speed, written aside and renamed when it is left without an error.

    All pictures have the first one's size, in even numbers.
    """

    def __init__(self, path: Path) -> None:
        """Begin the file.

        Raises:
            RocketError: it cannot be written.
        """
        self._path, self._partial = path, path.with_name(f".{path.name}.part")
        self.num_frames = 0
        try:
            self._container = av.open(str(self._partial), "w", format="mp4", options={"movflags": "faststart"})
        except (OSError, FFmpegError) as error:
            raise self._refusal(error) from error
        self._stream = self._container.add_stream("libx264", rate=ACTION_SPACE.frames_per_second)
        self._stream.pix_fmt = "yuv420p"
        self._stream.options = {"preset": "veryfast", "crf": "20"}

    def add(self, picture: Image.Image | NDArray[np.uint8]) -> None:
        """Append a picture, RGB.

        Raises:
            RocketError: it cannot be written.
        """
        pixels = np.asarray(picture)
        if not self.num_frames:
            self._stream.height, self._stream.width = pixels.shape[:2]
        try:
            self._container.mux(self._stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        except (OSError, FFmpegError) as error:
            raise self._refusal(error) from error
        self.num_frames += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.close(finished=kind is None)

    def close(self, finished: bool) -> None:
        """The file lies at its place; of one that is not finished nothing is left.

        Raises:
            RocketError: it cannot be written.
        """
        try:
            if finished:
                self._container.mux(self._stream.encode())
            self._container.close()
            if finished:
                os.replace(self._partial, self._path)
        except (OSError, FFmpegError) as error:
            raise self._refusal(error) from error
        finally:
            self._partial.unlink(missing_ok=True)

    def _refusal(self, error: Exception) -> RocketError:
        return RocketError(f"{self._path}: cannot be written, got {error}. Give another place.")


def write_film(path: Path, pictures: Iterable[Image.Image]) -> int:
    """The file holds the pictures; returns how many there were.

    Raises:
        RocketError: if it cannot be written.
    """
    with Film(path) as film:
        for picture in pictures:
            film.add(picture)
    return film.num_frames
