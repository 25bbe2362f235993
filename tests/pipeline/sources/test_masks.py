"""Mask text and scaling: literal tables, and MineStudio's and OpenCV's results written down."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.sources.masks import MaskCollector, MaskError, decode_rle, resize_nearest, resized_runs
from shards.masks import decode_runs, encode_runs, encode_text


def picture(*rows: str) -> np.ndarray:
    return np.array([[pixel == "#" for pixel in row] for row in rows])


def test_decoding_counts_from_one_and_goes_row_by_row() -> None:
    # The first pixel, then three around the end of the first row.
    np.testing.assert_array_equal(decode_rle("1 1 4 3", 3, 4), picture("#..#", "##..", "...."))


def test_decoding_nothing_gives_an_empty_mask() -> None:
    for text in ("", "  ", "3 0"):
        assert not decode_rle(text, 3, 4).any()


def test_decoding_takes_runs_in_any_order_and_overlapping() -> None:
    np.testing.assert_array_equal(decode_rle("7 2 1 3 2 1", 2, 4), picture("###.", "..##"))


def test_last_pixel_of_a_real_mask_is_the_last_of_360_by_640() -> None:
    mask = decode_rle("230400 1", 360, 640)
    assert np.argwhere(mask).tolist() == [[359, 639]]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("1", "1 numbers"),
        ("1 2 3", "3 numbers"),
        ("0 1", "leaves the pixels 1 to 12"),
        ("12 2", "leaves the pixels 1 to 12"),
        ("13 1", "leaves the pixels 1 to 12"),
        ("1 99999999999999999999999", "leaves the pixels 1 to 12"),
        ("99999999999999999999999 1", "leaves the pixels 1 to 12"),
        ("9223372036854775807 9223372036854775807", "leaves the pixels 1 to 12"),
        ("-1 1", "not a list of whole numbers"),
        ("1.0 1", "not a list of whole numbers"),
        ("one 1", "not a list of whole numbers"),
        ("１ 2", "not a list of whole numbers"),
        ("1,2", "not a list of whole numbers"),
    ],
)
def test_decoding_refuses_runs_that_leave_the_mask_or_are_none(text: str, problem: str) -> None:
    with pytest.raises(MaskError, match=problem):
        decode_rle(text, 3, 4)
    with pytest.raises(MaskError, match=problem):
        resized_runs(text, 3, 4, 2, 2)


def test_scaling_picks_the_rows_and_columns_that_opencv_picks() -> None:
    # cv2.resize(..., (224, 224), interpolation=cv2.INTER_NEAREST) of images that show their own coordinates.
    columns, rows = np.arange(640)[None, :], np.arange(360)[:, None]
    for bit in range(10):
        picked = resize_nearest(np.broadcast_to((columns >> bit) & 1 == 1, (360, 640)), 224, 224)[0]
        expected = np.array([0, 2, 5, 8, 11, 14, 17, 20, 22, 25, 28, 31])
        np.testing.assert_array_equal(picked[:12], (expected >> bit) & 1 == 1)
        np.testing.assert_array_equal(picked[-3:], (np.array([631, 634, 637]) >> bit) & 1 == 1)
        picked = resize_nearest(np.broadcast_to((rows >> bit) & 1 == 1, (360, 640)), 224, 224)[:, 0]
        expected = np.array([0, 1, 3, 4, 6, 8, 9, 11, 12, 14, 16, 17])
        np.testing.assert_array_equal(picked[:12], (expected >> bit) & 1 == 1)
        np.testing.assert_array_equal(picked[-3:], (np.array([355, 356, 358]) >> bit) & 1 == 1)


def test_scaling_up_repeats_pixels() -> None:
    np.testing.assert_array_equal(
        resize_nearest(picture("#.", ".#"), 4, 4), picture("##..", "##..", "..##", "..##")
    )


@settings(deadline=None)
@given(
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    new_size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    share=st.sampled_from([0, 0.03, 0.5, 0.97, 1]),
    seed=st.integers(0, 1000),
)
def test_scaling_runs_equals_scaling_pixels(
    size: tuple[int, int], new_size: tuple[int, int], share: float, seed: int
) -> None:
    mask = np.random.default_rng(seed).random(size) < share
    slow = resize_nearest(mask, *new_size)
    runs = resized_runs(encode_text(mask), *size, *new_size)
    assert runs.dtype == np.uint32
    np.testing.assert_array_equal(runs, encode_runs(slow))
    np.testing.assert_array_equal(decode_runs(runs, *new_size), slow)


def test_scaling_runs_takes_them_in_any_order() -> None:
    np.testing.assert_array_equal(resized_runs("7 2 1 3 2 1", 2, 4, 2, 2), resized_runs("1 3 7 2", 2, 4, 2, 2))


@settings(deadline=None)
@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 1000))
def test_encoding_is_undone_by_decoding(height: int, width: int, seed: int) -> None:
    mask = np.random.default_rng(seed).random((height, width)) < 0.5
    np.testing.assert_array_equal(decode_rle(encode_text(mask), height, width), mask)


def add(collector: MaskCollector, frame: int, **changes: object) -> None:
    entry = {
        "key": (7, "e"),
        "object_id": 2,
        "event": "e",
        "start": 3,
        "stop": 10,
        "rle": "1 1",
        "point": (1.5, 2.0),
        **changes,
    }
    collector.add(frame, **entry)  # type: ignore[arg-type]


@pytest.mark.parametrize(("object_id", "kind"), [(0, 0), (1, 3), (2, 2), (3, 3), (4, 4), (5, 5), (6, 6)])
def test_type_one_becomes_interact_and_all_others_stay(object_id: int, kind: int) -> None:
    collector = MaskCollector(360, 640)
    add(collector, 3, object_id=object_id)
    assert [interaction.type for interaction in collector.masks().interactions] == [kind]


@pytest.mark.parametrize("object_id", [-1, 7, 2.0, True, "2", None])
def test_unknown_type_is_left_out_by_name_and_counted(object_id: object) -> None:
    collector = MaskCollector(360, 640)
    for frame in (8, 4, 5):
        add(collector, frame, object_id=object_id)
    add(collector, 4)
    masks = collector.masks()
    [problem] = masks.problems
    assert (problem.reason, problem.first_frame, problem.num_entries) == ("unknown_interaction", 4, 3)
    assert repr(object_id) in problem.detail
    assert list(masks.frames) == [4]


@pytest.mark.parametrize(
    ("change", "frames", "reason"),
    [
        ({"rle": None}, [4], "mask_entry"),
        ({"event": 3}, [3, 4], "mask_field"),
        ({"start": None}, [3, 4], "mask_field"),
        ({"stop": 1.5}, [3, 4], "mask_field"),
        ({"start": 10}, [3, 4], "mask_field"),
        ({"point": (1,)}, [3, 4], "mask_field"),
        ({"point": "12"}, [3, 4], "mask_field"),
    ],
)
def test_bad_entry_costs_only_itself(change: dict[str, object], frames: list[int], reason: str) -> None:
    collector = MaskCollector(360, 640)
    add(collector, 3, **change)
    add(collector, 4)
    masks = collector.masks()
    assert list(masks.frames) == frames
    assert [(problem.reason, problem.num_entries) for problem in masks.problems] == [(reason, 1)]


def test_all_candidates_of_a_frame_stay_in_their_order() -> None:
    collector = MaskCollector(360, 640)
    for key, event in ((9, "b"), (1, "a"), (5, "c")):
        add(collector, 3, key=(key, event), event=event)
    masks = collector.masks()
    assert [masks.interactions[c.interaction].event for c in masks.frames[3]] == ["b", "a", "c"]
    assert list(masks.frames) == [3]


def test_later_of_two_entries_with_one_key_wins_in_the_place_of_the_earlier() -> None:
    collector = MaskCollector(360, 640)
    add(collector, 3, rle="1 1")
    add(collector, 3, key=(8, "f"))
    add(collector, 3, rle="5 1", point=None)
    masks = collector.masks()
    assert [(c.interaction, c.rle, c.point) for c in masks.frames[3]] == [
        (0, "5 1", None),
        (1, "1 1", (1.5, 2.0)),
    ]


def test_range_of_an_interaction_is_the_union_of_its_entries() -> None:
    collector = MaskCollector(360, 640)
    add(collector, 3)
    add(collector, 4, start=1, stop=6)
    add(collector, 5, start=4, stop=21)
    [interaction] = collector.masks().interactions
    assert (interaction.start, interaction.stop) == (1, 21)
