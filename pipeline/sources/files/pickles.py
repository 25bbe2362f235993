"""Reads pickles that strangers made: data comes in, code does not, and nothing is allocated beyond a budget.

A pickle is a program. `pickle_check` looks at every instruction first. While it runs, the only names that
it can look up stand for plain containers and numpy's array reconstruction, and they are our own, which check every
size.

Admitted: None, bool, int, float, str, bytes, list, tuple, dict, set, frozenset, OrderedDict and defaultdict (both
become dict), numpy arrays and scalars of bool, int, uint and float.

Source: numpy/_core/multiarray.py and numeric.py for how arrays are put together again, in protocols 0 to 5.
"""

import io
import pickle
import re
from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from pipeline.rejection import SourceError, cannot_read
from pipeline.sources.files.pickle_check import check_instructions, refuse

MAX_FILE_BYTES = 256 << 20
_ALLOCATION_FACTOR = 4
_ALLOCATION_FLOOR_BYTES = 1 << 20


def load_pickle_file(path: Path, max_bytes: int = MAX_FILE_BYTES) -> Any:
    """What a pickle file holds.

    Raises:
        SourceError: if it cannot be read, is larger than `max_bytes`, or is anything but data.
    """
    try:
        with path.open("rb") as file:
            data = file.read(max_bytes + 1)
    except OSError as error:
        raise cannot_read(path, error) from error
    if len(data) > max_bytes:
        raise SourceError(f"{path}: more than {max_bytes} bytes, which no recording needs. Check what it is.")
    return load_pickle(data, str(path))


def load_pickle(data: bytes, where: str) -> Any:
    """What a pickle holds; `where` names it in errors.

    Raises:
        SourceError: if it is anything but data.
    """
    try:
        check_instructions(data)
        return _DataUnpickler(data).load()
    except Exception as error:  # a stranger's bytes may lead to any
        raise SourceError(
            f"{where}: not a pickle of plain data, got {type(error).__name__}: {str(error)[:200]}, expected "
            "containers, numbers, text and numpy arrays. Nothing in it was run; make the file again."
        ) from error


class _DataUnpickler(pickle.Unpickler):
    """CPython's unpickler, with a list of names of our own instead of imports."""

    def __init__(self, data: bytes) -> None:
        super().__init__(io.BytesIO(data), encoding="latin1")
        ours = _Calls(_ALLOCATION_FACTOR * len(data) + _ALLOCATION_FLOOR_BYTES)
        only_named = ("builtins", "int"), ("builtins", "float"), ("numpy", "ndarray")  # factories, and a kind
        calls: dict[tuple[str, str], Callable[..., Any]] = {
            **dict.fromkeys(only_named, _refuse_call),
            ("_codecs", "encode"): ours.encode,
            ("builtins", "bytes"): lambda: b"",  # how protocols before 3 write empty ones
            ("builtins", "set"): lambda members=(): set(ours.members(members)),
            ("builtins", "frozenset"): lambda members=(): frozenset(ours.members(members)),
            ("builtins", "list"): lambda members=(): list(ours.members(members)),
            ("builtins", "dict"): _new_dict,
            ("collections", "OrderedDict"): _new_dict,
            ("collections", "defaultdict"): _new_dict,
            ("numpy", "dtype"): _new_dtype,
        }
        for package in ("numpy.core", "numpy._core"):
            calls[package + ".multiarray", "_reconstruct"] = ours.reconstruct
            calls[package + ".multiarray", "scalar"] = _new_scalar
            calls[package + ".numeric", "_frombuffer"] = _new_array
        self._names = {name: _Name(call) for name, call in calls.items()}

    def find_class(self, module: str, name: str, /) -> Any:
        # Protocol 2 writes Python 2's name for builtins.
        found = self._names.get(("builtins" if module == "__builtin__" else module, name))
        if found is None:
            refuse(f"the name {module}.{name}, which is no plain data")
        return found

    def persistent_load(self, pid: Any, /) -> Any:
        refuse(f"a reference to something outside, {pid!r}")


class _Name:
    """Stands for something that a pickle may call; a pickle cannot change it."""

    __slots__ = ("_call",)
    _call: Callable[..., Any]

    def __init__(self, call: Callable[..., Any]) -> None:
        object.__setattr__(self, "_call", call)

    def __call__(self, *args: Any) -> Any:
        return self._call(*args)

    def __setattr__(self, name: str, value: Any) -> None:
        refuse(f"a change of {name}")

    def __setstate__(self, state: Any) -> None:
        refuse("a change of a name's state")


