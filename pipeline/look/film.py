"""Drawn frames as a video that any player shows."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import av
import numpy as np
from av.error import FFmpegError
from PIL import Image

from shards.action_space import ACTION_SPACE
from shards.errors import RocketError

FILM_WIDTH_PX = 448


def write_film(path: Path, pictures: Iterable[Image.Image]) -> int:
    """The file holds the pictures as H.264 at the game's speed; returns how many there were.

    It is written aside and renamed. All pictures have the first one's size, in even numbers.

    Raises:
        RocketError: if it cannot be written.
    """
    partial = path.with_name(f".{path.name}.part")
    num_frames = 0
    try:
        with av.open(str(partial), "w", format="mp4", options={"movflags": "faststart"}) as container:
            stream = container.add_stream("libx264", rate=ACTION_SPACE.frames_per_second)
            stream.pix_fmt = "yuv420p"
            stream.options = {"preset": "veryfast", "crf": "20"}
            for picture in pictures:
                if not num_frames:
                    stream.width, stream.height = picture.size
                container.mux(stream.encode(av.VideoFrame.from_ndarray(np.asarray(picture), format="rgb24")))
                num_frames += 1
            container.mux(stream.encode())
        os.replace(partial, path)
    except (OSError, FFmpegError) as error:
        raise RocketError(f"{path}: cannot be written, got {error}. Give another --out.") from error
    finally:
        partial.unlink(missing_ok=True)
    return num_frames
