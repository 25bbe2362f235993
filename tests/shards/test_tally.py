"""The sums over all episodes, against counts made frame by frame."""

import json
from collections import Counter

import pytest

from shards.action_space import ACTION_SPACE
from shards.errors import DatasetError
from shards.manifest import (
    CandidateRun,
    ClipRow,
    EpisodeRow,
    EventRow,
    Interaction,
    RecordingRow,
)
from shards.manifest_writer import write_manifest
from shards.reader import open_dataset
from shards.tally import Tally

BUTTONS = ACTION_SPACE.buttons


def row(number, num_frames, interactions, runs, sources):
    """An episode; `interactions` are (type, event), `runs` are (start, stop, *interactions)."""
    share = num_frames // len(sources)
    return EpisodeRow(
        episode_id=f"ep{number:03d}",
        num_frames=num_frames,
        start_byte=0,
        stop_byte=512,
        recordings=[
            RecordingRow(f"rec{number}-{i}", source, share + 2, share + 1, share)
            for i, source in enumerate(sources)
        ],
        interactions=[Interaction(kind, event, 0, num_frames) for kind, event in interactions],
        candidate_runs=[CandidateRun(start, stop, tuple(named)) for start, stop, *named in runs],
        events=[EventRow(name, number + 1, (0,)) for name in ("custom:jump", f"mine_block:{number}")],
        button_counts=[(number + button) % 7 for button in range(len(BUTTONS))],
        num_camera_frames=number * 3,
        num_gui_frames=number,
        clips=[ClipRow(0, 0, num_frames, 0, 1, 1, 1, 2, 1, 3, 1, number, number)],
    )


EPISODES = [
    row(
        0,
        40,
        [(2, "log"), (2, "mine:dirt"), (0, "kill:cow")],
        [(0, 9, 0), (9, 12, 0, 1), (20, 40, 1, 2)],
        ["a"],
    ),
    row(1, 30, [], [], ["b", "a"]),
    row(2, 64, [(-1, ""), (2, "log"), (6, "go")], [(1, 2, 0), (3, 30, 1), (30, 31, 2, 0, 1)], ["b"]),
    # More episodes than a row group has.
    *(row(number, 32, [(3, "open"), (2, "log")], [(number % 5, 20, 0, 1)], ["c"]) for number in range(3, 200)),
]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dataset")
    (folder / "000000.tar").write_bytes(bytes(512))
    write_manifest(
        folder,
        [EPISODES],
        [],
        frame_size_px=(32, 32),
        clip_frames=64,
        keyframe_interval=8,
        codec={},
        tools={},
        settings={},
    )
    return open_dataset(folder)


def test_sums_are_those_of_a_count_frame_by_frame(dataset):
    masked = overlap = 0
    frames, events, numbers = Counter(), Counter(), Counter()
    for episode in EPISODES:
        for interaction in episode.interactions:
            numbers[interaction.type] += 1
            events[interaction.type, interaction.event] += 1
        for frame in range(episode.num_frames):
            named = [
                i for run in episode.candidate_runs if run.start <= frame < run.stop for i in run.interactions
            ]
            masked += bool(named)
            overlap += len(named) > 1
            frames.update({episode.interactions[i].type for i in named})
    tally = Tally.from_json(dataset.info.tally)
    assert {kind: of_type.num_interactions for kind, of_type in tally.interactions.items()} == numbers
    assert {kind: of_type.num_frames for kind, of_type in tally.interactions.items()} == frames
    assert {
        (kind, event): number
        for kind, of_type in tally.interactions.items()
        for event, number in of_type.events.items()
    } == events
    assert (tally.num_masked_frames, tally.num_overlap_frames) == (masked, overlap)
    assert tally.buttons == {
        button: sum(episode.button_counts[place] for episode in EPISODES) for place, button in enumerate(BUTTONS)
    }
    assert tally.events == {"custom:jump": 20100, **{f"mine_block:{number}": number + 1 for number in range(200)}}
    assert tally.num_camera_frames == sum(episode.num_camera_frames for episode in EPISODES)
    assert tally.num_gui_frames == sum(episode.num_gui_frames for episode in EPISODES)
    assert tally.num_source_frames == sum(
        recording.num_source_frames for episode in EPISODES for recording in episode.recordings
    )
    assert tally.sources == Counter(recording.source for episode in EPISODES for recording in episode.recordings)


def test_sums_are_the_same_after_a_file(dataset):
    tally = Tally.from_json(dataset.info.tally)
    assert Tally.from_json(json.loads(json.dumps(tally.to_json()))) == tally


def test_no_episodes_add_up_to_nothing():
    assert Tally.from_json(Tally().to_json()) == Tally()


@pytest.mark.parametrize(
    ("interactions", "runs", "problem"),
    [
        ([], [(3, 9, 0)], "got interaction 0, expected one of the 0"),
        ([(2, "log")], [(0, 3, 0), (3, 9, 0, 1)], "got interaction 1, expected one of the 1"),
        ([(2, "log")], [(3, 9, -1)], "got interaction -1, expected one of the 1"),
    ],
)
def test_runs_of_interactions_that_are_not_there_are_refused(interactions, runs, problem):
    episode = row(0, 16, interactions, runs, ["a"])
    message = f"episodes.parquet: candidate_runs: {problem} that its episode has. Copy the dataset again"
    with pytest.raises(DatasetError, match=message):
        Tally().add(episode.to_record())
