"""Strangers' pickles: all plain data comes through, the usual attacks do not, and nothing large is allocated."""

from __future__ import annotations

import math
import os
import pickle
import resource
import struct
from collections import OrderedDict, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.rejection import SourceError
from pipeline.sources.files.pickles import load_pickle, load_pickle_file

PROTOCOLS = tuple(range(pickle.HIGHEST_PROTOCOL + 1))

hashable = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63),
    st.floats(allow_nan=False),  # a set's order depends on where its NaN lies in memory
    st.text(max_size=8),
    st.binary(max_size=8),
)
scalars = hashable | st.just(math.nan)
keys = st.recursive(
    hashable, lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3), max_leaves=4
)
plain_data = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(keys, inner, max_size=4)
        | st.tuples(inner, inner, inner, inner)
        | st.sets(keys, max_size=3)
    ),
    max_leaves=12,
)


@settings(max_examples=100, deadline=None)
@given(value=plain_data, protocol=st.sampled_from(PROTOCOLS))
def test_plain_data_comes_through_in_every_protocol(value: Any, protocol: int) -> None:
    found = load_pickle(pickle.dumps(value, protocol), "x")
    assert repr(found) == repr(pickle.loads(pickle.dumps(value, protocol)))


ARRAYS = {
    "ints": np.arange(5),
    "camera": np.linspace(-3, 3, 8).reshape(4, 2),
    "flags": np.array([True, False]),
    "bytes": np.arange(250, 256).astype(np.uint8),
    "floats": np.array([1.5, math.inf], np.float32),
    "columns first": np.asfortranarray(np.arange(6).reshape(2, 3)),
    "other byte order": np.arange(4, dtype=">i4"),
    "empty": np.zeros((0, 2)),
    "one number": np.array(3.0),
    "every other": np.arange(12).reshape(3, 4)[:, ::2],
}


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", ARRAYS)
def test_numpy_array_comes_through_in_every_protocol(name: str, protocol: int) -> None:
    found = load_pickle(pickle.dumps([ARRAYS[name], ARRAYS[name]], protocol), "x")
    for array in found:
        assert array.dtype.newbyteorder("=") == ARRAYS[name].dtype.newbyteorder("=")
        np.testing.assert_array_equal(array, ARRAYS[name])


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_numpy_number_becomes_a_plain_one(protocol: int) -> None:
    found = load_pickle(pickle.dumps([np.float64(2.5), np.int64(-3), np.bool_(True)], protocol), "x")
    assert found == [2.5, -3, True]
    assert [type(number) for number in found] == [float, int, bool]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_ordered_and_default_dicts_become_dicts(protocol: int) -> None:
    found = load_pickle(pickle.dumps([OrderedDict([(2, 1), (1, 2)]), defaultdict(list, {3: [4]})], protocol), "x")
    assert found == [{2: 1, 1: 2}, {3: [4]}]
    assert [type(value) for value in found] == [dict, dict]
    assert list(found[0]) == [2, 1]


def test_names_of_older_numpy_are_known() -> None:
    data = pickle.dumps(np.arange(3), 2).replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    np.testing.assert_array_equal(load_pickle(data, "x"), [0, 1, 2])


class _Reduces:
    def __init__(self, *reduced: Any) -> None:
        self.reduced = reduced

    def __reduce__(self) -> Any:
        return self.reduced


def _text(*parts: str) -> bytes:
    return "\n".join(parts).encode() + b"\n"


def _short(text: str) -> bytes:
    return b"\x8c" + bytes([len(text)]) + text.encode()


def _call(module: str, name: str, arguments: bytes) -> bytes:
    return b"\x80\x04" + _short(module) + _short(name) + b"\x93" + arguments + b"R."


