"""Stretches of episodes as data for the player of a page, which shows them frame by frame.

The clips travel as they are stored; the page decodes them, so nothing is encoded a second time. The player itself
is `player.js`.
"""

import base64
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from shards.action_space import ACTION_SPACE
from shards.clip import Clip
from shards.display.footage import Stretch
from shards.display.palette import HUMAN, POLICY, RGB
from shards.display.wording import short_event
from shards.interaction_types import interaction_type

MAX_FILM_BYTES = 9_000_000
"""Of a film in its page, so that the page stays below 10 MB."""


@dataclass
class Film:
    """What the player gets; `to_json` is what its page holds.

    Attributes:
        num_frames: that it shows.
        is_cut: whether stretches were left out to keep the page small.
    """

    frame_width: int
    frame_height: int
    num_frames: int = 0
    is_cut: bool = False
    clips: list[str] = field(default_factory=list)
    interactions: list[tuple[int, str]] = field(default_factory=list)
    pieces: list[dict[str, Any]] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """The film as `player.js` reads it."""
        types = map(interaction_type, sorted({type_id for type_id, _ in self.interactions}))
        return {
            "width": self.frame_width,
            "height": self.frame_height,
            "fps": ACTION_SPACE.frames_per_second,
            "buttons": ACTION_SPACE.buttons,
            "human": _css(HUMAN),
            "policy": _css(POLICY),
            "types": {kind.id: [kind.name, kind.drawn_colour] for kind in types},
            "interactions": [[type_id, short_event(event)] for type_id, event in self.interactions],
            "clips": self.clips,
            "pieces": self.pieces,
        }


def make_film(stretches: Iterable[Stretch], size_px: tuple[int, int], max_bytes: int = MAX_FILM_BYTES) -> Film:
    """The stretches one after another, until they would take more than `max_bytes`.

    Args:
        size_px: (width, height) of the frames.

    Raises:
        DamagedClip: if a clip's bytes are missing or changed.
    """
    film = Film(*size_px)
    num_bytes = 0
    numbers: dict[tuple[str, int, int], int] = {}
    interactions: dict[tuple[str, int, int], int] = {}
    for number, stretch in enumerate(stretches):
        dataset, episode = stretch.dataset, stretch.episode
        for row in dataset.clip_rows(episode):
            start, stop = max(stretch.start, row.start_frame), min(stretch.stop, row.start_frame + row.num_frames)
            if start >= stop:
                continue
            clip = dataset.read_clip(episode, row)
            place = (dataset.path, episode, row.clip)
            piece = _piece(clip, stretch, number, start, stop)
            for masks in piece["masks"]:
                for mask in masks:
                    name = (dataset.path, episode, mask[0])
                    if name not in interactions:
                        item = clip.info.interactions[mask[0]]
                        interactions[name] = len(film.interactions)
                        film.interactions.append((item.type, item.event))
                    mask[0] = interactions[name]
            new_bytes = sum(len(mask[1]) for masks in piece["masks"] for mask in masks) + 40 * (stop - start)
            if place not in numbers:
                new_bytes += len(clip.video) * 4 // 3
            if num_bytes + new_bytes > max_bytes and film.num_frames:
                film.is_cut = True
                return film
            num_bytes += new_bytes
            if place not in numbers:
                numbers[place] = len(film.clips)
                film.clips.append(base64.b64encode(clip.video).decode())
            film.pieces.append({"clip": numbers[place], "first": start - row.start_frame, **piece})
            film.num_frames += stop - start
    return film


def _piece(clip: Clip, stretch: Stretch, number: int, start: int, stop: int) -> dict[str, Any]:
    """Frames [start, stop) of the episode, all from one clip."""
    arrays, base = clip.arrays, clip.info.start_frame
    places = range(start - base, stop - base)
    powers = 1 << np.arange(arrays.buttons.shape[1], dtype=np.int64)
    piece: dict[str, Any] = {
        "stretch": number,
        "heading": stretch.heading,
        "episode": clip.info.episode_id,
        "start": start,
        "memory": stretch.memory,
        "buttons": (arrays.buttons[places.start : places.stop] @ powers).tolist(),
        "camera": np.round(arrays.camera[places.start : places.stop], 2).tolist(),
        "gui": arrays.gui[places.start : places.stop].tolist(),
        "masks": [
            [
                [int(arrays.candidate_interaction[at]), " ".join(map(str, arrays.runs(at).tolist()))]
                for at in stretch.shown(clip, place)
            ]
            for place in places
        ],
    }
    predicted = stretch.predicted[start - stretch.start : stop - stretch.start]
    if predicted:
        piece["policy_buttons"] = [int(action.buttons.astype(np.int64) @ powers) for action in predicted]
        piece["policy_camera"] = [[round(degrees, 2) for degrees in action.camera] for action in predicted]
    return piece


def _css(colour: RGB) -> str:
    return "#" + bytes(colour).hex()
