"""The page that shows a dataset to a colleague: facts as charts, frames, the lane plan, what was left out."""

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from pipeline.look import charts
from pipeline.look.charts import SampledActions, sample_actions
from pipeline.look.lane_options import LaneOptions
from pipeline.look.lane_plan import EpochPlan
from pipeline.look.overview import Overview, overview_of
from pipeline.rejection import REASONS
from shards.action_space import ACTION_SPACE
from shards.clip import Interaction
from shards.display.footage import Stretch
from shards.display.page import render_page, strip_images
from shards.display.player import Film, make_film
from shards.display.wording import count, number_of, short_event
from shards.errors import DamagedClip
from shards.interaction_types import interaction_type
from shards.reader import Dataset
from shards.schedule.collection import Collection

STRIP_FRAMES = 6
_PLAYED_FRAMES = 200
_MAX_FILM_BYTES = 6_000_000
_MAX_LISTED = 40
_MAX_EVENTS = 9
_MAX_PADDING = 0.05
_MAX_LANES = 64
_LANES_PER_RANK = 8
_MAX_TRIED = 24
"""Episodes among which the strips' interactions are chosen."""


def report_page(plan: EpochPlan) -> str:
    """The report of a plan's datasets as HTML."""
    collection = plan.collection
    datasets = collection.datasets
    paths = [one.path for one in datasets]
    overview = overview_of(*datasets)
    alarms: list[str] = []
    actions, strips, film = SampledActions(np.zeros((0, 2)), 0, []), [], None
    try:
        actions = sample_actions(collection)
        stretches = list(_choose_stretches(collection))
        strips = list(_strips(stretches, alarms))
        film = _film(collection, stretches, alarms)
    except OSError as error:
        alarms.append(f"Shards cannot be read ({error}), so frames and camera are missing here.")
    if actions.damaged:
        sampled = number_of(actions.num_clips + len(actions.damaged), "sampled clip")
        alarms.append(f"Damaged: {count(len(actions.damaged))} of {sampled}, the first: {actions.damaged[0]}")
    return render_page(
        "pipeline.look",
        "report.html",
        title=", ".join(path.rstrip("/").rsplit("/", 1)[-1] or path for path in paths),
        alarms=alarms,
        footer=f"{shlex.join(['rocket-prep', 'report', *paths])} | fingerprint {collection.fingerprint[:16]}",
        overview=overview,
        datasets=datasets,
        plan=plan,
        actions=actions,
        strips=strips,
        film=film,
        events=_events(overview),
        counted=_counted(datasets, overview),
        entries=[entry for one in datasets for entry in one.rejected()][:_MAX_LISTED],
        reasons=REASONS,
        frames_per_second=ACTION_SPACE.frames_per_second,
        charts=charts,
    )


def fitting_plan(options: LaneOptions) -> EpochPlan:
    """The plan with the most lanes that the datasets fill well, up to the tutorial's 64 on 8 ranks.

    Args:
        options: all but the numbers of lanes and ranks.
    """
    lanes = _MAX_LANES
    while True:
        plan = replace(options, lanes=lanes, ranks=max(lanes // _LANES_PER_RANK, 1)).plan()
        if lanes == 1 or plan.padding_fraction <= _MAX_PADDING:
            return plan
        lanes //= 2


def _events(overview: Overview) -> list[tuple[str, str, str]]:
    """(type, event, number) of the most frequent events."""
    events = [
        (number, item.name, event) for item in overview.interactions for event, number in item.top_events.items()
    ]
    events.sort(key=lambda event: -event[0])
    return [(name, short_event(event), count(number)) for number, name, event in events[:_MAX_EVENTS]]


def _counted(datasets: Sequence[Dataset], overview: Overview) -> list[tuple[str, str, str, str]]:
    """(event, by how much, in how many episodes, where first) of what the game counted most often."""
    places: dict[str, list[str]] = {name: [] for name in list(overview.events)[:_MAX_EVENTS]}
    for dataset in datasets:
        for group in dataset.episode_groups(["episode_id", "events"]):
            for episode in group.to_pylist():
                for event in episode["events"]:
                    if event["name"] in places:
                        places[event["name"]].append(
                            f"episode {episode['episode_id']}, frame {event['frames'][0]}"
                        )
    return [(name, count(overview.events[name]), count(len(where)), where[0]) for name, where in places.items()]


def _strips(stretches: Sequence[Stretch], alarms: list[str]) -> Iterator[tuple[str, Any]]:
    """(caption, images as parts.html takes them) of each stretch; `alarms` get what is damaged."""
    for stretch in stretches:
        try:
            yield stretch.caption, strip_images(stretch.frames(STRIP_FRAMES))
        except DamagedClip as damage:
            alarms.append(f"A strip of frames is missing. {damage}")


def _film(collection: Collection, stretches: Sequence[Stretch], alarms: list[str]) -> Film:
    """The stretches to be played, the ends of long ones; `alarms` get what is damaged."""
    ends = [replace(one, start=max(one.start, one.stop - _PLAYED_FRAMES)) for one in stretches]
    size = (collection.frame_width, collection.frame_height)
    try:
        return make_film(ends, size, _MAX_FILM_BYTES)
    except DamagedClip as damage:
        alarms.append(f"Frames cannot be played. {damage}")
        return Film(*size)


def _choose_stretches(collection: Collection) -> Iterator[Stretch]:
    """Interactions, of each type the longest in evenly spread episodes; without any, the first episode's start."""
    num_episodes = len(collection.episode_ids)
    tried = np.unique(np.linspace(0, num_episodes - 1, min(num_episodes, _MAX_TRIED)).round().astype(int))
    longest: dict[int, tuple[int, Interaction]] = {}
    for episode in tried.tolist():
        dataset, place = collection.locate(episode)
        for item in dataset.interactions(place):
            best = longest.get(item.type)
            if best is None or item.stop - item.start > best[1].stop - best[1].start:
                longest[item.type] = (episode, item)
    if not longest:
        dataset, stop = collection.datasets[0], int(collection.num_frames[0])
        yield Stretch(dataset, 0, 0, stop, f"episode {collection.episode_ids[0]}, frames 0:{stop}")
    for type_id, (episode, item) in sorted(longest.items()):
        # A short one is shown with what comes before it.
        start = max(0, min(item.start, item.stop - STRIP_FRAMES))
        dataset, place = collection.locate(episode)
        where = f"episode {collection.episode_ids[episode]}, frames {start}:{item.stop}"
        heading = f"{interaction_type(type_id).name}: {short_event(item.event)} | {where}"
        yield Stretch(dataset, place, start, item.stop, heading)
