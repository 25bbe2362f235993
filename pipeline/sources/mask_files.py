"""The two layouts of mask files: ROCKET-1's pickle `<stem>.rle`, and our own `<stem>.masks.jsonl`, which is none.

The first line of `<stem>.masks.jsonl` is a header, each other line one interaction:

    {"format": "rocket-masks", "version": 1, "height": 360, "width": 640}
    {"type": "mine", "event": "mine_block:stone", "start": 534, "stop": 614, "frames": [
        {"frame": 534, "rle": "41201 12 41840 14", "point": [64.5, 240.0]}, ...]}

(without the line break). `type` is one of hunt, mine, interact, craft, switch, approach; frames are the
recording's, from 0, `stop` exclusive; `rle` is "start length start length ..." row by row, the first pixel being
1, and "" where nothing of the object shows; `point` is the object's (row, column) in pixels of the mask, or null.
A frame may have the tracker's `confidence`, 0 to 1. The header may say more, such as which tracker made the masks.

Source: CraftJarvis/MineStudio, callbacks/segmentation.py `do_convert`, for the pickle's layout.
"""

import json
import os
from collections.abc import Mapping
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from pipeline.recording import MINESTUDIO_FRAME_PX
from pipeline.rejection import SourceError, cannot_read
from pipeline.sources.files.json_lines import BadLine, parse_line
from pipeline.sources.files.pickles import load_pickle_file
from pipeline.sources.masks import TYPE_OF_NAME, Candidate, MaskCollector, MaskError, RecordingMasks
from shards.masks import centroid, encode_text
from shards.settings import nearest

FORMAT, VERSION = "rocket-masks", 1
JSONL_SUFFIX = ".masks.jsonl"

_MAX_FILE_BYTES = 1 << 30
_MAX_LINE_BYTES = 64 << 20
_MAX_SIDE_PX = 8192


def load_masks_file(path: Path) -> RecordingMasks:
    """All masks of a `.rle` or `.masks.jsonl` file.

    Raises:
        SourceError: if the file as a whole cannot be read.
    """
    return _load_jsonl(path) if path.name.lower().endswith(JSONL_SUFFIX) else _load_pickle(path)


def _load_pickle(path: Path) -> RecordingMasks:
    data = load_pickle_file(path)
    frames = data.get("video_annos") if isinstance(data, dict) else None
    entries = data.get("rle_mask_mapping") if isinstance(data, dict) else None
    if not isinstance(frames, dict) or not isinstance(entries, dict):
        raise _unusable(
            path,
            f"not a file of masks, got {type(data).__name__}, expected a dict with the dicts "
            "video_annos and rle_mask_mapping. Make it again with ROCKET-1's annotation tool.",
        )
    width, height = MINESTUDIO_FRAME_PX
    collector = MaskCollector(height, width)
    numbered = [frame for frame in frames if type(frame) is int]
    if len(numbered) < len(frames):
        collector.problem("mask_entry", "a frame whose number is no whole number", 0)
    for frame in sorted(numbered):
        keys = frames[frame]
        if not isinstance(keys, list | tuple | set | frozenset):
            collector.problem("mask_entry", f"candidates are a {type(keys).__name__}, expected a list", frame)
            continue
        for key in keys:
            try:
                entry = entries.get(key) if isinstance(key, tuple) and len(key) > 1 else None
            except TypeError:  # not hashable
                entry = None
            if isinstance(entry, dict):
                collector.add_entry(frame, key[:2], entry)  # the rest of the key tells the frame
            else:
                collector.problem("mask_entry", "a candidate without an entry in rle_mask_mapping", frame)
    return collector.masks()


def _load_jsonl(path: Path) -> RecordingMasks:
    found: list[tuple[int, int, dict[str, Any], dict[str, Any]]] = []
    try:
        if path.stat().st_size > _MAX_FILE_BYTES:
            raise _unusable(path, f"more than {_MAX_FILE_BYTES} bytes. Check what it is.")
        with path.open("rb") as file:
            next_line = partial(file.readline, _MAX_LINE_BYTES + 1)
            collector = MaskCollector(*_read_header(path, next_line()))
            for number, raw in enumerate(iter(next_line, b""), 2):
                try:
                    if raw.strip():
                        line = parse_line(raw, _MAX_LINE_BYTES)
                        found += [(entry["frame"], number, line, entry) for entry in _entries(line)]
                except BadLine as bad:
                    collector.problem("mask_entry", f"line {number}: {bad.args[1]}", 0)
    except OSError as error:
        raise cannot_read(path, error) from error
    for frame, number, line, entry in sorted(found, key=itemgetter(0)):
        kind, sure = line["type"], entry.get("confidence")
        collector.add(
            frame,
            number,
            TYPE_OF_NAME.get(kind, kind),
            line["event"],
            line["start"],
            line["stop"],
            entry.get("rle"),
            entry.get("point"),
            float(sure) if isinstance(sure, int | float) and 0 <= sure <= 1 else None,
        )
    return collector.masks()


