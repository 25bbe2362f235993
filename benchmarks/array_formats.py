"""Compares formats for a clip's arrays: bytes a frame, and the time to read one clip's arrays.

    python -m benchmarks.array_formats DATASET

Every format holds the same arrays, those of real clips. Who can read a format without us is in the table of
`FORMATS`. A row is the median over all clips, each read a few times; one process, one thread.
"""

from __future__ import annotations

import io
import statistics
import sys
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import safetensors.numpy
from numpy.typing import NDArray

from shards import open_dataset

Arrays = Mapping[str, NDArray[Any]]
_REPEATS = 7
_FRAME_COLUMNS = ("buttons", "camera", "recording", "source_frame", "dropped_before", "gui")


@dataclass(frozen=True)
class Format:
    """A way to write arrays, to read them all, and who else can."""

    name: str
    write: Callable[[Arrays], bytes]
    read: Callable[[bytes], Arrays]
    readers: str


def _npz(compressed: bool) -> Callable[[Arrays], bytes]:
    def write(arrays: Arrays) -> bytes:
        buffer = io.BytesIO()
        (np.savez_compressed if compressed else np.savez)(buffer, **arrays)  # type: ignore[arg-type]
        return buffer.getvalue()

    return write


def _read_npz(data: bytes) -> Arrays:
    with np.load(io.BytesIO(data), allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def _write_safetensors(arrays: Arrays) -> bytes:
    return safetensors.numpy.save({name: np.ascontiguousarray(array) for name, array in arrays.items()})


def _arrow_table(arrays: Arrays) -> pa.RecordBatch:
    """A row a frame; a frame's candidates are a list, and a candidate's mask is one."""

    def rows(name: str) -> pa.Array:
        array = arrays[name]
        flat = pa.array(array.reshape(-1))
        return pa.FixedSizeListArray.from_arrays(flat, array.shape[1]) if array.ndim == 2 else flat

    masks = pa.LargeListArray.from_arrays(pa.array(arrays["mask_offsets"]), pa.array(arrays["mask_runs"]))
    candidates = pa.StructArray.from_arrays(
        [rows("candidate_interaction"), rows("candidate_point"), masks], ["interaction", "point", "mask"]
    )
    columns = {name: rows(name) for name in _FRAME_COLUMNS}
    columns["candidates"] = pa.ListArray.from_arrays(pa.array(arrays["candidate_offsets"]), candidates)
    of_frame = np.searchsorted(arrays["event_frame"], np.arange(len(arrays["gui"]) + 1)).astype(np.int32)
    events = pa.StructArray.from_arrays([rows("event_name"), rows("event_count")], ["name", "count"])
    columns["events"] = pa.ListArray.from_arrays(pa.array(of_frame), events)
    return pa.RecordBatch.from_arrays(list(columns.values()), list(columns))


def _arrow(compression: str | None) -> Callable[[Arrays], bytes]:
    def write(arrays: Arrays) -> bytes:
        batch = _arrow_table(arrays)
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(
            sink, batch.schema, options=pa.ipc.IpcWriteOptions(compression=compression)
        ) as stream:
            stream.write_batch(batch)
        return sink.getvalue().to_pybytes()

    return write


def _read_arrow(data: bytes) -> Arrays:
    batch = pa.ipc.open_stream(data).read_next_batch()
    n = batch.num_rows

    def matrix(array: pa.Array, columns: int) -> NDArray[Any]:
        return array.flatten().to_numpy().reshape(-1, columns)

    candidates = batch.column("candidates")
    each = candidates.values
    masks = each.field("mask")
    arrays = {name: batch.column(name).to_numpy() for name in _FRAME_COLUMNS[2:]}
    events = batch.column("events")
    counts = np.diff(events.offsets.to_numpy())
    return arrays | {
        "buttons": matrix(batch.column("buttons"), 23).reshape(n, 23),
        "camera": matrix(batch.column("camera"), 2),
        "candidate_offsets": candidates.offsets.to_numpy(),
        "candidate_interaction": each.field("interaction").to_numpy(),
        "candidate_point": matrix(each.field("point"), 2),
        "mask_offsets": masks.offsets.to_numpy(),
        "mask_runs": masks.values.to_numpy(),
        "event_frame": np.repeat(np.arange(n, dtype=np.int32), counts),
        "event_name": events.values.field("name").to_numpy(),
        "event_count": events.values.field("count").to_numpy(),
    }


FORMATS = (
    Format("npz, compressed", _npz(True), _read_npz, "NumPy; zip and a short header elsewhere"),
    Format("npz, stored", _npz(False), _read_npz, "NumPy; zip and a short header elsewhere"),
    Format("Arrow IPC", _arrow(None), _read_arrow, "Arrow in 13 languages, DuckDB, polars, pandas"),
    Format("Arrow IPC, lz4", _arrow("lz4"), _read_arrow, "Arrow in 13 languages, DuckDB, polars, pandas"),
    Format("Arrow IPC, zstd", _arrow("zstd"), _read_arrow, "Arrow in 13 languages, DuckDB, polars, pandas"),
    Format(
        "safetensors, gzip",
        lambda arrays: zlib.compress(_write_safetensors(arrays), 6, 31),
        lambda data: safetensors.numpy.load(zlib.decompress(data, 31)),
        "gzip and safetensors; a JSON header elsewhere",
    ),
    Format("safetensors", _write_safetensors, safetensors.numpy.load, "safetensors; a JSON header elsewhere"),
)


def main(path: str) -> None:
    """Print the table for the clips of a dataset."""
    dataset = open_dataset(path)
    clips: list[Arrays] = []
    for episode in range(len(dataset.episodes)):
        clips += [vars(dataset.read_clip(episode, row).arrays) for row in dataset.clip_rows(episode)]
    num_frames = sum(len(clip["buttons"]) for clip in clips)
    print(f"{len(clips)} clips, {num_frames} frames of {path}")
    print(f"{'format':<18} {'bytes a frame':>14} {'write, us a clip':>17} {'read, us a clip':>16}  who reads it")
    for form in FORMATS:
        files, writing, reading = [], [], []
        for clip in clips:
            started = time.perf_counter()
            files.append(form.write(clip))
            writing.append(time.perf_counter() - started)
        for data, clip in zip(files, clips, strict=True):
            seconds = []
            for _ in range(_REPEATS):
                started = time.perf_counter()
                arrays = form.read(data)
                seconds.append(time.perf_counter() - started)
            reading.append(min(seconds))
            assert all(
                np.array_equal(arrays[name], clip[name], equal_nan=clip[name].dtype.kind == "f") for name in clip
            )
        size = sum(map(len, files)) / num_frames
        write, read = (statistics.median(times) * 1e6 for times in (writing, reading))
        print(f"{form.name:<18} {size:>14.1f} {write:>17.0f} {read:>16.0f}  {form.readers}")


if __name__ == "__main__":
    main(sys.argv[1])
