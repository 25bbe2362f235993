"""Facts of a dataset that the manifest alone tells."""

import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from pipeline.look.episode_facts import episode_facts, episode_lines
from pipeline.look.overview import Lengths, overview_of
from pipeline.look.overview_text import overview_lines
from shards import DatasetError, open_dataset
from shards.display.wording import duration, percent, shorten, size
from tests.synthetic import actions_of, episode_interactions

LENGTHS = [40, 16, 1, 70, 33, 15, 17]


@pytest.fixture(scope="module")
def overview(small_dataset):
    return overview_of(open_dataset(small_dataset))


def test_overview_counts_what_was_written(overview, small_dataset):
    assert (overview.num_episodes, overview.num_frames, overview.num_clips) == (7, 192, 3 + 1 + 1 + 5 + 3 + 1 + 2)
    assert overview.num_bytes == sum(path.stat().st_size for path in small_dataset.glob("*.tar"))
    assert overview.hours == pytest.approx(192 / 20 / 3600)
    assert overview.sources == {"synthetic": 7}
    assert (overview.shards.num_shards, overview.shards.min_episodes, overview.shards.max_episodes) == (3, 2, 3)


def test_overview_counts_interactions_and_their_frames_by_type(overview):
    number, frames, masked, overlaps = Counter(), Counter(), 0, 0
    for length in LENGTHS:
        interactions = episode_interactions(length)
        number.update(item.type for item in interactions)
        for frame in range(length):
            types = [item.type for item in interactions if item.start <= frame < item.stop]
            frames.update(set(types))
            masked += bool(types)
            overlaps += len(types) > 1
    assert [(f.type, f.num_interactions, f.num_frames) for f in overview.interactions] == [
        (type_id, number[type_id], frames[type_id]) for type_id in sorted(number)
    ]
    assert (overview.num_masked_frames, overview.num_overlap_frames) == (masked, overlaps)
    assert overview.interactions[1].top_events == {"event_0": 6, "event_3": 1}


def test_overview_counts_pressed_buttons_and_camera(overview):
    actions = [actions_of(episode, frame) for episode, length in enumerate(LENGTHS) for frame in range(length)]
    assert list(overview.button_frames.values()) == np.sum([buttons for buttons, _ in actions], axis=0).tolist()
    assert overview.num_camera_frames == sum(bool(camera.any()) for _, camera in actions)


def test_overview_counts_events_of_the_game(overview):
    # A jump in every seventh frame from 0 on, two stones in every tenth from 3 on, in episodes of these LENGTHS.
    assert list(overview.events.items()) == [("mine_block:stone", 40), ("custom:jump", 31)]
    lines = overview_lines(overview, 80)
    place = lines.index("Events: 71 counted by the game")
    assert lines[place + 1] == "  mine_block:stone 40, custom:jump 31"


def test_episode_text_says_where_events_are(small_dataset):
    lines = episode_lines(episode_facts(open_dataset(small_dataset), "ep000"), 80)
    place = lines.index("Events: how often, and in which frames")
    assert [line.split() for line in lines[place + 1 : place + 3]] == [
        ["mine_block:stone", "8", "3,", "13,", "23,", "33"],
        ["custom:jump", "6", "0,", "7,", "14,", "21,", "..."],
    ]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, []),
        (
            {"num_masked_frames": 0},
            [
                "",
                "Watch out",
                "  the policy is shown object masks, but the data have none. To train",
                "    without, set data.enable_segment=false",
            ],
        ),
        (
            {"num_masked_frames": 8},  # of 192
            [
                "",
                "Watch out",
                "  the policy is shown object masks, but only 4.2% of the frames have",
                "    one. To train without, set data.enable_segment=false",
            ],
        ),
        (
            {"num_episodes": 1},
            [
                "",
                "Watch out",
                "  no episode is left to validate on (1 episode in all). Set",
                "    trainer.val_every=null",
            ],
        ),
    ],
)
def test_overview_ends_with_what_to_watch_out_for(overview, changes, expected):
    lines = overview_lines(replace(overview, **changes), 70)
    start = lines.index("Watch out") - 1 if "Watch out" in lines else len(lines)
    assert lines[start:] == expected


def test_lengths_put_each_episode_into_one_bin():
    lengths = np.array([1, 19, 20, 600, 1199, 1200, 72_000, 300_000])
    histogram = Lengths.of(lengths)
    slow = [
        sum(start <= length < stop for length in lengths.tolist())
        for start, stop in zip(histogram.edges_frames, histogram.edges_frames[1:], strict=False)
    ]
    assert list(histogram.num_episodes) == slow
    assert sum(slow) == len(lengths)


@pytest.mark.parametrize("columns", [60, 80, 100])
def test_overview_text_stays_within_the_terminal(overview, columns):
    lines = overview_lines(overview, columns)
    assert max(map(len, lines[1:])) <= columns  # the first line is the path


def test_overview_is_json(overview):
    record = json.loads(json.dumps(overview.to_json()))
    assert record["num_frames"] == 192
    assert record["interactions"][0]["name"] == "hunt"


def test_episode_facts_tell_one_episode(small_dataset):
    facts = episode_facts(open_dataset(small_dataset), "ep003")
    assert (facts.index, facts.shard) == (3, "000001.tar")
    record = json.loads(json.dumps(facts.to_json()))
    assert (record["num_frames"], record["num_clips"]) == (70, 5)
    assert facts.row.interactions == episode_interactions(70)
    assert record["recordings"][0]["name"] == "ep003-recording"
    text = "\n".join(episode_lines(facts, 60))
    assert "event_4" in text
    assert "70 of 70" in text
    assert max(map(len, text.splitlines())) <= 60


def test_unknown_episode_is_answered_with_the_nearest(small_dataset):
    with pytest.raises(DatasetError, match="no episode ep03. Did you mean ep003"):
        episode_facts(open_dataset(small_dataset), "ep03")


@pytest.mark.parametrize(
    ("function", "value", "expected"),
    [
        (duration, 0.84, "0.8 s"),
        (duration, 59.7, "1 min"),
        (duration, 303, "5 min 3 s"),
        (duration, 9600, "2 h 40 min"),
        (duration, 7_999_200, "2,222 h"),
        (size, 999, "999 B"),
        (size, 1440, "1.44 kB"),
        (size, 236e9, "236 GB"),
        (percent, 0.0, "0 %"),
        (percent, 0.00031, "0.031 %"),
        (percent, 0.0415, "4.2 %"),
        (percent, 0.9996, "99.9 %"),
        (percent, 1.0, "100 %"),
    ],
)
def test_measures_read_well(function, value, expected):
    assert function(value) == expected


def test_shortened_text_keeps_both_ends():
    assert shorten("Player12-f153ac423f61-20210720-192244", 20) == "Player12-…720-192244"