def _entries(line: dict[str, Any]) -> list[dict[str, Any]]:
    """The frames of an interaction's line."""
    wanted = {"type": (str, int), "event": (str,), "start": (int,), "stop": (int,), "frames": (list,)}
    for name, types in wanted.items():
        if type(line.get(name)) not in types:
            raise BadLine("mask_entry", f"no {name}, or of another type")
    entries: list[dict[str, Any]] = line["frames"]
    if not all(isinstance(entry, dict) and type(entry.get("frame")) is int for entry in entries):
        raise BadLine("mask_entry", "a frame without its number")
    return entries


def _read_header(path: Path, raw: bytes) -> tuple[int, int]:
    if not raw:
        raise _unusable(path, "empty, expected a header. Write the masks again.")
    try:
        header = parse_line(raw, _MAX_LINE_BYTES)
    except BadLine as error:
        what = f"the first line is no header, got {error.args[1]}. Write the masks again."
        raise _unusable(path, what) from error
    height, width = header.get("height"), header.get("width")
    if header.get("format") != FORMAT or header.get("version") != VERSION:
        raise _unusable(
            path,
            f"format {header.get('format')!r} version {header.get('version')!r}, expected {FORMAT!r} "
            f"version {VERSION}. Write the masks with a version that fits.",
        )
    if not all(type(side) is int and 0 < side <= _MAX_SIDE_PX for side in (height, width)):
        what = f"masks of {height!r} x {width!r} pixels, expected 1 to {_MAX_SIDE_PX}. Correct the header."
        raise _unusable(path, what)
    return height, width  # type: ignore[return-value]


def _unusable(path: Path, what: str) -> SourceError:
    return SourceError(f"{path}: {what}", "masks_unreadable")


class MaskWriter:
    """Writes a `.masks.jsonl` file; it appears under its name when the block ends well.

        with MaskWriter(Path("masks/NAME.masks.jsonl"), height=360, width=640) as file:
            file.add("mine", "mine_block:stone", {534: mask, 535: mask_after, ...})  # bool arrays (360, 640)

    The first line also says what is given as `header`, such as which tracker made the masks.
    """

    def __init__(self, path: Path, height: int, width: int, **header: Any) -> None:
        """Nothing is written yet; `path` is named like the recording, every mask has this size in px."""
        self._path, self._height, self._width = path, height, width
        layout = {"format": FORMAT, "version": VERSION, "height": height, "width": width}
        self._lines = [_json_line(layout | header)]

    def add(
        self,
        kind: str,
        event: str,
        masks: Mapping[int, NDArray[np.bool_]],
        confidences: Mapping[int, float] | None = None,
        stop: int | None = None,
    ) -> None:
        """The file has an interaction more.

        Args:
            kind: its type: hunt, mine, interact, craft, switch or approach.
            event: what it leads to, such as mine_block:stone.
            masks: by frame, from 0; all False where nothing of the object shows. The interaction starts with the
                first of them.
            confidences: by frame, 0 to 1.
            stop: one past the event's frame, where the interaction ends; None: one past the last one of `masks`.

        Raises:
            MaskError: a mask has another size, or there is none.
        """
        sides = {mask.shape for mask in masks.values()}
        if sides != {(self._height, self._width)}:
            raise MaskError(
                f"{self._path}: masks of {sorted(sides)} for {event}, expected one or more of "
                f"({self._height}, {self._width}). Give the file their height and width."
            )
        candidates = {
            frame: Candidate(0, encode_text(mask), centroid(mask), (confidences or {}).get(frame))
            for frame, mask in masks.items()
        }
        self.add_runs(kind, event, candidates, max(masks) + 1 if stop is None else stop)

    def add_runs(self, kind: str, event: str, candidates: Mapping[int, Candidate], stop: int) -> None:
        """As `add`, with masks that are run lengths already.

        Raises:
            MaskError: there is no such type.
        """
        if kind not in TYPE_OF_NAME:
            meant = nearest(kind, list(TYPE_OF_NAME))
            hint = f" Did you mean {meant}?" if meant else ""
            raise MaskError(f"{self._path}: type {kind!r} for {event}, expected {', '.join(TYPE_OF_NAME)}.{hint}")
        frames = []
        for frame, candidate in sorted(candidates.items()):
            entry: dict[str, Any] = {"frame": frame, "rle": candidate.rle, "point": candidate.point}
            if candidate.confidence is not None:
                entry["confidence"] = candidate.confidence
            frames.append(entry)
        line = {"type": kind, "event": event, "start": min(candidates), "stop": stop, "frames": frames}
        self._lines.append(_json_line(line))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, exception_type: type[BaseException] | None, *_: object) -> None:
        if exception_type is not None:
            return
        partial = self._path.with_name(f".{self._path.name}.{os.getpid()}.part")
        try:
            with partial.open("w", encoding="utf-8", newline="\n") as file:
                file.writelines(self._lines)
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, self._path)
        finally:
            partial.unlink(missing_ok=True)


def _json_line(record: dict[str, Any]) -> str:
    return json.dumps(record, separators=(",", ":")) + "\n"
