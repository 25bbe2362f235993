"""The two layouts of mask files: ROCKET-1's pickle `<stem>.rle`, and our own `<stem>.masks.jsonl`, which is none.

The first line of `<stem>.masks.jsonl` is a header, each other line one interaction:

    {"format": "rocket-masks", "version": 1, "height": 360, "width": 640}
    {"type": "mine", "event": "mine_block:stone", "start": 534, "stop": 614, "frames": [
        {"frame": 534, "rle": "41201 12 41840 14", "point": [64.5, 240.0]}, ...]}

(without the line break). `type` is one of hunt, mine, interact, craft, switch, approach; frames are the
recording's, from 0, `stop` exclusive; `rle` is "start length start length ..." row by row, the first pixel being
1, and "" where nothing of the object shows; `point` is the object's (row, column) in pixels of the mask, or null.

Source: CraftJarvis/MineStudio, callbacks/segmentation.py `do_convert`, for the pickle's layout.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.recording import MINESTUDIO_FRAME_PX, SourceError
from pipeline.sources.files.json_lines import BadLine, parse_line
from pipeline.sources.files.pickles import load_pickle_file
from pipeline.sources.masks import TYPE_OF_NAME, MaskCollector, RecordingMasks

FORMAT, VERSION = "rocket-masks", 1
JSONL_SUFFIX, PICKLE_SUFFIX = ".masks.jsonl", ".rle"

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
        raise SourceError(
            f"{path}: not a file of masks, got {type(data).__name__}, expected a dict with the dicts "
            "video_annos and rle_mask_mapping. Make it again with ROCKET-1's annotation tool.",
            "masks_unreadable",
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
    collector: MaskCollector | None = None
    entries: dict[int, list[tuple[int, dict[str, Any], dict[str, Any]]]] = {}
    bad: list[tuple[str, int]] = []
    try:
        if path.stat().st_size > _MAX_FILE_BYTES:
            raise SourceError(f"{path}: more than {_MAX_FILE_BYTES} bytes. Check what it is.", "masks_unreadable")
        with path.open("rb") as file:
            number = 0
            while raw := file.readline(_MAX_LINE_BYTES + 1):
                number += 1
                if collector is None:
                    collector = MaskCollector(*_read_header(path, raw))
                elif raw.strip():
                    try:
                        line = parse_line(raw, _MAX_LINE_BYTES)
                        _collect_line(number, line, entries)
                    except BadLine as error:
                        bad.append((f"line {number}: {error.args[1]}", 0))
    except OSError as error:
        raise SourceError(
            f"{path}: cannot be read, got {error.strerror or error}. Check the file.", "masks_unreadable"
        ) from error
    if collector is None:
        raise SourceError(f"{path}: empty, expected a header. Write the masks again.", "masks_unreadable")
    for detail, frame in bad:
        collector.problem("mask_entry", detail, frame)
    for frame in sorted(entries):
        for number, line, entry in entries[frame]:
            kind = line["type"]
            collector.add(
                frame,
                number,
                TYPE_OF_NAME.get(kind, kind) if isinstance(kind, str) else kind,
                line["event"],
                line["start"],
                line["stop"],
                entry.get("rle"),
                entry.get("point"),
            )
    return collector.masks()


def _collect_line(
    number: int, line: dict[str, Any], entries: dict[int, list[tuple[int, dict[str, Any], dict[str, Any]]]]
) -> None:
    wanted = {"type": (str, int), "event": (str,), "start": (int,), "stop": (int,), "frames": (list,)}
    for name, types in wanted.items():
        if type(line.get(name)) not in types:
            raise BadLine("mask_entry", f"no {name}, or of another type")
    shown = line["frames"]
    if not all(isinstance(entry, dict) and type(entry.get("frame")) is int for entry in shown):
        raise BadLine("mask_entry", "a frame without its number")
    for entry in shown:
        entries.setdefault(entry["frame"], []).append((number, line, entry))


def _read_header(path: Path, raw: bytes) -> tuple[int, int]:
    try:
        header = parse_line(raw, _MAX_LINE_BYTES)
    except BadLine as error:
        raise SourceError(
            f"{path}: the first line is no header, got {error.args[1]}. Write the masks again.", "masks_unreadable"
        ) from error
    height, width = header.get("height"), header.get("width")
    if header.get("format") != FORMAT or header.get("version") != VERSION:
        raise SourceError(
            f"{path}: format {header.get('format')!r} version {header.get('version')!r}, expected {FORMAT!r} "
            f"version {VERSION}. Write the masks with a version that fits.",
            "masks_unreadable",
        )
    if not all(type(side) is int and 0 < side <= _MAX_SIDE_PX for side in (height, width)):
        raise SourceError(
            f"{path}: masks of {height!r} x {width!r} pixels, expected 1 to {_MAX_SIDE_PX}. Correct the header.",
            "masks_unreadable",
        )
    return height, width  # type: ignore[return-value]
