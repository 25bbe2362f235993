"""Strips of frames that show a dataset's interactions at a glance."""

from __future__ import annotations

import io
from html import escape

import numpy as np

from pipeline.look.footage import read_frames
from pipeline.look.lane_view import spaced
from shards.clip import Interaction
from shards.display.drawing import draw_frame
from shards.display.page import html_image
from shards.display.wording import short_event
from shards.errors import DamagedClip
from shards.interaction_types import interaction_type
from shards.reader import Dataset

STRIP_FRAMES = 6
_MAX_TRIED = 24
"""Episodes among which interactions are chosen."""


def sample_strips(dataset: Dataset, alarms: list[str]) -> str:
    """Strips as HTML, one for each interaction type that occurs; damage is told in `alarms`.

    Raises:
        OSError: if the storage fails.
    """
    figures = []
    for episode, start, stop, caption in _choose(dataset):
        try:
            shown = list(read_frames(dataset, episode, spaced(start, stop, STRIP_FRAMES)))
        except DamagedClip as damage:
            alarms.append(f"A strip of frames is missing. {damage}")
            continue
        images = []
        for frame in shown:
            picture = draw_frame(frame)
            buffer = io.BytesIO()
            picture.save(buffer, "JPEG", quality=78)
            what = f"frame {frame.frame} of episode {frame.episode_id}"
            images.append(html_image(buffer.getvalue(), "jpeg", what, picture.size))
        figures.append(
            f"<figure><figcaption>{escape(caption)}</figcaption>"
            f'<div class="strip" tabindex="0">{"".join(images)}</div></figure>'
        )
    return "\n".join(figures)


def _choose(dataset: Dataset) -> list[tuple[int, int, int, str]]:
    """(episode, start, stop, caption) of interactions: of each type the longest in evenly spread episodes."""
    num_episodes = len(dataset.episodes)
    tried = np.unique(np.linspace(0, num_episodes - 1, min(num_episodes, _MAX_TRIED)).round().astype(int))
    longest: dict[int, tuple[int, Interaction]] = {}
    for episode in tried.tolist():
        for item in dataset.interactions(episode):
            best = longest.get(item.type)
            if best is None or item.stop - item.start > best[1].stop - best[1].start:
                longest[item.type] = (episode, item)
    if not longest and num_episodes:
        stop = int(dataset.episodes.num_frames[0])
        return [(0, 0, stop, f"episode {dataset.episodes.ids[0]}, frames 0:{stop}")]
    strips = []
    for type_id in sorted(longest):
        episode, item = longest[type_id]
        name = interaction_type(type_id).name
        # A short one is shown with what comes before it.
        start = max(0, min(item.start, item.stop - STRIP_FRAMES))
        where = f"episode {dataset.episodes.ids[episode]}, frames {start}:{item.stop}"
        strips.append((episode, start, item.stop, f"{name}: {short_event(item.event)} | {where}"))
    return strips
