import numpy as np
import pytest

from shards.errors import DamagedClip
from shards.masks import packed_size
from shards.reader import open_dataset
from shards.schedule.goals import NO_GOAL
from shards.windows import WindowArrays, WindowReader, WindowSource, clips_of_window
from tests.synthetic import HEIGHT, WIDTH, actions_of, episode_interactions, frame_number, mask_of

EPISODE, NUM_FRAMES = 3, 70  # the longest of small_dataset, in clips of 16


@pytest.fixture
def read(small_dataset):
    dataset = open_dataset(str(small_dataset))
    reader = WindowReader(HEIGHT, WIDTH)

    def read_window(start: int, stop: int, goals: np.ndarray | None = None) -> WindowArrays:
        length = stop - start + 3  # room that must stay as it is
        out = WindowArrays(
            np.full((length, HEIGHT * 3 // 2, WIDTH), 7, np.uint8),
            np.full((length, packed_size(HEIGHT, WIDTH)), 7, np.uint8),
            np.full((length, 23), 7, np.uint8),
            np.full((length, 2), 7, np.float32),
        )
        source = WindowSource(
            dataset=str(small_dataset),
            shard=int(dataset.episodes.shard[EPISODE]),
            episode_id=dataset.episodes.ids[EPISODE],
            start=start,
            stop=stop,
            clips=clips_of_window(dataset.clip_rows(EPISODE), start, stop),
            goals=goals,
        )
        reader.read(source, out)
        return out

    return read_window


def test_window_holds_its_frames_wherever_it_begins_and_ends(read):
    for start in range(0, NUM_FRAMES, 3):
        for stop in {start + 1, min(start + 9, NUM_FRAMES), min(start + 40, NUM_FRAMES), NUM_FRAMES}:
            window = read(start, stop)
            assert [frame_number(yuv) for yuv in window.yuv[:-3]] == [f % 50 for f in range(start, stop)]
            expected = [actions_of(EPISODE, frame) for frame in range(start, stop)]
            assert np.array_equal(window.buttons[:-3], [buttons for buttons, _ in expected])
            assert window.camera[:-3] == pytest.approx(np.array([camera for _, camera in expected]))
            for array in (window.yuv, window.mask_bits, window.buttons, window.camera):
                assert (array[-3:] == 7).all()


def test_window_shows_the_mask_of_each_frames_goal(read):
    candidates = [
        [i for i, one in enumerate(episode_interactions(NUM_FRAMES)) if one.start <= frame < one.stop]
        for frame in range(NUM_FRAMES)
    ]
    for choice in (0, -1):  # the first candidate of every frame, then the last
        goals = np.array([names[choice] if names else NO_GOAL for names in candidates], np.int32)
        for start, stop in ((0, NUM_FRAMES), (5, 23), (17, 18), (60, NUM_FRAMES)):
            bits = read(start, stop, goals[start:stop]).mask_bits[:-3]
            masks = np.unpackbits(bits, axis=1)[:, : HEIGHT * WIDTH].reshape(-1, HEIGHT, WIDTH)
            for frame, mask in zip(range(start, stop), masks, strict=True):
                goal = int(goals[frame])
                assert np.array_equal(mask, mask_of(goal, frame) if goal != NO_GOAL else np.zeros_like(mask))


def test_window_leaves_masks_alone_when_none_are_wanted(read):
    assert (read(0, 40).mask_bits == 7).all()


def test_window_with_a_goal_that_the_clip_lacks_is_damaged(read):
    with pytest.raises(
        DamagedClip, match=r"episode ep003, clip 0: the candidates are not those that the manifest lists"
    ):
        read(0, 10, np.full(10, 2, np.int32))


@pytest.mark.parametrize(
    ("start", "stop", "expected"),
    [(0, 16, [0]), (15, 17, [0, 1]), (16, 17, [1]), (0, 70, [0, 1, 2, 3, 4]), (64, 70, [4]), (63, 65, [3, 4])],
)
def test_clips_of_a_window_are_those_that_hold_its_frames(small_dataset, start, stop, expected):
    rows = open_dataset(str(small_dataset)).clip_rows(EPISODE)
    assert [row.clip for row in clips_of_window(rows, start, stop)] == expected