ATTACKS = {
    "os.system by its object": lambda marker: pickle.dumps(_Reduces(os.system, (f"touch {marker}",))),
    "eval by its object": lambda marker: pickle.dumps(_Reduces(eval, (f"open({str(marker)!r}, 'w')",))),
    "exec by its object": lambda marker: pickle.dumps(_Reduces(exec, (f"open({str(marker)!r}, 'w')",)), 2),
    "open by its object": lambda marker: pickle.dumps(_Reduces(open, (str(marker), "w"))),
    "GLOBAL": lambda marker: b"cos\nsystem\n(S'touch " + str(marker).encode() + b"'\ntR.",
    "GLOBAL in protocol 0 by Python 2's name": lambda marker: (
        b"c__builtin__\neval\n(S'open(\"" + str(marker).encode() + b"\",\"w\")'\ntR."
    ),
    "INST": lambda marker: b"(S'touch " + str(marker).encode() + b"'\nios\nsystem\n.",
    "OBJ": lambda marker: b"(cos\nsystem\nS'touch " + str(marker).encode() + b"'\no.",
    "NEWOBJ": lambda marker: b"\x80\x02cbuiltins\nobject\n)\x81.",
    "NEWOBJ_EX": lambda marker: b"\x80\x04" + _short("builtins") + _short("object") + b"\x93)}\x92.",
    "a dotted name": lambda marker: _call("numpy", "ndarray.__class__.mro", b")"),
    "getattr": lambda marker: pickle.dumps(_Reduces(getattr, ("x", "__class__"))),
    "import": lambda marker: _call("builtins", "__import__", _short("os") + b"\x85"),
    "subprocess": lambda marker: _call("subprocess", "getoutput", _short(f"touch {str(marker)[-200:]}") + b"\x85"),
    "numpy.load": lambda marker: _call("numpy", "load", _short("/etc/passwd") + b"\x85"),
    "numpy's own runner": lambda marker: _call("numpy.testing", "runstring", _short("x") + b"}\x86"),
    "a module of ours": lambda marker: _call("pipeline.settings", "load_settings", _short("x") + b"\x85"),
    "something outside": lambda marker: b"\x80\x04" + _short("x") + b"Q.",
    "something outside, as text": lambda marker: b"Px\n.",
    "the extension registry": lambda marker: b"\x80\x02\x82\x01.",
    "a buffer from outside": lambda marker: b"\x80\x05\x97.",
    "an object in an array": lambda marker: pickle.dumps(np.array([_Reduces(os.system, (f"touch {marker}",))])),
    "a state for a name": lambda marker: b"\x80\x04" + _short("builtins") + _short("list") + b"\x93N}"
    + _short("_call") + b"Ns\x86b.",
    "a state for a dict": lambda marker: b"\x80\x04}}" + _short("x") + b"Nsb.",
    "a state for a dtype with fields": lambda marker: pickle.dumps(np.dtype([("a", "i8")])),
    "a change of an array": lambda marker: pickle.dumps(np.arange(3), 4)[:-1] + b"K\x00K\x07s.",
    "a call of a list": lambda marker: b"\x80\x04])R.",
}  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS)
def test_attack_runs_nothing(attack: str, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    path = tmp_path / "attack.pkl"
    path.write_bytes(ATTACKS[attack](marker))
    with pytest.raises(SourceError, match=r"attack\.pkl: not a pickle of plain data, got "):
        load_pickle_file(path)
    assert not marker.exists()


def test_attacks_that_run_code_would_have_run_it(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    for attack in ("os.system by its object", "GLOBAL", "INST", "OBJ"):
        pickle.loads(ATTACKS[attack](marker))
        assert marker.exists(), attack
        marker.unlink()


def _array(shape: bytes, dtype: str = "u1", raw: bytes = b"C\x00") -> bytes:
    """A protocol 4 array: _reconstruct(ndarray, (0,), b"b"), then its state."""
    return (
        b"\x80\x04" + _short("numpy._core.multiarray") + _short("_reconstruct") + b"\x93"
        + _short("numpy") + _short("ndarray") + b"\x93K\x00\x85C\x01b\x87R(K\x01" + shape
        + _short("numpy") + _short("dtype") + b"\x93" + _short(dtype) + b"\x89\x88\x87R"
        + b"(K\x03" + _short("|") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb" + b"\x89" + raw + b"tb."
    )  # fmt: skip


HUGE = b"\x8a\x08" + struct.pack("<q", 1 << 40)
BOMBS = {
    "bytes that are not there": b"\x80\x04\x8e" + struct.pack("<Q", 1 << 40) + b".",
    "text that is not there": b"\x80\x04\x8d" + struct.pack("<Q", 1 << 40) + b".",
    "a bytearray that is not there": b"\x80\x05\x96" + struct.pack("<Q", 1 << 33) + b".",
    "memory far out": b"\x80\x04Nr" + struct.pack("<I", 1 << 31) + b".",
    "memory far out, as text": b"Np999999999999\n.",
    "an integer of many digits": b"I" + b"9" * 100_000 + b"\n.",
    "an integer of many bytes": b"\x80\x02\x8b" + struct.pack("<i", 1 << 20) + b"\x01" * (1 << 20) + b".",
    "a bytearray by name": _call("builtins", "bytearray", HUGE + b"\x85"),
    "bytes by name": _call("builtins", "bytes", HUGE + b"\x85"),
    "a list of a range": _call("builtins", "range", HUGE + b"\x85"),
    "a list by name": _call("builtins", "list", HUGE + b"\x85"),
    "an array that starts large": _call("numpy.core.multiarray", "_reconstruct", b"N" + HUGE + b"\x85C\x01b\x87"),
    "an array that says it is large": _array(HUGE + b"\x85"),
    "an array whose size wraps around": _array(HUGE + HUGE + HUGE + b"\x87", raw=b"C\x00"),
    "an array of negative size": _array(b"J\xff\xff\xff\xff\x85"),
    "an array of wide values": _array(b"K\x01\x85", dtype="V999999999"),
    "an array of objects": _array(b"K\x01\x85", dtype="O"),
    "an array without bytes": _array(b"K\x01\x85", raw=b"N"),
    "numpy.zeros by name": _call("numpy", "zeros", HUGE + b"\x85"),
    "the same bytes encoded again and again": b"\x80\x04" + _short("_codecs") + _short("encode") + b"\x93q\x00"
    + b"X" + struct.pack("<I", 1 << 16) + b"a" * (1 << 16) + b"q\x01" + _short("latin1") + b"q\x02\x86q\x03]("
    + b"h\x00h\x03R" * 100_000 + b"e.",
    "tuples in tuples, doubled": b"\x80\x04)\x94" + b"".join(b"h%ch%c\x86\x94" % (i, i) for i in range(99)) + b".",
    "tuples in tuples, as a key": b"\x80\x04}" + b")" + b"\x85" * 500_000 + b"Ns.",
}  # fmt: skip


@pytest.fixture
def little_memory() -> Iterator[None]:
    """No more than 1 GiB on top of what is mapped already."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (1 << 30), hard))
    yield
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@pytest.mark.parametrize("bomb", BOMBS)
@pytest.mark.usefixtures("little_memory")
def test_bomb_is_refused_before_it_is_allocated(bomb: str) -> None:
    with pytest.raises(SourceError, match=r"^x: not a pickle of plain data, got (?!MemoryError)"):
        load_pickle(BOMBS[bomb], "x")


def test_more_instructions_than_any_recording_needs_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.sources.files.pickle_check.MAX_INSTRUCTIONS", 1000)
    assert load_pickle(b"(" + b"]" * 900 + b"l.", "x") == [[]] * 900
    with pytest.raises(SourceError, match="more than 1000 instructions"):
        load_pickle(b"(" + b"]" * 1000 + b"l.", "x")


def test_file_larger_than_allowed_is_refused_by_size(tmp_path: Path) -> None:
    path = tmp_path / "large.rle"
    path.write_bytes(pickle.dumps(b"x" * 2000))
    with pytest.raises(SourceError, match=r"large\.rle: more than 1000 bytes"):
        load_pickle_file(path, max_bytes=1000)


def test_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"none\.pkl: cannot be read, got No such file"):
        load_pickle_file(tmp_path / "none.pkl")


@pytest.mark.parametrize(
    "data", [b"", b".", b"\x80\x04", b"\x80\x04N", b"garbage", b"\x80\x63N.", b"(.", b"\x80\x04R."]
)
def test_what_is_no_pickle_is_refused(data: bytes) -> None:
    with pytest.raises(SourceError, match="not a pickle of plain data"):
        load_pickle(data, "x")


SOMETHING = pickle.dumps(
    {
        "video_annos": {3: [(1, "e", 3)]},
        "camera": np.zeros((2, 2)),
        "x": [{1, 2}, (None, 2.5, "é"), b"b", np.int64(3)],
    },
    4,
)


@settings(max_examples=300, deadline=None)
@given(position=st.integers(0, len(SOMETHING) - 1), change=st.binary(min_size=1, max_size=3), cut=st.booleans())
def test_damaged_pickle_is_data_or_refused(position: int, change: bytes, cut: bool) -> None:
    damaged = SOMETHING[:position] if cut else SOMETHING[:position] + change + SOMETHING[position + len(change) :]
    try:
        load_pickle(damaged, "x")
    except SourceError as error:
        assert str(error).startswith("x: not a pickle of plain data, got ")  # noqa: PT017


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60))
def test_random_bytes_are_data_or_refused(data: bytes) -> None:
    try:
        load_pickle(b"\x80\x04" + data + b".", "x")
    except SourceError as error:
        assert str(error).startswith("x: not a pickle of plain data, got ")  # noqa: PT017
