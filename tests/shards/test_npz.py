import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from shards.npz import read_npz


def npz(**arrays: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        hnp.arrays(
            dtype=st.sampled_from([np.uint8, np.uint16, np.int32, np.int64, np.uint32, np.float32, np.float64]),
            shape=hnp.array_shapes(min_dims=1, max_dims=2, min_side=0, max_side=9),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_npz_is_read_as_numpy_reads_it(arrays):
    data = npz(**{f"a{number}": array for number, array in enumerate(arrays)})
    wanted = [f"a{number}" for number in range(len(arrays))]
    with np.load(io.BytesIO(data)) as expected:
        found = read_npz(data, wanted)
        for name in wanted:
            assert found[name].dtype == expected[name].dtype
            assert found[name].shape == expected[name].shape
            assert found[name].tobytes() == expected[name].tobytes()


def test_npz_gives_only_the_arrays_that_are_wanted():
    assert read_npz(npz(a=np.arange(3), b=np.arange(4)), ["b"]).keys() == {"b"}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "no zip directory"),
        (b"nonsense" * 20, "no zip directory"),
        (npz(a=np.arange(9))[:-10], "npz member"),
        (npz(b=np.arange(9)), "no array a"),
        (npz(a=np.array(["text"])), "unexpected array header"),
        (npz(a=np.asfortranarray(np.ones((2, 3)))), "unexpected array header"),
    ],
)
def test_npz_of_another_form_is_refused(data, message):
    with pytest.raises(ValueError, match=message):
        read_npz(data, ["a"])


def test_npz_with_a_pickle_inside_is_refused():
    with pytest.raises(ValueError, match="unexpected array header"):
        read_npz(npz(a=np.array([{"a": 1}], dtype=object)), ["a"])


def test_npz_cut_or_flipped_anywhere_is_refused_or_read_but_never_crashes():
    data = npz(a=np.arange(40, dtype=np.uint16), b=np.zeros((3, 2), np.float32))
    for place in range(len(data)):
        for broken in (data[:place], data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :]):
            try:
                found = read_npz(broken, ["a", "b"])
            except ValueError:
                continue
            assert found.keys() == {"a", "b"}