def _refuse_call(*_args: Any) -> NoReturn:
    refuse("a call of a name that only stands for itself")


class _Calls:
    """What a pickle may call that takes memory, within a number of bytes."""

    def __init__(self, num_bytes: int) -> None:
        self._left = num_bytes

    def take(self, num_bytes: int) -> None:
        if not 0 <= num_bytes <= self._left:
            refuse(f"{num_bytes} bytes asked for, {self._left} left of what a file of this size may take")
        self._left -= num_bytes

    def encode(self, text: str, encoding: str) -> bytes:
        """How protocol 2 writes bytes."""
        if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
            refuse(f"text encoded as {encoding!r}")
        self.take(len(text))
        return text.encode("latin-1")

    def members(self, members: Any) -> Any:
        """What a container is made from, once it fits."""
        if not isinstance(members, list | tuple | set | frozenset):
            refuse(f"a container made from {type(members).__name__}")
        self.take(64 * len(members))
        return members

    def reconstruct(self, _kind: Any, shape: Any, _code: Any) -> "_Array":
        """How protocols 2 to 4 start an array: empty; its state follows."""
        if shape != (0,):
            refuse(f"an array that starts with shape {shape!r}")
        array = _Array((0,), np.uint8)
        array.calls = self
        return array


def _new_dict(*args: Any) -> dict[Any, Any]:
    """An empty one, whatever its factory; members come one by one."""
    if any(not isinstance(arg, _Name) and arg is not None for arg in args):
        refuse("a dict with members in its call")
    return {}


_NUMBERS = re.compile(r"[<>=|]?(\?|b1|[iu][1248]|f[248])")


class _Dtype:
    """A numpy dtype under construction: its byte order comes with its state."""

    __slots__ = ("dtype",)

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self.dtype = dtype

    def __setstate__(self, state: Any) -> None:
        _, order, subarray, names, fields, *_ = state
        if (subarray, names, fields) != (None, None, None) or order not in ("<", ">", "|", "="):
            refuse("a dtype with fields")
        self.dtype = self.dtype.newbyteorder(order)


class _Array(np.ndarray[Any, np.dtype[Any]]):
    """A numpy array under construction: shape, dtype and bytes come with its state."""

    calls: _Calls

    def __setstate__(self, state: Any, /) -> None:
        _, shape, dtype, fortran_order, raw = state
        real = _checked_dtype(dtype)
        if not isinstance(raw, bytes) or _num_bytes(shape, real) != len(raw):
            refuse(f"an array of shape {shape!r} and {real} from {type(raw).__name__}")
        self.calls.take(len(raw))
        super().__setstate__((1, shape, real, bool(fortran_order), raw))  # type: ignore[arg-type]

    def __setitem__(self, key: Any, value: Any) -> None:
        refuse("a change of an array")


def _new_dtype(text: Any, _align: Any = False, _copy: Any = False) -> _Dtype:
    if not isinstance(text, str) or not _NUMBERS.fullmatch(text):
        refuse(f"numpy values of type {str(text)[:40]!r}")
    return _Dtype(np.dtype(text))


def _new_array(raw: Any, dtype: Any, shape: Any, order: Any) -> NDArray[Any]:
    """How protocol 5 makes an array; a writable one comes with a bytearray."""
    real = _checked_dtype(dtype)
    fits = isinstance(raw, bytes | bytearray) and _num_bytes(shape, real) == len(raw)
    if not fits or order not in ("C", "F"):
        refuse(f"an array of shape {shape!r} and {real} from {type(raw).__name__}")
    return np.frombuffer(raw, real).reshape(shape, order=order)


def _new_scalar(dtype: Any, raw: Any) -> bool | int | float:
    """A numpy scalar, as Python's own number."""
    real = _checked_dtype(dtype)
    if not isinstance(raw, bytes) or len(raw) != real.itemsize:
        refuse(f"a number of type {real} from {type(raw).__name__}")
    value: bool | int | float = np.frombuffer(raw, real)[0].item()
    return value


def _checked_dtype(dtype: Any) -> np.dtype[Any]:
    if not isinstance(dtype, _Dtype):
        refuse(f"an array whose values are of type {type(dtype).__name__}")
    return dtype.dtype


def _num_bytes(shape: Any, dtype: np.dtype[Any]) -> int:
    """Bytes that an array takes; Python's integers, so that no product wraps around."""
    if not isinstance(shape, tuple) or len(shape) > 8 or not all(type(n) is int and n >= 0 for n in shape):
        refuse(f"an array of shape {shape!r}")
    return prod(shape) * dtype.itemsize
