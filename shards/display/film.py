"""Pictures as a video that any player shows."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import numpy as np
from av.error import FFmpegError
from numpy.typing import NDArray
from PIL import Image

from shards.action_space import ACTION_SPACE
from shards.errors import RocketError

FILM_WIDTH_PX = 448


class Film:
    """An H.264 mp4 at the game's speed, written aside and renamed when it is closed.

    All pictures have the first one's size, in even numbers. Where it cannot be written, a RocketError says so.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._partial = path, path.with_name(f".{path.name}.part")
        self.num_frames = 0
        with self._naming():
            self._container = av.open(str(self._partial), "w", format="mp4", options={"movflags": "faststart"})
        self._stream = self._container.add_stream("libx264", rate=ACTION_SPACE.frames_per_second)
        self._stream.pix_fmt = "yuv420p"
        self._stream.options = {"preset": "veryfast", "crf": "20"}

    def add(self, picture: Image.Image | NDArray[np.uint8]) -> None:
        """Append a picture, RGB."""
        pixels = np.asarray(picture)
        if not self.num_frames:
            self._stream.height, self._stream.width = pixels.shape[:2]
        with self._naming():
            self._container.mux(self._stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        self.num_frames += 1

    def close(self, finished: bool) -> None:
        """The file lies at its place; of one that is not finished nothing is left."""
        try:
            with self._naming():
                if finished:
                    self._container.mux(self._stream.encode())
                self._container.close()
                if finished:
                    os.replace(self._partial, self._path)
        finally:
            self._partial.unlink(missing_ok=True)

    @contextmanager
    def _naming(self) -> Iterator[None]:
        try:
            yield
        except (OSError, FFmpegError) as error:
            raise RocketError(f"{self._path}: cannot be written, got {error}. Give another place.") from error


def write_film(path: Path, pictures: Iterable[Image.Image]) -> None:
    """The file holds the pictures.

    Raises:
        RocketError: if it cannot be written.
    """
    film, finished = Film(path), False
    try:
        for picture in pictures:
            film.add(picture)
        finished = True
    finally:
        film.close(finished)
