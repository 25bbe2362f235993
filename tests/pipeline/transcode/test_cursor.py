"""The cursor against a slow, obvious drawing of the same arrow."""

import numpy as np
import pytest

from pipeline.transcode.cursor import ARROW, draw_cursor


def grey_frame(height, width):
    rng = np.random.default_rng(5)
    half = ((height + 1) // 2, (width + 1) // 2)
    return (
        rng.integers(16, 236, (height, width), np.uint8),
        rng.integers(16, 241, half, np.uint8),
        rng.integers(16, 241, half, np.uint8),
    )


def draw_slowly(planes, x, y):
    """Pixel by pixel: luma is replaced; chroma is the mean of its four luma pixels' chroma."""
    luma, blue, red = (plane.copy() for plane in planes)
    height, width = luma.shape
    covered = np.zeros((2 * blue.shape[0], 2 * blue.shape[1]), bool)
    for row in range(16):
        for column in range(16):
            if ARROW[row][column] == ".":
                continue
            at = (int(y) + row, int(x) + column)
            if 0 <= at[0] < covered.shape[0] and 0 <= at[1] < covered.shape[1]:
                covered[at] = True
            if 0 <= at[0] < height and 0 <= at[1] < width:
                luma[at] = 16 if ARROW[row][column] == "X" else 235
    for plane in (blue, red):
        for row in range(plane.shape[0]):
            for column in range(plane.shape[1]):
                count = int(covered[2 * row : 2 * row + 2, 2 * column : 2 * column + 2].sum())
                total = int(plane[row, column]) * (4 - count) + 128 * count
                plane[row, column] = (total + 2) // 4
    return luma, blue, red


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (20, 10),
        (21, 10),
        (20, 11),
        (21, 11),
        (0, 0),
        (30.99, 12.5),
        (-0.9, -0.9),
        (-1, -1),
        (-5, 3),
        (-14, -13),
        (60, 5),
        (63, 35),
        (55, 30),
        (5, 39),
        (-16, 0),
        (64, 0),
        (0, 40),
        (-1000, 7),
        (1000000000000.0, 1000000000000.0),
    ],
)
def test_cursor_lies_where_a_slow_drawing_puts_it_and_is_clipped_at_every_edge(x, y):
    planes = grey_frame(40, 64)
    expected = draw_slowly(planes, x, y)
    draw_cursor(*planes, x, y)
    for name, got, want in zip(("luma", "blue", "red"), planes, expected, strict=True):
        np.testing.assert_array_equal(got, want, err_msg=name)


@pytest.mark.parametrize(("x", "y"), [(30, 20), (-3, 17), (29, 20)])
def test_cursor_fits_frames_of_odd_size(x, y):
    planes = grey_frame(23, 37)
    expected = draw_slowly(planes, x, y)
    draw_cursor(*planes, x, y)
    for got, want in zip(planes, expected, strict=True):
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize(("x", "y"), [(float("nan"), 3), (3, float("inf")), (float("-inf"), 3)])
def test_cursor_at_no_finite_place_leaves_the_frame_alone(x, y):
    planes = grey_frame(40, 64)
    before = [plane.copy() for plane in planes]
    draw_cursor(*planes, x, y)
    for got, want in zip(planes, before, strict=True):
        np.testing.assert_array_equal(got, want)


def test_cursor_tip_is_the_pixel_at_its_position():
    luma, blue, red = grey_frame(40, 64)
    luma[:] = 100
    draw_cursor(luma, blue, red, 10, 20)
    assert luma[20, 10] == 16
    assert luma[19, 10] == luma[20, 9] == luma[20, 11] == 100


def test_cursor_arrow_is_16_pixels_square():
    assert [len(row) for row in ARROW] == [16] * 16
